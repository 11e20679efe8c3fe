import { SluiceError } from "../../core/errors.ts";
import { ownerOf, shownTenant } from "../../core/feed-tenant.ts";
import type { Hub } from "../../core/hub.ts";
import type { Subscriber } from "../../core/subscriber.ts";
import type { Runtime } from "../../internal/clock.ts";
import { SHORT_ID_LENGTH, shortId } from "../connection-log.ts";
import { parseQuery } from "../query.ts";
import type { Query } from "../query.ts";
import { answerJson } from "./call.ts";
import type { AdminCall, AdminRoute } from "./call.ts";
import { FILTERS, filterOf } from "./filter.ts";
import type { Filter } from "./filter.ts";

const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 10_000;
/** Topics of one connection that are listed; their number is always told. */
const TOPICS_SHOWN_MAX = 16;
/** Connections looked at, and closed, in one turn of the event loop. */
const LOOKS_PER_TURN = 2_000;
const CLOSES_PER_TURN = 200;

/** `GET /admin/connections`: those that the filters mean, the oldest first, and how many there are in all. */
export function listConnections(hub: Hub, runtime: Runtime): AdminRoute {
  return async (call) => {
    const query = parseQuery(call.query, [...FILTERS, "limit"]);
    const filter = filterOf(query);
    const limit = limitOf(query);
    const connections: object[] = [];
    let total = 0;
    for await (const subscriber of chosen(hub, runtime, filter)) {
      total += 1;
      if (connections.length < limit) connections.push(describe(subscriber, runtime.now()));
    }
    answerJson(call, 200, { total, connections });
  };
}

/**
 * `DELETE /admin/connections/{short id}` and `DELETE /admin/connections?<filters>`: tells each when to come
 * back, says `closed_by_operator`, and ends it. What it was sent before still leaves. Everything is
 * closed only by `all=1`, so that a forgotten filter closes nothing.
 */
export function closeConnections(hub: Hub, runtime: Runtime): AdminRoute {
  return async (call) => {
    const isMeant = meantBy(call);
    let closed = 0;
    for await (const subscriber of chosen(hub, runtime, isMeant)) {
      if (subscriber.state === "draining" || subscriber.state === "closed") continue;
      subscriber.end("closed_by_operator", subscriber.retryMs * (0.5 + runtime.random()));
      closed += 1;
      if (closed % CLOSES_PER_TURN === 0) await turn(runtime);
    }
    if (closed === 0 && call.rest !== "") {
      throw new SluiceError("connection_unknown", "no open connection's id begins so");
    }
    answerJson(call, 200, { closed });
  };
}

function meantBy({ rest, query }: AdminCall): Filter {
  if (rest !== "") {
    parseQuery(query, []);
    return (subscriber) => shortId(subscriber) === rest;
  }
  const parsed = parseQuery(query, [...FILTERS, "all"]);
  const isAll = parsed.oneOf("all", ["1"]) === "1";
  if (!isAll && FILTERS.every((name) => parsed.one(name) === undefined)) {
    throw new SluiceError("parameter_invalid", "name a filter, or all=1 to close every connection");
  }
  return filterOf(parsed);
}

/** In slices: others are served between them, however many connections there are. */
async function* chosen(
  hub: Hub,
  runtime: Runtime,
  filter: Filter,
): AsyncGenerator<Subscriber, void, void> {
  let looks = 0;
  // A Map may change while it is walked: what was there and stays is seen once (ECMA-262, 24.1.3.5).
  for (const subscriber of hub.connections()) {
    looks += 1;
    if (looks % LOOKS_PER_TURN === 0) await turn(runtime);
    if (filter(subscriber, runtime.now())) yield subscriber;
  }
}

function turn(runtime: Runtime): Promise<void> {
  return new Promise((resolve) => {
    runtime.defer(resolve);
  });
}

function limitOf(query: Query): number {
  const text = query.one("limit") ?? String(LIMIT_DEFAULT);
  const limit = /^[0-9]{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (limit >= 0 && limit <= LIMIT_MAX) return limit;
  throw new SluiceError(
    "parameter_invalid",
    `limit is ${JSON.stringify(text.slice(0, 80))}, not a number from 0 to ${LIMIT_MAX}`,
  );
}

function describe(subscriber: Subscriber, now: number): object {
  const { connection, selection, tenant, state, events, lag, heartbeat, openedAt } = subscriber;
  const topics = [
    ...selection.names.map((name) => shownTopic(tenant, name)),
    ...selection.patterns.map(({ text }) => text),
  ];
  return {
    id: shortId(subscriber),
    peer: connection?.peer,
    tenant: shownTenant(tenant),
    topics: topics.slice(0, TOPICS_SHOWN_MAX),
    topicsCount: topics.length,
    state,
    ageMs: Math.max(0, Math.floor(now) - openedAt),
    events,
    bytes: connection?.bytesWritten,
    pendingBytes: connection?.pendingBytes,
    lag,
    heartbeat,
  };
}

/** The id of a run is the secret of those who read it: operators see the beginning of it, as of connections. */
function shownTopic(tenant: string, name: string): string {
  if (ownerOf(tenant) === tenant) return name;
  const slash = name.indexOf("/") + 1;
  return name.slice(0, slash + SHORT_ID_LENGTH);
}
