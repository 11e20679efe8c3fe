import { feedTenant } from "../../core/feed-tenant.ts";
import type { UpstreamResponse } from "../../upstreams/message.ts";
import { formatCursor } from "../../wire/cursor.ts";
import { attachReader } from "./attach.ts";
import type { FeedOpened } from "./feed-options.ts";
import type { Feed } from "./feed.ts";
import { streamHead } from "./forward-headers.ts";
import type { Passage } from "./passage.ts";
import { answersStreamError } from "./refuse.ts";
import type { Sharing } from "./sharing.ts";

/** Where a reader goes. */
export interface Choice {
  readonly feed: Feed;
  /** Where it begins to read; undefined: at the beginning of the upstream response, all of it. */
  readonly start: string | undefined;
}

/**
 * `again`: another feed must be chosen. `response`: the origin's answer is no stream, and somebody else
 * has it already. A response: it is this reader's to have.
 */
export type Served = "answered" | "again" | "response" | UpstreamResponse;

/** Attaches the reader of `passage` to a feed, once that is open. Rejects with `upstream_*`. */
export async function serveFeed(
  passage: Passage,
  sharing: Sharing,
  { feed, start }: Choice,
): Promise<Served> {
  const { exchange, proxy, route } = passage;
  const { response, tenant } = exchange;
  const release = feed.hold();
  // While the origin thinks nothing else would tell that the client has gone (law 10).
  response.once("close", release);
  feed.wake();
  let opened: FeedOpened;
  try {
    opened = await feed.opened;
  } catch (error) {
    release();
    if (answersStreamError(passage, error)) return "answered";
    throw error;
  }
  if (opened.kind === "response") {
    const taken = feed.takeResponse();
    release();
    return taken ?? "response";
  }
  // Found while it was kept, and forgotten since.
  if (feed.state === "gone") {
    release();
    return "again";
  }
  let unread = (): void => {};
  const seat = {
    tenant: feedTenant(tenant),
    topic: feed.topic,
    start: start ?? formatCursor(feed.epoch, feed.begin),
    control: route.control,
    isResumable: true,
    headers: streamHead(opened.headers, !feed.isForFirst),
    isExactOnly: start === undefined,
  };
  const attached = await attachReader(exchange, seat, () => {
    unread();
    release();
  });
  if (attached.outcome === "attached") {
    const { subscriber } = attached.opening;
    if (subscriber.state !== "closed") unread = feed.read(subscriber);
  }
  if (attached.outcome !== "trimmed") return "answered";
  // Its beginning has gone: the next fresh reader gets a new one.
  proxy.shelves.find(tenant, sharing.key)?.supersede(feed);
  return "again";
}
