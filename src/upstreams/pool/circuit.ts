import type { BreakerOptions } from "./pool-options.ts";

export type CircuitState = "closed" | "open" | "half_open";

/**
 * `pass`: send it. `probe`: send it, it is the one that tries an origin that was given up; say what
 * came of it. `refused`: do not send it.
 */
export type Permit = "pass" | "probe" | "refused";

/**
 * The circuit breaker of one origin. It opens after so many failures within so long without one
 * success between them: an origin that answers most requests is not given up for the rest. After
 * `openMs` one request tries it: half open. What it brings decides.
 */
export class Circuit {
  readonly #options: BreakerOptions;
  readonly #onOpen: () => void;
  /** When the last failures were, oldest first; as many as would open it at most. */
  #failures: number[] = [];
  #isClosed = true;
  #opensUntil = 0;
  #isProbing = false;

  constructor(options: BreakerOptions, onOpen: () => void) {
    this.#options = options;
    this.#onOpen = onOpen;
  }

  state(now: number): CircuitState {
    if (this.#isClosed) return "closed";
    return now < this.#opensUntil ? "open" : "half_open";
  }

  /** A request would be refused now. */
  isRefusing(now: number): boolean {
    return !this.#isClosed && (now < this.#opensUntil || this.#isProbing);
  }

  /** How long it takes until one may try, in milliseconds. */
  waitMs(now: number): number {
    return this.#isClosed ? 0 : Math.max(0, this.#opensUntil - now);
  }

  enter(now: number): Permit {
    if (this.#isClosed) return "pass";
    if (this.isRefusing(now)) return "refused";
    this.#isProbing = true;
    return "probe";
  }

  /** The origin has answered. Answers to requests of before it opened prove nothing. */
  succeeded(permit: Permit): void {
    this.#failures = [];
    if (permit !== "probe") return;
    this.#isClosed = true;
    this.#isProbing = false;
  }

  failed(permit: Permit, now: number): void {
    if (permit === "probe") return this.#open(now);
    if (!this.#isClosed) return;
    const { failures, withinMs } = this.#options;
    this.#failures.push(now);
    if (this.#failures.length > failures) this.#failures.shift();
    const [oldest = now] = this.#failures;
    if (this.#failures.length === failures && now - oldest <= withinMs) this.#open(now);
  }

  /** It ended without a word about the origin: its client went, or no socket was free. */
  withdrawn(permit: Permit): void {
    if (permit === "probe") this.#isProbing = false;
  }

  #open(now: number): void {
    this.#isClosed = false;
    this.#isProbing = false;
    this.#failures = [];
    this.#opensUntil = now + this.#options.openMs;
    this.#onOpen();
  }
}
