import { SluiceError } from "../../core/errors.ts";
import type { Runtime } from "../../internal/clock.ts";

/** The one deadline of an attempt that has several steps, and the signal that ends it early. */
export class Limit {
  readonly runtime: Runtime;
  readonly #endsAt: number;
  readonly #what: string;
  readonly #signal: AbortSignal | undefined;

  /** `what` stands in the message: "the connection to http://app:3000 was not made within 5000 ms". */
  constructor(runtime: Runtime, what: string, msMax: number, signal?: AbortSignal) {
    this.runtime = runtime;
    this.#endsAt = runtime.now() + msMax;
    this.#what = `${what} within ${msMax} ms`;
    this.#signal = signal;
  }

  get msLeft(): number {
    return Math.max(0, this.#endsAt - this.runtime.now());
  }

  /**
   * Runs one step; `start` returns what undoes it. At the deadline the step is undone and rejected with
   * `upstream_timeout`, when the signal aborts with its reason.
   */
  async run<T>(
    start: (resolve: (value: T) => void, reject: (error: unknown) => void) => () => void,
  ): Promise<T> {
    this.#signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    let isSettled = false;
    const done = (value: T): void => {
      isSettled = true;
      resolve(value);
    };
    const undo = start(done, reject);
    const giveUp = (error: unknown): void => {
      if (isSettled) return;
      undo();
      reject(error);
    };
    const timer = this.runtime.after(this.msLeft, () => {
      giveUp(new SluiceError("upstream_timeout", this.#what));
    });
    const onAbort = (): void => giveUp(this.#signal?.reason);
    this.#signal?.addEventListener("abort", onAbort, { once: true });
    try {
      return await promise;
    } finally {
      timer.cancel();
      this.#signal?.removeEventListener("abort", onAbort);
    }
  }
}
