import type { ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { SluiceError } from "../../core/errors.ts";
import type { UpstreamResponse } from "../../upstreams/message.ts";
import { hasBody } from "../body.ts";
import type { Exchange } from "../exchange.ts";
import { closeBehind } from "../last-answer.ts";
import { endBehindBody } from "../problem.ts";
import { endToEnd } from "./forward-headers.ts";

/**
 * Gives the origin's response to the client as it is: status, end-to-end headers, body, with
 * back-pressure. If either side breaks off the other is broken off too: a body that was cut short must
 * never look whole. Trailers are dropped (RFC 9110, 6.5.1). Resolves when all of it has left or was given up.
 */
export async function passThrough(exchange: Exchange, upstream: UpstreamResponse): Promise<void> {
  const { request, response, services } = exchange;
  if (!request.socket.writable || response.headersSent) {
    upstream.body.on("error", ignore).destroy();
    return;
  }
  // It was answered before it was whole: what is left of it is dropped, and nothing can follow it.
  const isEarly = hasBody(request) && !request.complete;
  if (isEarly || services.isDraining()) closeBehind(response);
  const { status } = upstream;
  try {
    // A list, so that several lines of one name stay several, in order.
    response.writeHead(status, endToEnd(upstream.headers).flat());
  } catch (error) {
    upstream.body.on("error", ignore).destroy();
    const message = "the head of the origin's response cannot be passed on";
    throw new SluiceError("upstream_protocol", message, { cause: error });
  }
  if (request.method === "HEAD" || status === 204 || status === 304) {
    // Nothing follows by definition (RFC 9110, 6.4.1); read to its end so that the socket is kept.
    upstream.body.on("error", ignore).resume();
    endBehindBody(request, response, NOTHING);
    return;
  }
  // A body that comes later must not hold the head up: long-polling, and downloads that are made slowly.
  // `flushHeaders` would write it as UTF-8; headers are bytes, which Node shows as Latin-1 (measured).
  response.write(NOTHING);
  const stopWatching = watchReader(exchange);
  try {
    await pipeline(upstream.body, response, { end: !isEarly });
    if (isEarly) endBehindBody(request, response, NOTHING);
  } catch {
    cut(response);
  } finally {
    stopWatching();
  }
}

const NOTHING = Buffer.alloc(0);

/**
 * Cuts off a client that takes nothing of what waits for it for the stall time, as a reader of a stream
 * would be: it must not hold the socket to the origin, of which there are few. Silence of the origin is
 * no fault of its. Returns what stops it.
 */
function watchReader({ request: { socket }, response, services }: Exchange): () => void {
  const { hub, runtime } = services;
  let takenBefore: number | undefined;
  const look = (): void => {
    const isWaiting = response.writableLength > 0;
    const taken = socket.bytesWritten - socket.writableLength;
    if (isWaiting && taken === takenBefore) return cut(response);
    takenBefore = isWaiting ? taken : undefined;
    timer = runtime.after(hub.stallMs, look);
  };
  let timer = runtime.after(hub.stallMs, look);
  return () => timer.cancel();
}

/** Ends the connection in the middle of the body, which is how HTTP/1 says that it is not whole (RFC 9112, 8). */
function cut(response: ServerResponse): void {
  response.req.socket.destroy();
}

function ignore(): void {}
