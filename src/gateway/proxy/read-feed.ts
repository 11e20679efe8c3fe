import { formatCursor } from "../../wire/cursor.ts";
import { forward } from "./forward.ts";
import { newFeed, ownerOf } from "./new-feed.ts";
import { passThrough } from "./pass-through.ts";
import type { Passage } from "./passage.ts";
import { refusesForOrigin, survivesResponse } from "./refuse.ts";
import { serveFeed } from "./serve-feed.ts";
import type { Choice } from "./serve-feed.ts";
import { sharingOf } from "./sharing.ts";
import type { Sharing } from "./sharing.ts";
import { whenceOf } from "./shelf.ts";
import type { Whence } from "./shelf.ts";

/** A feed whose beginning has gone is replaced by another; nobody starts more of them than this. */
const TRIES_MAX = 4;
/** A place of no log: who is given it starts at the oldest event there is, behind a gap (law 7). */
const NOWHERE = formatCursor("gone", 0);

/**
 * Answers a GET that asks for an event stream. Who asks for the same shares one upstream request
 * (law 13). A fresh reader gets the response from its beginning; who comes back gets what follows its
 * place; a place that the origin gave goes to the origin, on a request of its own.
 */
export async function readFeed(passage: Passage): Promise<void> {
  const { exchange, route, headers, path } = passage;
  const { request, response, services } = exchange;
  const isQuiet = route.control === "comments";
  if (!(await services.door.admits(request, response, isQuiet))) return;
  const lastEventId = request.headers["last-event-id"];
  const whence = whenceOf(typeof lastEventId === "string" ? lastEventId : undefined);
  const sharing = sharingOf(route, path, headers);
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const choice = await choose(passage, sharing, whence);
    if (choice === undefined) return;
    const served = await serveFeed(passage, sharing, choice);
    if (served === "answered") return;
    if (served === "again") continue;
    if (served === "response") return forward(passage);
    if (!survivesResponse(passage, served)) await passThrough(exchange, served);
    return;
  }
  // What the origin sends first is more than the window holds, each time before anybody can read it.
  await forward(passage);
}

/** Undefined if it was refused. */
async function choose(
  passage: Passage,
  sharing: Sharing,
  whence: Whence,
): Promise<Choice | undefined> {
  const { proxy, route, exchange } = passage;
  const shelf = proxy.shelves.find(exchange.tenant, sharing.key);
  const isShared = route.share === "auto";
  if (whence.kind === "foreign") {
    if (refusesForOrigin(passage)) return undefined;
    return {
      feed: newFeed(passage, sharing, {
        isShared: false,
        isOwn: !isShared,
        lastEventId: whence.id,
      }),
      start: undefined,
    };
  }
  let start: string | undefined;
  if (whence.kind === "own") {
    const { epoch, seq } = whence.cursor;
    const found = await shelf?.find(whence.cursor, ownerOf(passage));
    if (found !== undefined) return { feed: found, start: formatCursor(epoch, seq) };
    start = NOWHERE;
  }
  // From here on nothing is awaited: of two first readers the second must find the first one's (law 13).
  const current = proxy.shelves.find(exchange.tenant, sharing.key)?.current;
  if (current?.isRunning === true) return { feed: current, start };
  if (refusesForOrigin(passage)) return undefined;
  return { feed: newFeed(passage, sharing, { isShared, isOwn: !isShared }), start };
}
