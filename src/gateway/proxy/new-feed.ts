import { feedTenant } from "../../core/feed-tenant.ts";
import type { UpstreamResponse } from "../../upstreams/message.ts";
import { openSource } from "../../upstreams/source/source.ts";
import { Feed } from "./feed.ts";
import { sourceOptions, upstreamRequest } from "./passage.ts";
import type { Passage } from "./passage.ts";
import type { Sharing } from "./sharing.ts";

export interface NewFeed {
  /** Fresh readers of the same key get it too. */
  readonly isShared: boolean;
  /** The origin's own id behind which it begins. */
  readonly lastEventId?: string;
  /** The stream has begun already. */
  readonly response?: UpstreamResponse;
}

/** Starts an upstream request whose events are a feed, and puts it where others find it. */
export function newFeed(passage: Passage, sharing: Sharing, its: NewFeed): Feed {
  const { exchange, route, proxy } = passage;
  const { hub, runtime, metrics, logger, pool, shelves } = proxy;
  const { tenant, services } = exchange;
  const request = upstreamRequest(passage, { headers: sharing.headers });
  let { response } = its;
  const ask: Pick<typeof pool, "request"> = {
    request: (its) => {
      if (response === undefined) return pool.request(its);
      const first = Promise.resolve(response);
      response = undefined;
      return first;
    },
  };
  const feed = new Feed({
    hub,
    runtime,
    logger,
    route,
    tenant: feedTenant(tenant),
    isShared: its.isShared,
    retryMs: services.retryMs,
    lastEventId: its.lastEventId,
    connect: (sink, lastEventId) =>
      openSource({
        pool: ask,
        request,
        sink,
        runtime,
        metrics,
        options: sourceOptions(route, true, lastEventId),
      }),
    onKept: (kept) => shelves.keep(kept),
    onGone: (gone) => shelves.remove(tenant, sharing.key, gone),
  });
  shelves.add(tenant, sharing.key, feed);
  return feed;
}
