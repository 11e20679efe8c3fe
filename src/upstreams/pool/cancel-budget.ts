import { Ring } from "../../internal/ring.ts";
import type { Runtime } from "../../internal/clock.ts";

/** Fewer than any guard counts: a Node server ended a session after 1,034 cancels in a row (measured). */
const CANCELS_MAX = 100;
const WINDOW_MS = 10_000;

/**
 * How many streams of one session may be cancelled: at most 100 in any 10 s. Origins take more for the
 * attack called rapid reset (CVE-2023-44487), and end the session with everything on it.
 */
export class CancelBudget {
  readonly #runtime: Runtime;
  readonly #spent = new Ring<number>();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** True if one may be cancelled now; it is counted then. */
  take(): boolean {
    if (this.msUntilNext() > 0) return false;
    this.#spent.push(this.#runtime.now());
    return true;
  }

  /** 0 if one may be cancelled now. */
  msUntilNext(): number {
    const oldest = this.#spent.first();
    if (oldest === undefined || this.#spent.length < CANCELS_MAX) return 0;
    const waitMs = oldest + WINDOW_MS - this.#runtime.now();
    if (waitMs > 0) return waitMs;
    this.#spent.shift();
    return 0;
  }
}
