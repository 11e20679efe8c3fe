import type { ClientRequest, IncomingMessage } from "node:http";
import { Readable } from "node:stream";

/** Bytes that wait here for whoever reads the body; beyond them the socket is not read. */
const BODY_BYTES_MAX = 64 * 1024;

/** The body of a response: what `IncomingMessage` says, with our errors, and nothing of its socket. */
export class Http1Body extends Readable {
  #response: IncomingMessage | undefined;
  #onGone: (() => void) | undefined;

  /** `onGone` is called when it is destroyed, also after its end. */
  constructor(response: IncomingMessage, onGone: () => void) {
    super({ highWaterMark: BODY_BYTES_MAX });
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
    // Without one, a body that nobody listens to would end the process when it breaks off.
    this.on("error", ignore);
  }

  /**
   * Ends with an error, in the next turn: head and fault may come in one packet, and whoever was just
   * given the head has to have the time to listen.
   */
  fail(error: unknown): void {
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

/** What `sendBody` tells of. */
export interface BodyListener {
  /** From now on the origin has to do something: take what was sent, or answer. */
  onOriginsTurn(): void;
  /** The body is still coming: whether the origin is slow cannot be said. */
  onBodysTurn(): void;
  /** The body broke off, or is not as long as its Content-Length. */
  onBroken(error: Error): void;
}

/**
 * Sends the body with back-pressure, and ends the request. `lengthMax` is its Content-Length: a byte
 * more would be read as another request (request smuggling). Returns what stops it; the body itself is
 * left to its owner.
 */
export function sendBody(
  request: ClientRequest,
  body: Uint8Array | Readable | undefined,
  lengthMax: number | undefined,
  listener: BodyListener,
): () => void {
  if (!(body instanceof Readable)) {
    request.end(body);
    listener.onOriginsTurn();
    return ignore;
  }
  let length = 0;
  const onData = (chunk: Buffer): void => {
    length += chunk.length;
    if (lengthMax !== undefined && length > lengthMax) {
      return listener.onBroken(new Error(`the body is longer than ${lengthMax} bytes`));
    }
    if (request.write(chunk)) return;
    body.pause();
    listener.onOriginsTurn();
  };
  const onDrain = (): void => {
    listener.onBodysTurn();
    body.resume();
  };
  const onEnd = (): void => {
    if (lengthMax !== undefined && length < lengthMax) {
      return listener.onBroken(new Error(`the body has ${length} of ${lengthMax} bytes`));
    }
    request.end();
    listener.onOriginsTurn();
  };
  const onClose = (): void => {
    if (!body.readableEnded) listener.onBroken(body.errored ?? new Error("the body broke off"));
  };
  body.on("data", onData);
  body.once("end", onEnd);
  body.once("error", onClose);
  body.once("close", onClose);
  request.on("drain", onDrain);
  if (body.destroyed) queueMicrotask(onClose);
  return () => {
    body.off("data", onData);
    body.off("end", onEnd);
    body.off("close", onClose);
    request.off("drain", onDrain);
    body.pause();
  };
}

function ignore(): void {}
