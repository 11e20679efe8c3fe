import { parseCursor } from "../../wire/cursor.ts";
import type { Cursor } from "../../wire/cursor.ts";
import type { Feed } from "./feed.ts";

/** Feeds that are kept for readers who may come back. Each is a topic, of which a tenant has so many. */
const KEPT_MAX = 2_000;
/** As the memory broker names epochs. */
const EPOCH_LENGTH = 12;

/** Where a reader says that it is, by its `Last-Event-ID`. */
export type Whence =
  | { readonly kind: "fresh" }
  /** A place that Sluice has given, in this or in an earlier incarnation; it never goes upstream. */
  | { readonly kind: "own"; readonly cursor: Cursor }
  /** The origin's own id: given before Sluice stood in front. */
  | { readonly kind: "foreign"; readonly id: string };

export function whenceOf(lastEventId: string | undefined): Whence {
  if (lastEventId === undefined || lastEventId === "") return { kind: "fresh" };
  const cursor = parseCursor(lastEventId);
  if (cursor?.epoch.length === EPOCH_LENGTH) return { kind: "own", cursor };
  return { kind: "foreign", id: lastEventId };
}

/** Where a place was found: behind it everything can be read, or it is told that something is missing. */
export interface Found {
  readonly feed: Feed;
  readonly isExact: boolean;
}

/** All feeds of one key: one that fresh readers get, and those whose readers may come back. */
export class Shelf {
  readonly feeds = new Set<Feed>();
  /** Who comes without a place gets this one. */
  current: Feed | undefined;
  /** A place may be of a feed that is gone. */
  #hasLost = false;

  add(feed: Feed): void {
    this.feeds.add(feed);
    if (feed.isShared) this.current = feed;
  }

  /** Who comes without a place does not get this one any more. */
  supersede(feed: Feed): void {
    if (this.current === feed) this.current = undefined;
  }

  remove(feed: Feed): void {
    this.feeds.delete(feed);
    this.#hasLost = true;
    if (this.current === feed) this.current = undefined;
  }

  /**
   * Whose place it is. Places of different feeds never look alike, but for two: the one before the
   * first event (`isBegin`), and those of bookmarks, which name no event. A bookmark is only believed
   * if it can be of one feed alone.
   */
  async find({ epoch, seq }: Cursor): Promise<Found | "begin" | undefined> {
    const feeds = [...this.feeds].filter((feed) => feed.epoch === epoch);
    if (feeds.some(({ begin }) => begin === seq)) return "begin";
    const trimmed: Feed[] = [];
    for (const feed of feeds) {
      const where = await feed.locate(seq);
      if (where === "exact") return { feed, isExact: true };
      if (where === "trimmed") trimmed.push(feed);
    }
    const [first] = trimmed;
    if (first !== undefined) return { feed: first, isExact: false };
    const [only, other] = feeds;
    if (only === undefined || other !== undefined || this.#hasLost) return undefined;
    return seq > only.begin ? { feed: only, isExact: true } : undefined;
  }
}

/** By tenant, then by key: no concatenation of the two (law 21). */
export class Shelves {
  readonly #byTenant = new Map<string, Map<string, Shelf>>();
  /** Those of which nothing is read upstream, the oldest first. */
  readonly #kept = new Set<Feed>();

  find(tenant: string, key: string): Shelf | undefined {
    return this.#byTenant.get(tenant)?.get(key);
  }

  add(tenant: string, key: string, feed: Feed): void {
    let ofTenant = this.#byTenant.get(tenant);
    if (ofTenant === undefined) this.#byTenant.set(tenant, (ofTenant = new Map()));
    let shelf = ofTenant.get(key);
    if (shelf === undefined) ofTenant.set(key, (shelf = new Shelf()));
    shelf.add(feed);
  }

  /** Nothing of `feed` is read upstream any more. Of too many that are kept so the oldest gives way. */
  keep(feed: Feed): void {
    this.#kept.delete(feed);
    this.#kept.add(feed);
    if (this.#kept.size <= KEPT_MAX) return;
    for (const oldest of this.#kept) {
      this.#kept.delete(oldest);
      if (oldest.isRunning || oldest.isHeld) continue;
      return oldest.close();
    }
  }

  remove(tenant: string, key: string, feed: Feed): void {
    this.#kept.delete(feed);
    const ofTenant = this.#byTenant.get(tenant);
    const shelf = ofTenant?.get(key);
    if (ofTenant === undefined || shelf === undefined) return;
    shelf.remove(feed);
    if (shelf.feeds.size > 0) return;
    ofTenant.delete(key);
    if (ofTenant.size === 0) this.#byTenant.delete(tenant);
  }

  *all(): Generator<Feed> {
    for (const ofTenant of this.#byTenant.values()) {
      for (const { feeds } of ofTenant.values()) yield* feeds;
    }
  }
}
