import { parseCursor } from "../../wire/cursor.ts";
import type { Cursor } from "../../wire/cursor.ts";
import { fingerprintOf } from "../ids.ts";
import type { Feed } from "./feed.ts";

/** Feeds that are kept for readers who may come back. Each is a topic, of which a tenant has so many. */
const KEPT_MAX = 2_000;
/** Keys that are remembered as those of event streams. */
const STREAMS_MAX = 10_000;
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
  // EventSource sends UTF-8 (WHATWG HTML, 9.2.3), which Node shows byte by byte.
  return { kind: "foreign", id: Buffer.from(lastEventId, "latin1").toString() };
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
   * Whose place it is. Places of different feeds never look alike, but for those of bookmarks, which name
   * no event: one of them is only believed if it can be of one feed alone.
   */
  async find({ epoch, seq }: Cursor, owner: string): Promise<Feed | undefined> {
    const feeds = [...this.feeds].filter(
      (feed) => feed.epoch === epoch && (feed.owner === undefined || feed.owner === owner),
    );
    const trimmed: Feed[] = [];
    for (const feed of feeds) {
      const where = await feed.locate(seq);
      if (where === "exact") return feed;
      if (where === "trimmed") trimmed.push(feed);
    }
    const [first] = trimmed;
    // Its readers are told what is missing.
    if (first !== undefined) return first;
    const [only, other] = feeds;
    if (only === undefined || other !== undefined || this.#hasLost) return undefined;
    return seq > only.begin ? only : undefined;
  }
}

/** By tenant, then by key: no concatenation of the two (law 21). */
export class Shelves {
  readonly #byTenant = new Map<string, Map<string, Shelf>>();
  /** Hashes: a key holds all headers of a request, and anybody can make up new ones. */
  readonly #streams = new Set<string>();
  /** Those of which nothing is read upstream, the oldest first. */
  readonly #kept = new Set<Feed>();

  /** A GET of this key was answered with an event stream, though it had not asked for one by name. */
  noteStream(tenant: string, key: string): void {
    const name = fingerprintOf(tenant, key);
    this.#streams.delete(name);
    this.#streams.add(name);
    const [oldest = ""] = this.#streams;
    if (this.#streams.size > STREAMS_MAX) this.#streams.delete(oldest);
  }

  isStream(tenant: string, key: string): boolean {
    return this.#streams.size > 0 && this.#streams.has(fingerprintOf(tenant, key));
  }

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
