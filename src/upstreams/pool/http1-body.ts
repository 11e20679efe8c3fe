import type { IncomingMessage } from "node:http";
import { ResponseBody } from "./response-body.ts";

/** The body of a response: what `IncomingMessage` says, with our errors, and nothing of its socket. */
export class Http1Body extends ResponseBody {
  #response: IncomingMessage | undefined;
  #onGone: (() => void) | undefined;

  /** `onGone` is called when it is destroyed, also after its end. */
  constructor(response: IncomingMessage, onGone: () => void) {
    super();
    this.#response = response;
    this.#onGone = onGone;
    // Read from the start, not when it is asked for: what is short leaves its socket at once, also
    // where nobody looks at the body.
    response.on("data", (chunk: Buffer) => {
      if (this.#response !== undefined && !this.push(chunk)) response.pause();
    });
    response.once("end", () => {
      if (this.#response !== undefined) this.push(null);
    });
  }

  /** Ends with an error when what has come is read. */
  fail(error: unknown): void {
    // What Node has read and not given us yet; it comes as 'data'.
    const response = this.#response;
    if (response !== undefined) while (response.read() !== null);
    this.#response = undefined;
    this.breakOff(error);
  }

  /** Ends with an error, whatever has come; in the next turn, for whoever was just given the head. */
  abort(error: unknown): void {
    this.#response = undefined;
    setImmediate(() => this.destroy(error as Error));
  }

  override _read(): void {
    this.#response?.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    // Whoever keeps a body that is over must not keep a socket with it.
    this.#response = undefined;
    this.#onGone?.();
    this.#onGone = undefined;
    callback(error);
  }
}
