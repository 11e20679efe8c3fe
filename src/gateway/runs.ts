import { SluiceError } from "../core/errors.ts";
import { feedTenant } from "../core/feed-tenant.ts";
import type { Start } from "../core/start.ts";
import { carriesStream, whenSocketAssigned } from "../transports/sse-http1.ts";
import type { Run } from "../upstreams/runs/run.ts";
import { streamHeadHeaders } from "../wire/headers.ts";
import { negotiate } from "./accept.ts";
import { attachReader } from "./proxy/attach.ts";
import { headOf } from "./proxy/run-heads.ts";
import { refuseBody } from "./body.ts";
import type { Exchange } from "./exchange.ts";
import { holdRequests } from "./held.ts";
import { parseQuery } from "./query.ts";

/** Who knows the id may read the run, and stop it. */
const RUN_HEADER = "Sluice-Run";

/** What the answer that starts or joins a run says of it. */
export function runHeaders({ id }: Run): Record<string, string> {
  return { [RUN_HEADER]: id, Link: `</v1/runs/${encodeURIComponent(id)}>; rel="alternate"` };
}

/**
 * `GET` and `HEAD /v1/runs/{id}`: its events from the beginning, or behind a place; also after its end,
 * until it is forgotten. Who has read to the end gets 204.
 */
export async function readRun(exchange: Exchange): Promise<void> {
  const { request, response, services } = exchange;
  const query = parseQuery(exchange.query, ["last_event_id", "on_overload"]);
  query.oneOf("on_overload", ["status", "soft"]);
  const run = runOf(exchange);
  if (negotiate(request.headers.accept, false) === undefined) {
    throw new SluiceError("not_acceptable", "a run is an event stream");
  }
  refuseBody(request);
  const { isQuiet } = run.options;
  if (request.method === "HEAD") {
    if (services.door.refusesHead(request, response)) return;
    const version = request.httpVersionMinor === 0 ? "1.0" : "1.1";
    response.writeHead(200, { ...streamHeadHeaders(version), ...runHeaders(run) }).end();
    return;
  }
  // If a stream will run, what is pipelined behind this request must not have been done.
  const release = holdRequests(request.socket);
  try {
    await new Promise<void>((resolve) => whenSocketAssigned(response, resolve));
    if (!(await services.door.admits(request, response, isQuiet))) return;
    // While it waited for its turn the run may have been forgotten, and another have come in its place.
    if (runOf(exchange) !== run) throw unknownRun();
    await attachToRun(exchange, run, {
      start: placeOf(exchange) ?? query.one("last_event_id") ?? "earliest",
      headers: headOf(run),
      // A drain waits for a run that is open, and only here is it told how that ends.
      isResumable: run.state !== "open",
    });
  } finally {
    release(!carriesStream(request.socket));
  }
}

/** `DELETE /v1/runs/{id}`: 204 when the run has ended; its producer is stopped within this turn. */
export async function stopRun(exchange: Exchange): Promise<void> {
  parseQuery(exchange.query, []);
  refuseBody(exchange.request);
  await runOf(exchange).stop();
  exchange.response.writeHead(204, { "Cache-Control": "no-store", Vary: "Accept, Origin" }).end();
}

export interface RunSeat {
  readonly start: Start;
  /** Of the origin's head. */
  readonly headers: Readonly<Record<string, string>>;
  /** It can be sent away, and come back with its place. */
  readonly isResumable: boolean;
}

/** Makes the response a reader of the run, which counts from now on; also while its connection is opened. */
export async function attachToRun(exchange: Exchange, run: Run, seat: RunSeat): Promise<void> {
  const leave = run.addReader();
  try {
    await run.ready;
  } catch (error) {
    leave();
    throw error;
  }
  let unfollow = (): void => {};
  const attached = await attachReader(
    exchange,
    {
      tenant: feedTenant(run.tenant),
      topic: run.topic,
      start: seat.start,
      control: run.options.isQuiet ? "comments" : "events",
      isResumable: seat.isResumable,
      headers: { ...seat.headers, ...runHeaders(run) },
      isExactOnly: false,
    },
    () => {
      unfollow();
      leave();
    },
  );
  if (attached.outcome !== "attached") return;
  const { subscriber } = attached.opening;
  if (subscriber.state !== "closed") unfollow = run.follow(subscriber);
}

/** Empty means absent: EventSource sends none before it has one, but other clients do. */
export function placeOf({ request }: Exchange): string | undefined {
  const header = request.headers["last-event-id"];
  return typeof header === "string" && header !== "" ? header : undefined;
}

function runOf({ services, tenant, topic: id }: Exchange): Run {
  const run = services.runs.get(tenant, id);
  if (run === undefined) throw unknownRun();
  return run;
}

function unknownRun(): SluiceError {
  return new SluiceError("run_unknown", "no run of yours has this id");
}
