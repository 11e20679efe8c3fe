import type { Hub } from "../../core/hub.ts";
import type { Metrics } from "../../core/metrics.ts";
import type { Runtime } from "../../internal/clock.ts";
import type { HeaderList, UpstreamRequest, UpstreamResponse } from "../../upstreams/message.ts";
import type { UpstreamPool } from "../../upstreams/pool/pool.ts";
import type { SourceOptions } from "../../upstreams/source/source.ts";
import type { Exchange } from "../exchange.ts";
import type { Logger } from "../logger.ts";
import type { ProxyRoute } from "./route.ts";
import type { Shelves } from "./shelf.ts";

/** What the parts of the proxy work with. */
export interface ProxyServices {
  readonly hub: Hub;
  readonly runtime: Runtime;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly pool: Pick<UpstreamPool, "request" | "isRefusing">;
  readonly shelves: Shelves;
  /** POSTs with an idempotency key that have no answer yet; see `runs.ts`. */
  readonly underWay: Map<string, Promise<unknown>>;
  /** The gateway ends: no run may begin. */
  isOver(): boolean;
}

/** One request on its way to an origin. */
export interface Passage {
  readonly exchange: Exchange;
  readonly route: ProxyRoute;
  readonly proxy: ProxyServices;
  /** Path and query, as they came. */
  readonly path: string;
  /** What is forwarded of the request's headers. */
  readonly headers: HeaderList;
}

/** What is asked of the pool for a passage. */
export function upstreamRequest(
  { exchange, route, path, headers }: Passage,
  its: Partial<UpstreamRequest> = {},
): UpstreamRequest {
  return {
    origin: route.origin,
    method: exchange.request.method ?? "GET",
    path,
    headers,
    tenant: exchange.tenant,
    headersMsMax: route.headersMsMax,
    ...its,
  };
}

/** A 200 that carries events, in no coding that would have to be undone. */
export function isEventStream({ status, headers }: UpstreamResponse): boolean {
  if (status !== 200) return false;
  const value = (wanted: string): string => headers.find(([name]) => name === wanted)?.[1] ?? "";
  const coding = value("content-encoding").trim().toLowerCase();
  if (coding !== "" && coding !== "identity") return false;
  return /^\s*text\/event-stream\s*(?:;|$)/i.test(value("content-type"));
}

/** How the stream of a route is read. `lastEventId` is the origin's own. */
export function sourceOptions(
  route: ProxyRoute,
  isResumable: boolean,
  lastEventId?: string,
): SourceOptions {
  return {
    isResumable,
    onEnd: route.onEnd,
    idleMsMax: route.idleMsMax,
    ...(lastEventId !== undefined && { startLastEventId: lastEventId }),
  };
}
