import type { Runtime } from "../internal/clock.ts";
import { Ring } from "../internal/ring.ts";
import { BATCH_BYTES_MAX } from "./batch.ts";
import type { Broker } from "./broker.ts";
import type { DisconnectReason } from "./disconnect.ts";
import { LANE_SHARES, isBelow } from "./lanes.ts";
import type { Sharer } from "./lanes.ts";
import type { Metrics } from "./metrics.ts";
import type { Publication } from "./publication.ts";
import { ReadQueue } from "./read-queue.ts";
import { Routes } from "./routes.ts";
import type { Audience, Route } from "./routes.ts";
import type { Lane } from "./settings.ts";
import type { Slice } from "./slice.ts";
import type { Subscriber, SubscriberHome } from "./subscriber.ts";
import { Window } from "./window.ts";

/**
 * Publications that wait for a window, in bytes of frames, at most. Beyond it appending outruns the
 * flush: the wait is given up and the subscribers read the log, which is the queue that is bounded.
 */
export const PENDING_BYTES_MAX = 8 * 1024 * 1024;

/** Room for so many of them stays: each window empties it. */
const PENDING_KEPT = 256;

/** What a window takes of them, in bytes of frames, at most: so much again is copied while it is served. */
const WINDOW_BYTES_MAX = 1024 * 1024;

/** The tenant whose lane this is. */
export interface LaneTenant {
  readonly name: string;
  readonly epoch: string;
  /** The highest sequence number that the tail has brought. */
  readonly seenTo: number;
  readonly subscribers: Iterable<Subscriber>;
  now(): number;
  /** Asks the flush for a turn. */
  schedule(): void;
  /** A subscriber of one of its lanes has its connection. */
  attached(subscriber: Subscriber): void;
  /** A subscriber of one of its lanes has gone. */
  forget(subscriber: Subscriber, reason?: DisconnectReason): void;
  lane(lane: Lane): LaneHub;
}

export interface LaneHubOptions {
  readonly lane: Lane;
  readonly tenant: LaneTenant;
  readonly broker: Broker;
  readonly runtime: Runtime;
  readonly metrics: Metrics;
}

/**
 * One lane of a tenant: the subscribers that ride in it, what was appended for them, the window being
 * served, and who reads the log. Lanes share nothing, so a backlog in one costs the others no more
 * than its share of the flush.
 *
 * A subscriber rides in the lowest lane of its topics, and gets all of them there: the order on a
 * connection is always the tenant's. Which lane that is decides when it is served and nothing else.
 */
export class LaneHub implements SubscriberHome, Sharer {
  readonly lane: Lane;
  readonly metrics: Metrics;
  frozenTo: number;
  allowance: number;

  readonly #tenant: LaneTenant;
  readonly #routes = new Routes();
  readonly #reads: ReadQueue;
  /** Appended, followed by somebody here, and not yet in a window. */
  #pending = new Ring<Publication>(PENDING_KEPT);
  #pendingBytes = 0;
  #window: Window | undefined;
  #turns = 0;
  /** A window has outlasted a turn since somebody was last let read. */
  #isReadDue = false;

  constructor(options: LaneHubOptions) {
    const { lane, tenant, broker, runtime, metrics } = options;
    this.lane = lane;
    this.metrics = metrics;
    this.frozenTo = tenant.seenTo;
    this.allowance = LANE_SHARES[lane];
    this.#tenant = tenant;
    const onReady = (): void => tenant.schedule();
    this.#reads = new ReadQueue({ broker, runtime, tenant, metrics, onReady });
  }

  get name(): string {
    return this.#tenant.name;
  }

  get head(): number {
    return this.#tenant.seenTo;
  }

  get epoch(): string {
    return this.#tenant.epoch;
  }

  get settledTo(): number {
    if (this.#window !== undefined) return this.#window.from;
    const next = this.#pending.first();
    // What its subscribers do not follow is not pending here: they have everything that was seen.
    return next === undefined ? this.#tenant.seenTo : next.seq - 1;
  }

  get hasWork(): boolean {
    return this.#window !== undefined || this.#pending.length > 0 || this.#reads.hasWork;
  }

  /** The topics that somebody follows here, as far as they were seen. */
  topics(): Iterable<string> {
    return this.#routes.followed();
  }

  now(): number {
    return this.#tenant.now();
  }

  /** From now on whatever is appended to its topics is kept for it here; what was before, it reads. */
  add(subscriber: Subscriber): void {
    subscriber.joinedTo = this.#tenant.seenTo;
    // The marks of another lane's window: a window here may have the same number.
    subscriber.turn = 0;
    this.#routes.add(subscriber);
  }

  attached(subscriber: Subscriber): void {
    this.#tenant.attached(subscriber);
  }

  remove(subscriber: Subscriber, reason?: DisconnectReason): void {
    this.#routes.remove(subscriber);
    this.#tenant.forget(subscriber, reason);
  }

  move(subscriber: Subscriber, lane: Lane): SubscriberHome {
    this.#routes.remove(subscriber);
    const to = this.#tenant.lane(lane);
    to.add(subscriber);
    return to;
  }

  enqueue(subscriber: Subscriber): void {
    this.#reads.enqueue(subscriber);
  }

  /** Keeps what somebody here follows until the flush freezes it. */
  push(publication: Publication): void {
    const route = this.#routes.find(publication.topic);
    if (route === undefined) return;
    this.#pending.push(publication);
    this.#pendingBytes += publication.bytes;
    // Only now: who falls back has everything up to the first that is pending, which may be this one.
    const { lane } = publication.settings;
    if (lane !== this.lane || lane !== route.lane) this.#onLane(route, lane);
    if (this.#pendingBytes > PENDING_BYTES_MAX) this.#overflow();
    this.#tenant.schedule();
  }

  /** The log begins anew behind `head`, or nobody is here any more. */
  begin(head: number): void {
    this.#window?.close();
    this.#window = undefined;
    this.#pending = new Ring(PENDING_KEPT);
    this.#pendingBytes = 0;
    this.#reads.forget();
    this.frozenTo = head;
  }

  /**
   * Serves the windows, then those who read the log, until nothing is left, or until the slice is
   * spent or `spend`, which is told the bytes of each write, says that it was enough.
   *
   * Readers come when everything is frozen, so that what they get reaches up to the last window and
   * they are live before the next one: served between two windows they would always be one behind,
   * for as long as something is appended in every turn. Where a window outlasts a turn they come
   * after it, or live delivery could starve them.
   */
  flush(slice: Slice, spend: (bytes: number) => boolean): void {
    for (;;) {
      if (this.#window !== undefined) {
        if (!this.#window.serve(slice, spend)) {
          this.#isReadDue = true;
          return;
        }
        this.#window.close();
        this.#window = undefined;
      }
      // What was read reaches up to what is frozen: whoever is written it now is live before the next window.
      if (!this.#reads.write(slice, spend)) return;
      if (this.#pending.length === 0 || this.#isReadDue) {
        this.#isReadDue = false;
        const isWaiting = this.#reads.start(slice);
        if (this.#reads.hasArrived) continue;
        if (this.#pending.length === 0) return;
        // What the broker has at hand is here before the next turn, and the window after it finds them live.
        if (isWaiting) slice.end();
      }
      if (slice.isSpent || spend(0)) return;
      this.#freeze();
    }
  }

  /**
   * Takes what is pending into a window, but no more than one batch for anybody: of a topic, and of all
   * topics together whose subscribers follow several. Whoever follows one topic of many is written
   * once with all that waited for it, so that a backlog costs fewer writes than what made it.
   */
  #freeze(): void {
    const from = this.settledTo;
    const dirty: Route[] = [];
    let bytes = 0;
    let mixedBytes = 0;
    for (let next = this.#pending.first(); next !== undefined; next = this.#pending.first()) {
      const route = this.#routes.find(next.topic);
      if (route !== undefined) {
        const { isMixed, windowBytes } = route;
        const written = isMixed ? Math.max(mixedBytes, windowBytes) : windowBytes;
        if (written > 0 && written + next.bytes > BATCH_BYTES_MAX) break;
        if (bytes > 0 && bytes + next.bytes > WINDOW_BYTES_MAX) break;
        if (windowBytes > 0) route.window.push(next);
        else {
          // Mostly it stays alone, and an array that was pushed to has room for 17.
          route.window = [next];
          dirty.push(route);
        }
        route.windowBytes = windowBytes + next.bytes;
        bytes += next.bytes;
        if (isMixed) mixedBytes += next.bytes;
      }
      this.#pending.shift();
      this.#pendingBytes -= next.bytes;
      this.frozenTo = next.seq;
    }
    this.#turns += 1;
    this.metrics.plain.sluice_flush_windows_total += 1;
    if (dirty.length > 0) this.#window = new Window(this.#turns, from, this.frozenTo, dirty);
  }

  /**
   * An event of another lane than this, or of another than its topic had. Where that can move its
   * subscribers they read the log once, whose answer names the lowest lane of all their topics.
   */
  #onLane(route: Route, lane: Lane): void {
    const known = route.lane;
    route.lane = lane;
    // Nobody who follows it may ride so high.
    if (isBelow(lane, this.lane)) return this.#reconsider(route.audiences);
    if (lane === this.lane || lane === known) return;
    // It may have been what held them down here.
    if (known === this.lane) return this.#reconsider(route.audiences);
    // The first of its events: they may have named it before it had its settings. Patterns are not
    // asked about each new topic that they match.
    if (known === undefined) this.#reconsider([route.direct]);
  }

  #reconsider(audiences: readonly Audience[]): void {
    const { settledTo } = this;
    // A read from before does not know of it either.
    this.#reads.forget();
    for (const { subscribers } of audiences) {
      for (const subscriber of subscribers) {
        // Whoever reads already does not go live with an answer from before this.
        if (subscriber.state !== "live") subscriber.joinedTo = this.#tenant.seenTo;
        subscriber.fallBack(settledTo);
      }
    }
  }

  #overflow(): void {
    this.metrics.plain.sluice_flush_overflows_total += 1;
    const { settledTo } = this;
    this.#pending = new Ring(PENDING_KEPT);
    this.#pendingBytes = 0;
    this.frozenTo = this.#tenant.seenTo;
    for (const subscriber of this.#tenant.subscribers) {
      if (subscriber.lane === this.lane) subscriber.fallBack(settledTo);
    }
  }
}
