import type { Runtime } from "../internal/clock.ts";

/** Looking at the clock costs about 30 ns, a write about 5 us: every sixteenth write is close enough. */
const WRITES_PER_CLOCK_READ = 16;

export interface SliceOptions {
  /** Writes in one slice at most. @defaultValue 2,048 */
  readonly writesMax: number;
  /** Time of one slice at most, in milliseconds. @defaultValue 3 */
  readonly timeMsMax: number;
}

export const SLICE_DEFAULTS: SliceOptions = { writesMax: 2_048, timeMsMax: 3 };

/**
 * How much of one turn of the event loop the flush may still use. Between slices the loop reads
 * sockets, so that a publisher is heard however many subscribers there are.
 */
export class Slice {
  /** Monotonic milliseconds, as of the last look at the clock. */
  now: number;
  readonly #runtime: Runtime;
  #deadline: number;
  #writesLeft: number;

  constructor(runtime: Runtime, options: SliceOptions) {
    this.#runtime = runtime;
    this.now = runtime.now();
    this.#deadline = this.now + options.timeMsMax;
    this.#writesLeft = options.writesMax;
  }

  /** It may take so much longer from now on, in milliseconds; or less. */
  extend(ms: number): void {
    this.#deadline += ms;
  }

  /** What is left of it is at least so much, in milliseconds, whatever was spent. */
  keep(ms: number): void {
    this.#deadline = Math.max(this.#deadline, this.now + ms);
  }

  spendWrite(): void {
    this.#writesLeft -= 1;
    if (this.#writesLeft % WRITES_PER_CLOCK_READ === 0) this.now = this.#runtime.now();
  }

  /** A read of the log may cost as much as a thousand writes: the clock is looked at after each. */
  spendRead(): void {
    this.#writesLeft -= 1;
    this.now = this.#runtime.now();
  }

  /** Gives the rest of the slice back: the loop turns first. */
  end(): void {
    this.#writesLeft = 0;
  }

  /** `now` in whole milliseconds. */
  get nowMs(): number {
    return Math.floor(this.now);
  }

  get isSpent(): boolean {
    return this.#writesLeft <= 0 || this.now >= this.#deadline;
  }
}
