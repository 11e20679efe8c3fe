/**
 * One request that can be given up for three reasons: the caller's signal, a deadline, or silence.
 * Everything that it set up is gone after `close`.
 */
export class Attempt {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #onAbort: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(outer: AbortSignal | undefined) {
    this.#outer = outer;
    this.#onAbort = () => this.#controller.abort(outer?.reason);
    outer?.addEventListener("abort", this.#onAbort, { once: true });
    if (outer?.aborted === true) this.#onAbort();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Gives up unless `promise` settles within `limitMs`; `what` completes "no ... within". */
  async within<T>(limitMs: number, what: string, promise: Promise<T>): Promise<T> {
    this.#timer = setTimeout(() => {
      this.#controller.abort(new Error(`no ${what} within ${limitMs} ms`));
    }, limitMs);
    try {
      return await promise;
    } finally {
      clearTimeout(this.#timer);
    }
  }

  /** Ends the request if it is still under way. */
  close(): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener("abort", this.#onAbort);
    this.#controller.abort();
  }
}
