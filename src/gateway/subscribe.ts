import type { IncomingMessage, ServerResponse } from "node:http";
import { SluiceError } from "../core/errors.ts";
import type { Opening } from "../core/opening.ts";
import { selectTopics } from "../core/selection.ts";
import type { Selection } from "../core/selection.ts";
import type { Start } from "../core/start.ts";
import type { WireForm } from "../core/publication.ts";
import { HEARTBEAT_MODES } from "../core/subscriber-options.ts";
import type { HeartbeatMode } from "../core/subscriber-options.ts";
import {
  carriesStream,
  isReadyForStream,
  openSseHttp1,
  whenSocketAssigned,
} from "../transports/sse-http1.ts";
import { streamHeadHeaders } from "../wire/headers.ts";
import { negotiate } from "./accept.ts";
import { refuseBody } from "./body.ts";
import { jitteredRetryMs } from "./exchange.ts";
import type { Exchange } from "./exchange.ts";
import { holdRequests } from "./held.ts";
import { randomId } from "./ids.ts";
import { RefusedError } from "./problem.ts";
import { parseQuery } from "./query.ts";
import type { Query } from "./query.ts";

const PARAMETERS = ["last_event_id", "hello", "on_gap", "form", "heartbeat", "on_overload"];

/** What a subscription asks for. */
interface Wish {
  readonly selection: Selection;
  readonly form: WireForm;
  readonly start: Start;
  readonly hasHello: boolean;
  readonly refusesGap: boolean;
  readonly heartbeat: HeartbeatMode;
}

/** `GET` and `HEAD /v1/topics/{topic}`: the bare data of one topic; enveloped for a pattern. */
export async function subscribeTopic(exchange: Exchange): Promise<void> {
  const query = parseQuery(exchange.query, PARAMETERS);
  const selection = selectTopics([exchange.topic]);
  const form = selection.patterns.length > 0 ? "enveloped" : "plain";
  await subscribe(exchange, wishOf(exchange.request, query, selection, form));
}

/** `GET` and `HEAD /v1/events?topic=...`: many topics and patterns on one connection. */
export async function subscribeEvents(exchange: Exchange): Promise<void> {
  const query = parseQuery(exchange.query, ["topic", ...PARAMETERS]);
  const selection = selectTopics(query.all("topic"));
  await subscribe(exchange, wishOf(exchange.request, query, selection, "enveloped"));
}

function wishOf(
  request: IncomingMessage,
  query: Query,
  selection: Selection,
  form: WireForm,
): Wish {
  const header = request.headers["last-event-id"];
  const parameter = query.one("last_event_id");
  // The door has looked at it already; here a misspelt one is refused.
  query.oneOf("on_overload", ["status", "soft"]);
  return {
    selection,
    form: query.oneOf("form", ["plain", "enveloped"]) ?? form,
    // Empty means absent: EventSource sends none before it has one, but other clients do.
    start: typeof header === "string" && header !== "" ? header : parameter,
    hasHello: query.oneOf("hello", ["0", "1"]) === "1",
    refusesGap: query.oneOf("on_gap", ["refuse"]) === "refuse",
    heartbeat: query.oneOf("heartbeat", HEARTBEAT_MODES) ?? "comment",
  };
}

async function subscribe(exchange: Exchange, wish: Wish): Promise<void> {
  const { request, response, services } = exchange;
  const isNavigable = services.hasPlayground && request.method === "GET";
  const isWebSocket = request.headers.upgrade?.toLowerCase() === "websocket";
  const representation = negotiate(request.headers.accept, isNavigable);
  if (isWebSocket || representation === undefined) {
    throw new SluiceError(
      "not_acceptable",
      "only event streams are spoken here; neither long-polling nor WebSocket is",
    );
  }
  refuseBody(request);
  if (request.method === "HEAD") {
    if (services.door.refusesHead(request, response)) return;
    response
      .writeHead(200, streamHeadHeaders(request.httpVersionMinor === 0 ? "1.0" : "1.1"))
      .end();
    return;
  }
  if (representation === "page") return redirectToPage(response, wish.selection);
  // If a stream will run, what is pipelined behind this request must not have been done.
  const release = holdRequests(request.socket);
  try {
    // Whoever waits for earlier answers on its connection holds no subscriber meanwhile. If the
    // connection ends first this is never resumed, and nothing is left behind.
    await new Promise<void>((resolve) => whenSocketAssigned(response, resolve));
    if (await services.door.admits(request, response)) await open(exchange, wish);
  } finally {
    release(!carriesStream(request.socket));
  }
}

/** Everything after the judgement is synchronous: what was read is what the prelude says. */
async function open(exchange: Exchange, wish: Wish): Promise<void> {
  const { request, response, services, tenant } = exchange;
  const { selection, form, start, heartbeat } = wish;
  const opening = await services.hub.subscribe({ tenant, selection, form, start, heartbeat });
  // While the log was asked the client may have gone; a subscriber without a connection would stay.
  if (!request.socket.writable || !isReadyForStream(response)) return opening.abandon();
  if (services.isDraining()) {
    opening.abandon();
    return services.door.refuseDraining(request, response);
  }
  if (opening.verdict === "finished") {
    // The one status that stops an EventSource for good.
    opening.abandon();
    response.writeHead(204, { "Cache-Control": "no-store", Vary: "Accept, Origin" }).end();
    return;
  }
  if (opening.verdict === "gap" && wish.refusesGap) {
    opening.abandon();
    throw gapRefused(opening);
  }
  const id = randomId();
  const connection = openSseHttp1(request, response, opening.subscriber, { id });
  try {
    opening.attach(connection, { retryMs: jitteredRetryMs(services), hasHello: wish.hasHello });
  } catch (error) {
    connection.abort("internal_error");
    throw error;
  }
}

function gapRefused({ gap }: Opening): RefusedError {
  const error = new SluiceError("gap_refused", `the gap's reason is ${gap?.reason}`);
  return new RefusedError(error, { gap });
}

/** A browser that navigates to a topic lands on the playground, with the topic filled in. */
function redirectToPage(response: ServerResponse, { names, patterns }: Selection): void {
  const topics = [...names, ...patterns.map(({ text }) => text)];
  const search = topics.map((topic) => `topic=${encodeURIComponent(topic)}`).join("&");
  response
    .writeHead(303, {
      Location: `/?${search}`,
      "Cache-Control": "no-store",
      Vary: "Accept, Origin",
    })
    .end();
}
