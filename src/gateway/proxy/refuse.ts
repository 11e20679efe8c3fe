import { SluiceError } from "../../core/errors.ts";
import type { UpstreamResponse } from "../../upstreams/message.ts";
import type { Passage } from "./passage.ts";
import { retryAfterMs } from "./patience.ts";

/** An origin that restarts is back soon: who would wait longer by default comes again after about this, in milliseconds. */
const COME_AGAIN_MS = 5_000;

/** Refuses a stream that needs a socket of its own while the origin has no room or no health. False if it has. */
export function refusesForOrigin({ proxy, route, exchange }: Passage): boolean {
  if (!proxy.pool.isRefusing(route.origin)) return false;
  const { request, response, services } = exchange;
  services.door.refuseUpstream(request, response, { isQuiet: route.control === "comments" });
  return true;
}

/**
 * Answers for an origin that cannot be asked, where the client would never come back after a status
 * (U01, law 16). False if the error itself is the answer.
 */
export function answersStreamError(passage: Passage, error: unknown): boolean {
  const { request, response, services } = passage.exchange;
  if (response.headersSent || !request.socket.writable) return true;
  // An expired certificate, say, is mended while its clients wait. What a request may not reach stays so.
  if (!(error instanceof SluiceError) || error.code === "upstream_forbidden") return false;
  if (!error.code.startsWith("upstream_")) return false;
  if (!services.door.refusesSoftly(request)) return false;
  comeAgain(passage, 0);
  return true;
}

/** The same for an answer that may be a better one later. The answer is dropped then. */
export function survivesResponse(passage: Passage, upstream: UpstreamResponse): boolean {
  const { services, request } = passage.exchange;
  if (upstream.status < 500 && upstream.status !== 429) return false;
  if (!services.door.refusesSoftly(request)) return false;
  upstream.body.on("error", ignore).destroy();
  comeAgain(passage, retryAfterMs(upstream.headers, services.runtime.wallTime()) ?? 0);
  return true;
}

/** The delay is told with a random share of 50 % off or on: twice as much is never less than was asked. */
function comeAgain({ exchange, route }: Passage, atLeastMs: number): void {
  const { request, response, services } = exchange;
  services.door.refuseUpstream(request, response, {
    isQuiet: route.control === "comments",
    retryAfterMs: Math.max(COME_AGAIN_MS, 2 * atLeastMs),
  });
}

function ignore(): void {}
