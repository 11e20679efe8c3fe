import type { UpstreamResponse } from "../../upstreams/message.ts";
import { newFeed } from "./new-feed.ts";
import type { Passage } from "./passage.ts";
import { serveFeed } from "./serve-feed.ts";
import { sharingOf } from "./sharing.ts";
import { whenceOf } from "./shelf.ts";

/**
 * The answer to a GET that did not ask for an event stream by name is one: its client is served from a
 * feed of its own, and finds it again when it comes back with its place and asks for an event stream.
 */
export async function adoptFeed(passage: Passage, response: UpstreamResponse): Promise<void> {
  const { route, path, headers, proxy, exchange } = passage;
  const sharing = sharingOf(route, path, headers);
  // The next one is known for what it is, and shares.
  proxy.shelves.noteStream(exchange.tenant, sharing.key);
  const whence = whenceOf(exchange.request.headers["last-event-id"] as string | undefined);
  const feed = newFeed(passage, sharing, {
    isShared: false,
    isOwn: true,
    response,
    ...(whence.kind === "foreign" && { lastEventId: whence.id }),
  });
  await serveFeed(passage, sharing, { feed, start: undefined });
}
