export interface TokenBucketOptions {
  /** Tokens that come back in one second. */
  readonly perSecond: number;
  /** Tokens that are there after a quiet time. */
  readonly burst: number;
}

/** Sums of fractions of a millisecond may miss a whole token by a rounding error. */
const ROUNDING = 1e-6;

/** A token bucket: a rate, and how much of it may be used at once. It starts full. */
export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #at: number;

  constructor({ perSecond, burst }: TokenBucketOptions, now: number) {
    this.#perMs = perSecond / 1_000;
    this.#burst = burst;
    this.#tokens = burst;
    this.#at = now;
  }

  /** Takes one token. False, and nothing taken, if there is none. */
  take(now: number): boolean {
    this.#refill(now);
    if (this.#tokens < 1 - ROUNDING) return false;
    this.#tokens -= 1;
    return true;
  }

  /** How long it takes until `count` more can have been taken, in milliseconds. */
  waitMs(count: number, now: number): number {
    this.#refill(now);
    return Math.max(0, (count - ROUNDING - this.#tokens) / this.#perMs);
  }

  #refill(now: number): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#perMs);
    this.#at = now;
  }
}
