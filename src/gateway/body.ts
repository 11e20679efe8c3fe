import type { IncomingMessage, ServerResponse } from "node:http";
import { SluiceError } from "../core/errors.ts";
import type { ErrorCode } from "../core/errors.ts";

/** The client has gone: there is nobody to answer, and nothing was done. */
export class ClientGone extends Error {
  override readonly name = "ClientGone";
}

export interface BodyLimit {
  readonly bytesMax: number;
  /** The error that a longer body is refused with. */
  readonly code: Extract<ErrorCode, "event_too_large" | "batch_too_large" | "settings_invalid">;
}

const kAwaitsContinue = Symbol("sluice.awaitsContinue");
type ExpectingRequest = IncomingMessage & { [kAwaitsContinue]?: true };

/**
 * Notes that the client waits for `100 Continue`, which the server has not sent: it is sent when the
 * body is wanted, so that a refusal comes before the body does.
 */
export function awaitContinue(request: IncomingMessage): void {
  (request as ExpectingRequest)[kAwaitsContinue] = true;
}

/** True for a request that has a body, complete or not. */
export function hasBody(request: IncomingMessage): boolean {
  const { "content-length": length, "transfer-encoding": coding } = request.headers;
  return coding !== undefined || (length !== undefined && Number(length) > 0);
}

/** Throws `request_malformed` for a request that has a body where its method carries none. */
export function refuseBody(request: IncomingMessage): void {
  if (!hasBody(request)) return;
  throw new SluiceError("request_malformed", `a ${request.method} carries no body here`);
}

/**
 * Reads the whole body into memory of its own: a slice of what came from the socket would pin 64 KiB
 * of it (measured). Rejects with the limit's error as soon as it is certain, before anything is
 * buffered where Content-Length tells, and with `ClientGone` if the client leaves early.
 */
export async function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  limit: BodyLimit,
): Promise<Uint8Array> {
  const length = request.headers["content-length"];
  if (length !== undefined && Number(length) > limit.bytesMax) throw tooLarge(length, limit);
  if (request.readableEnded && hasBody(request)) {
    throw new SluiceError(
      "internal_error",
      "the body was read before Sluice saw it: mount the handler ahead of body parsers",
    );
  }
  sendContinue(request, response);
  return collect(request, limit);
}

/** The body is wanted now: says so to a client that waits for it. */
export function sendContinue(request: IncomingMessage, response: ServerResponse): void {
  if ((request as ExpectingRequest)[kAwaitsContinue]) response.writeContinue();
}

function collect(request: IncomingMessage, limit: BodyLimit): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const onData = (chunk: Buffer): void => {
      size += chunk.length;
      if (size <= limit.bytesMax) {
        chunks.push(chunk);
        return;
      }
      stop();
      request.pause();
      reject(tooLarge(`${size} or more`, limit));
    };
    const onEnd = (): void => {
      stop();
      // `concat` copies, but hands a single chunk's memory on in some versions: always copy.
      const body = new Uint8Array(size);
      let offset = 0;
      for (const chunk of chunks) {
        body.set(chunk, offset);
        offset += chunk.length;
      }
      resolve(body);
    };
    const onGone = (): void => {
      stop();
      reject(new ClientGone("the client left before its request was complete"));
    };
    const stop = (): void => {
      request.off("data", onData).off("end", onEnd).off("close", onGone).off("error", onGone);
      // An aborted request emits 'error' later, and nobody else listens.
      request.on("error", ignore);
    };
    request.on("data", onData).on("end", onEnd).on("close", onGone).on("error", onGone);
  });
}

function tooLarge(bytes: string, limit: BodyLimit): SluiceError {
  return new SluiceError(limit.code, `the body has ${bytes} bytes, more than ${limit.bytesMax}`);
}

function ignore(): void {}
