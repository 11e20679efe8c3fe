import { SluiceError } from "../core/errors.ts";
import type { ErrorCode } from "../core/errors.ts";

/** One behaviour that a port promises. `run` rejects where it is missing; any test runner can loop over them. */
export interface ConformanceCase {
  /** A sentence about the behaviour. */
  readonly name: string;
  readonly run: () => Promise<void>;
}

export function expect(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(`not conforming: ${what}`);
}

export function expectEqual(actual: unknown, expected: unknown, what: string): void {
  const [shown, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (shown !== wanted) throw new Error(`not conforming: ${what}: ${shown}, expected ${wanted}`);
}

/** `promise` must reject with a `SluiceError` of this code. */
export async function expectRefusal(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  const outcome: unknown = await promise.then(
    () => "resolved",
    (error: unknown) => error,
  );
  const isRight = outcome instanceof SluiceError && outcome.code === code;
  if (!isRight) throw new Error(`not conforming: ${String(outcome)}, expected ${code}`);
}
