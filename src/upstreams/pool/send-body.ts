import { Readable } from "node:stream";
import type { Writable } from "node:stream";
import type { UpstreamRequest } from "../message.ts";
import type { Turns } from "./channel.ts";

/** What `sendBody` tells of. */
export interface BodyListener extends Turns {
  /** The body broke off, or is not as long as its Content-Length. */
  onBroken(error: Error): void;
}

/** The Content-Length that a request states: what its bytes have, or what is said of its stream. */
export function lengthOf({ body, headers }: UpstreamRequest): number | undefined {
  if (!(body instanceof Readable)) return body?.length;
  const length = headers.find(([name]) => name === "content-length")?.[1] ?? "";
  return /^\d{1,15}$/.test(length) ? Number(length) : undefined;
}

/**
 * Sends the body with back-pressure, and ends the request. A byte more than its Content-Length would be
 * read as another request (request smuggling). Returns what stops it; the body itself is left to its owner.
 */
export function sendBody(
  request: Writable,
  outgoing: UpstreamRequest,
  listener: BodyListener,
): () => void {
  const { body } = outgoing;
  if (!(body instanceof Readable)) {
    request.end(body);
    listener.onOriginsTurn();
    return ignore;
  }
  const lengthMax = lengthOf(outgoing);
  let length = 0;
  let isOver = false;
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
    isOver = true;
    if (lengthMax !== undefined && length < lengthMax) {
      return listener.onBroken(new Error(`the body has ${length} of ${lengthMax} bytes`));
    }
    request.end();
    listener.onOriginsTurn();
  };
  const onClose = (): void => {
    if (!isOver) listener.onBroken(body.errored ?? new Error("the body broke off"));
  };
  body.on("data", onData);
  body.once("end", onEnd);
  body.once("error", onClose);
  body.once("close", onClose);
  request.on("drain", onDrain);
  // Nothing comes of it any more, not even its end.
  if (body.destroyed || body.readableEnded) queueMicrotask(onClose);
  return () => {
    isOver = true;
    body.off("data", onData);
    body.off("end", onEnd);
    body.off("close", onClose);
    request.off("drain", onDrain);
    body.pause();
  };
}

function ignore(): void {}
