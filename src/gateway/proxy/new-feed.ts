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
  /** It is asked for with all headers of its first reader, and only that reader may come back to it. */
  readonly isOwn?: boolean;
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
  const { isShared, isOwn = false } = its;
  const headers = isOwn
    ? passage.headers.filter(([name]) => !CHOSEN_BY_SOURCE.has(name))
    : sharing.headers;
  const request = upstreamRequest(passage, { headers });
  let { response } = its;
  const ask: Pick<typeof pool, "request"> = {
    request: (asked) => {
      if (response === undefined) return pool.request(asked);
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
    isShared,
    owner: isOwn ? ownerOf(passage) : undefined,
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
  // There was no room for it: nobody has asked for the response.
  feed.opened.catch(() => response?.body.on("error", ignore).destroy());
  shelves.add(tenant, sharing.key, feed);
  return feed;
}

/** The source says these itself. */
const CHOSEN_BY_SOURCE: ReadonlySet<string> = new Set(["accept-encoding", "last-event-id"]);

/**
 * Who may come back to a stream that was asked for with more than its key tells. Credentials are in the
 * key; where there are none, it is who comes from the same address.
 */
export function ownerOf({ headers }: Passage): string {
  const value = (wanted: string): string => headers.find(([name]) => name === wanted)?.[1] ?? "";
  const hasCredentials = value("authorization") !== "" || value("cookie") !== "";
  return hasCredentials ? "" : value("x-forwarded-for");
}

function ignore(): void {}
