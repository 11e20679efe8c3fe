import type { DrainOptions } from "../core/drain.ts";
import { SluiceError } from "../core/errors.ts";

const MINUTE_MS = 60_000;
const BOUNDS: Readonly<Record<keyof DrainOptions, readonly [min: number, max: number]>> = {
  waitMs: [0, 10 * MINUTE_MS],
  perSecond: [1, 1_000_000],
  ackWaitMs: [0, 10 * MINUTE_MS],
  deadlineMs: [0, 60 * MINUTE_MS],
};

/** Throws `parameter_invalid` for a value that is out of its bounds, with its name, bounds and value. */
export function checkDrainOptions(options: Partial<DrainOptions> = {}): void {
  for (const [name, [min, max]] of Object.entries(BOUNDS)) {
    const value = options[name as keyof DrainOptions];
    if (value === undefined || (value >= min && value <= max)) continue;
    throw new SluiceError(
      "parameter_invalid",
      `drain.${name} must be ${min} to ${max}, is ${value}`,
    );
  }
}
