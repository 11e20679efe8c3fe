/** Standard output of a command that writes much: waits for its reader, and notices when it has gone. */
export class Output {
  readonly #stream: NodeJS.WritableStream;
  readonly #gone = new AbortController();

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream;
    stream.on("error", () => this.#gone.abort());
  }

  /**
   * Aborts when a write shows that nobody reads any more (EPIPE). Not before: Node has no way to ask
   * a pipe without writing to it (reading from one fails with ENOTCONN, and 0 bytes are no question).
   */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /** Resolves when more may be written, or nobody reads, or `signal` aborts. */
  async write(text: string, signal: AbortSignal): Promise<void> {
    if (this.#gone.signal.aborted || this.#stream.write(text)) return;
    const either = AbortSignal.any([signal, this.#gone.signal]);
    await new Promise<void>((resolve) => {
      const finish = (): void => {
        this.#stream.off("drain", finish);
        either.removeEventListener("abort", finish);
        resolve();
      };
      this.#stream.once("drain", finish);
      either.addEventListener("abort", finish);
      if (either.aborted) finish();
    });
  }
}
