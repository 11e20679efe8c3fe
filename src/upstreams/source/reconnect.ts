import type { Runtime } from "../../internal/clock.ts";
import type { HeaderList } from "../message.ts";

/** What an upstream's `retry:` may ask for (U13), in milliseconds. */
export const RETRY_MS_MIN = 1_000;
export const RETRY_MS_MAX = 300_000;
/** The longest pause between two attempts that nobody asked for, in milliseconds. */
const BACKOFF_MS_MAX = 30_000;

/**
 * When an upstream stream is asked for again: full jitter over a bound that doubles with each failure
 * in a row, so that the streams that an origin lost together do not come back together.
 */
export class Reconnect {
  readonly #runtime: Runtime;
  readonly #failForMsMax: number;
  #retryMs: number;
  #failures = 0;
  #failingSince: number | undefined;

  constructor(runtime: Runtime, retryMs: number, failForMsMax: number) {
    this.#runtime = runtime;
    this.#failForMsMax = failForMsMax;
    this.#retryMs = clamp(retryMs);
  }

  /** The upstream's `retry:`. */
  set retryMs(value: number) {
    this.#retryMs = clamp(value);
  }

  /** The upstream has said something: whatever failed before is over. */
  succeeded(): void {
    this.#failures = 0;
    this.#failingSince = undefined;
  }

  /** How long to wait now, but not shorter than `atLeastMs`; undefined if it has failed for too long. */
  nextMs(atLeastMs = 0): number | undefined {
    const now = this.#runtime.now();
    this.#failingSince ??= now;
    const bound = Math.max(
      this.#retryMs,
      Math.min(BACKOFF_MS_MAX, this.#retryMs * 2 ** this.#failures),
    );
    this.#failures += 1;
    // An origin tells all that it sends away the same time: jitter comes on top of it.
    const waitMs = Math.min(atLeastMs, RETRY_MS_MAX) + this.#runtime.random() * bound;
    return now + waitMs - this.#failingSince > this.#failForMsMax ? undefined : waitMs;
  }
}

/** `Retry-After` in milliseconds: seconds, or a date (RFC 9110, 10.2.3). 0 if it says nothing. */
export function retryAfterMs(headers: HeaderList, wallTime: number): number {
  const value = headers.find(([name]) => name === "retry-after")?.[1].trim() ?? "";
  if (/^[0-9]{1,9}$/.test(value)) return Number(value) * 1_000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? 0 : Math.max(0, date - wallTime);
}

function clamp(retryMs: number): number {
  return Math.min(Math.max(retryMs, RETRY_MS_MIN), RETRY_MS_MAX);
}
