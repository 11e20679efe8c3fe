import type { Readable } from "node:stream";
import type { UpstreamResponse } from "../../upstreams/message.ts";
import { ClientGone, hasBody, sendContinue } from "../body.ts";
import { adoptFeed } from "./adopt.ts";
import { passThrough } from "./pass-through.ts";
import { isEventStream, upstreamRequest } from "./passage.ts";
import type { Passage } from "./passage.ts";
import { answerRun, claimKey, keyedPassage } from "./run-passage.ts";
import type { KeyedPassage } from "./run-passage.ts";

/**
 * Sends a request to its origin, and gives the answer back as it is, unless it turns out to be an event
 * stream: that of a GET without a body becomes a feed that is not shared, that of anything else a run.
 */
export async function forward(passage: Passage): Promise<void> {
  const keyed = await keyedPassage(passage);
  if (keyed === undefined) return send(passage, undefined);
  const answered = await claimKey(passage, keyed);
  if (answered === undefined) return;
  try {
    await send(passage, keyed, answered);
  } finally {
    answered();
  }
}

async function send(
  passage: Passage,
  keyed: KeyedPassage | undefined,
  answered?: () => void,
): Promise<void> {
  const { exchange } = passage;
  const { request, response } = exchange;
  // Whoever leaves takes the upstream request along (law 12); but not a run that it can come back to.
  const gone = new AbortController();
  const onClose = (): void => {
    if (!response.writableFinished) gone.abort(new ClientGone("the client left"));
  };
  if (keyed === undefined || passage.route.onReadersGone.kind === "cancel") {
    response.once("close", onClose);
    if (request.socket.destroyed) onClose();
  }
  const upstream = await ask(passage, keyed, gone.signal);
  if (request.method === "HEAD" || !isEventStream(upstream)) {
    answered?.();
    return passThrough(exchange, upstream);
  }
  response.off("close", onClose);
  // With a body it can only be asked for once: that is not kept.
  if (request.method === "GET" && !hasBody(request)) await adoptFeed(passage, upstream);
  else await answerRun(passage, upstream, keyed);
}

function ask(
  passage: Passage,
  keyed: KeyedPassage | undefined,
  signal: AbortSignal,
): Promise<UpstreamResponse> {
  const { exchange, proxy, headers } = passage;
  const { request, response } = exchange;
  let body: Uint8Array | Readable | undefined = keyed?.body;
  if (body === undefined && hasBody(request)) {
    sendContinue(request, response);
    body = request;
  }
  // An event stream must come as it is, without a coding. A GET that does not ask for one may be a large page.
  const mayBeCoded = request.method === "GET" || request.method === "HEAD";
  return proxy.pool.request(
    upstreamRequest(passage, {
      body,
      signal,
      headers: mayBeCoded ? headers : headers.filter(([name]) => name !== "accept-encoding"),
    }),
  );
}
