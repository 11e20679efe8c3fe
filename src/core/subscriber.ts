import { assert } from "../internal/assert.ts";
import { batchOf, controlBatch } from "./batch.ts";
import type { Batch } from "./batch.ts";
import type { ReadFrom, ReadResult } from "./broker.ts";
import type { Connection, ConnectionOwner } from "./connection.ts";
import { closeFrame, helloFrame, primerFrame, retryFrame } from "./control.ts";
import type { GapReason } from "./control.ts";
import { DISCONNECTS, isEviction } from "./disconnect.ts";
import type { DisconnectReason } from "./disconnect.ts";
import type { Group } from "./group.ts";
import type { Metrics } from "./metrics.ts";
import type { PendingBytes, Waiter } from "./pending.ts";
import type { WireForm } from "./publication.ts";
import { composeRead } from "./replay.ts";
import type { ComposedRead, Dropped } from "./replay.ts";
import type { Selection } from "./selection.ts";
import type { SharedRead } from "./shared-read.ts";
import type { Lane } from "./settings.ts";

export const SUBSCRIBER_STATES = ["reading", "live", "draining", "closed"] as const;

/**
 * `reading`: replays, or lags; takes what it lacks from the log. `live`: has everything up to the
 * window before; takes batches. `draining`: goodbye was said, or the last frame was written; no event
 * follows. `closed`.
 */
export type SubscriberState = (typeof SUBSCRIBER_STATES)[number];

const MOVES: Record<SubscriberState, readonly SubscriberState[]> = {
  reading: ["live", "draining", "closed"],
  live: ["reading", "draining", "closed"],
  draining: ["closed"],
  closed: [],
};

/** What a subscriber asks of the lane in which it rides. */
export interface SubscriberHome {
  /** The tenant's name. */
  readonly name: string;
  /** The newest event of the tenant that this process knows of. */
  readonly head: number;
  readonly epoch: string;
  readonly metrics: Metrics;
  readonly lane: Lane;
  /** Up to here everything was frozen into a window: whoever has read it may go live. */
  readonly frozenTo: number;
  /** Up to here every live subscriber has received everything. */
  readonly settledTo: number;
  /** Monotonic, in whole milliseconds. */
  now(): number;
  /** Queues a subscriber that wants to read the log; the flush serves it within its slice. */
  enqueue(subscriber: Subscriber): void;
  /** It has its connection. */
  attached(subscriber: Subscriber): void;
  /** It is gone. Its connection ended with `reason`; without one it never had any. */
  remove(subscriber: Subscriber, reason?: DisconnectReason): void;
  /** Lets it ride in another lane from now on, which is its home then. */
  move(subscriber: Subscriber, lane: Lane): SubscriberHome;
}

/** How a quiet connection is kept alive; see docs/protocol.md, 6.7. */
export const HEARTBEAT_MODES = ["comment", "event", "ack"] as const;
export type HeartbeatMode = (typeof HEARTBEAT_MODES)[number];

export interface SubscriberOptions {
  readonly selection: Selection;
  readonly form: WireForm;
  /** @defaultValue "comment" */
  readonly heartbeat?: HeartbeatMode;
  /**
   * Its client can come back with its place. One that cannot has no maximum age, and a drain says nothing
   * to it before the deadline. @defaultValue true
   */
  readonly isResumable?: boolean;
  /** Called once, when it is gone: its connection has ended, or it was abandoned without one. */
  readonly onGone?: () => void;
}

/** How a connection is greeted. */
export interface Greeting {
  /** Reconnect delay to tell the client, in milliseconds, jittered by the caller. */
  readonly retryMs: number;
  /** Adds `event: hello`, for clients that cannot read response headers. */
  readonly hasHello: boolean;
}

/** One client's reading state. It survives neither its connection nor the process: the cursor does. */
export class Subscriber implements ConnectionOwner, Waiter {
  // What a delivery touches comes first and together: with thousands of subscribers each line of
  // memory is a cache miss. For the same reason times are whole milliseconds, which need no box.
  state: SubscriberState = "reading";
  /** Everything of its topics up to here was delivered. While live, `settledTo` may be further. */
  cursor = 0;
  /** The flush's marks: the window and group that it was last sorted into. */
  turn = 0;
  group: Group | undefined = undefined;
  readonly form: WireForm;
  #connection: Connection | undefined;
  #home: SubscriberHome;
  /** When bytes were last written, in whole monotonic milliseconds. */
  wroteAt: number;
  /** The last id that the client was sent, and when. */
  idSent = 0;
  idSentAt: number;
  /** What was appended up to here before it rode in its lane was not kept for it there: it reads that. */
  joinedTo = 0;

  /** Events written to it. */
  events = 0;
  readonly selection: Selection;
  readonly heartbeat: HeartbeatMode;
  readonly isResumable: boolean;
  readonly #onGone: (() => void) | undefined;
  /** When its connection was attached, in whole monotonic milliseconds. */
  openedAt: number;
  /** An ACK of the client is awaited: of a goodbye, or of a heartbeat that it promised to acknowledge. */
  isAckAwaited = false;
  /** The client has acknowledged the goodbye. */
  hasAcked = false;
  /** Why goodbye was said, once it was. */
  farewell: DisconnectReason | undefined = undefined;
  /** The last frame was written, or the connection taken away: nothing more is asked of it. */
  #isEnding = false;
  /** Reconnect delay that this client was told at the start, in milliseconds. */
  retryMs = 0;
  /** Since when `isAckAwaited`, of a heartbeat. */
  ackAwaitedSince = 0;
  /** Its spoke of the heartbeat's wheel, and how old its connection becomes, in milliseconds; the wheel's to set. */
  phase = 0;
  ageMsMax = Infinity;
  /** Where its pending bytes are counted; the wheel's to set. The three below are the account's. */
  pending: PendingBytes | undefined = undefined;
  pendingSeen = 0;
  waitsSinceLook = 0;
  stalledSince = 0;
  #isWakeAsked = false;
  /** In the queue of those that want to read the log, or reading. */
  isQueued = false;
  /** Set when the place was lost as a whole: the next read starts at the oldest event, behind a gap. */
  lost: GapReason | undefined = undefined;
  /** Floors up to here were told as gaps, of all its topics and of single ones. */
  toldFloor = 0;
  toldFloors: Map<string, number> | undefined = undefined;
  /** It fell behind while live: of topics with the policy `drop-oldest` it gets what is left at the end. */
  skipsOldest = false;
  dropped: Dropped | undefined = undefined;
  skippedReads = 0;

  constructor(home: SubscriberHome, options: SubscriberOptions) {
    this.#home = home;
    this.selection = options.selection;
    this.form = options.form;
    this.heartbeat = options.heartbeat ?? "comment";
    this.isResumable = options.isResumable ?? true;
    this.#onGone = options.onGone;
    this.wroteAt = home.now();
    this.openedAt = this.wroteAt;
    this.idSentAt = this.wroteAt;
    home.metrics.add("sluice_subscribers", "reading");
  }

  /** The physical response that now carries it; undefined before `attach`. */
  get connection(): Connection | undefined {
    return this.#connection;
  }

  get tenant(): string {
    return this.#home.name;
  }

  /** How far it is behind its tenant's newest event, in sequence numbers; 0 when it has everything. */
  get lag(): number {
    return Math.max(0, this.#home.head - this.settledTo);
  }

  /** Where its next read of the log begins. */
  get from(): ReadFrom {
    return this.lost === undefined ? this.cursor : "earliest";
  }

  /**
   * How far it reads. Not beyond what was frozen, so that the next window begins exactly where it
   * stands; but what was appended before its routes existed is in no window.
   */
  get readTo(): number {
    return Math.max(this.#home.frozenTo, this.joinedTo);
  }

  /** The lane in which it rides: the lowest of its topics', as far as it is known. */
  get lane(): Lane {
    return this.#home.lane;
  }

  /** Everything of its topics up to here was delivered. */
  get settledTo(): number {
    return this.state === "live" ? Math.max(this.cursor, this.#home.settledTo) : this.cursor;
  }

  /** True while bytes of earlier writes have not left. */
  get isPending(): boolean {
    return this.#connection !== undefined && this.#connection.pendingBytes > 0;
  }

  /**
   * Takes the connection that was opened for it, and writes in one batch what belongs at the start:
   * `retry:`, then the gap if there is one, then the primer, then the first events of `result`. A cut
   * between any two of them loses nothing (law 9).
   */
  attach(connection: Connection, result: ReadResult, greeting: Greeting): void {
    assert(this.#connection === undefined, "a subscriber has one connection");
    this.#connection = connection;
    if (this.state !== "reading") return connection.end("hub_closed");
    this.openedAt = this.#home.now();
    this.retryMs = greeting.retryMs;
    this.#home.attached(this);
    if (result.epoch !== this.#home.epoch) {
      // The log became another one while the cursor was judged.
      this.#write(controlBatch(retryFrame(greeting.retryMs)), this.#home.now());
      return this.loseEpoch();
    }
    const { frames, publications } = this.#compose(result);
    const place = placeOf(result);
    const prelude = [retryFrame(greeting.retryMs), ...frames, primerFrame(result.epoch, place)];
    if (greeting.hasHello) {
      const topics = [...this.selection.names, ...this.selection.patterns.map(({ text }) => text)];
      // Behind the primer: the lastEventId that EventSource shows with it is then the place.
      prelude.push(helloFrame(connection.id, topics, this.form));
    }
    this.#write(batchOf(publications, this.form, prelude), this.#home.now());
    this.#sentId(place);
    this.#advance({ ...result, publications });
  }

  /** What a read of the log brought, while `reading`. Returns the bytes written. */
  onRead(read: SharedRead): number {
    // A heartbeat may have been written meanwhile, and not have left: nothing is written behind it.
    if (this.isPending) {
      this.#readOn();
      return 0;
    }
    const { result } = read;
    const { frames, publications } = this.#compose(result);
    // A gap is followed by the place from which delivery continues, here as at the start.
    const isGap = frames.length > 0;
    let bytes = 0;
    if (isGap || publications.length > 0) {
      const prelude = isGap ? [...frames, primerFrame(result.epoch, placeOf(result))] : [];
      const isWhole = publications === result.publications;
      const batch = isWhole
        ? read.batch(this.form, prelude)
        : batchOf(publications, this.form, prelude);
      this.#write(batch, this.#home.now());
      bytes = batch.frames.length;
    }
    if (isGap) this.#sentId(placeOf(result));
    this.#advance({ ...result, publications });
    return bytes;
  }

  /**
   * Hot: one batch of a window to one live subscriber. Returns the bytes written, 0 for none.
   * The batch is written if and only if `prev <= cursor < first`: this one test serves joins,
   * lagging, changes of topics and slices. Whoever fails it reads the log instead.
   */
  deliver(group: Group, from: number, now: number): number {
    if (this.cursor >= group.last) return 0;
    const connection = this.#connection as Connection;
    if (group.prev > this.cursor || this.cursor >= group.first) {
      this.fallBack(this.cursor);
      return 0;
    }
    if (connection.pendingBytes > 0) {
      this.fallBack(from);
      return 0;
    }
    const batch = group.batch(this.form);
    const { plain } = this.#home.metrics;
    plain.sluice_writes_total += 1;
    plain.sluice_deliveries_total += batch.count;
    plain.sluice_delivery_bytes_total += batch.frames.length;
    this.events += batch.count;
    this.cursor = group.last;
    this.idSent = group.last;
    this.idSentAt = now;
    this.wroteAt = now;
    if (connection.write(batch)) this.pending?.begin(this, now);
    // Whether all its topics have ended is for the log to say; this is rare.
    if (group.hasEnd && this.state === "live") this.fallBack(from);
    return batch.frames.length;
  }

  /** Leaves the windows and reads the log, from its cursor or from `settledTo`, up to which it has everything. */
  fallBack(settledTo: number): void {
    if (this.state !== "live") return;
    this.cursor = Math.max(this.cursor, settledTo);
    this.#move("reading");
    this.skipsOldest = this.isPending;
    this.skippedReads = 0;
    if (this.skipsOldest) this.#home.metrics.plain.sluice_lagged_total += 1;
    this.#readOn();
  }

  /** The log is another one; whatever the cursor said is void. */
  loseEpoch(): void {
    if (this.state !== "live" && this.state !== "reading") return;
    this.lost = "epoch";
    this.toldFloor = 0;
    this.toldFloors = undefined;
    this.skipsOldest = false;
    this.dropped = undefined;
    this.cursor = 0;
    this.joinedTo = 0;
    if (this.state === "live") this.#move("reading");
    this.#readOn();
  }

  /** Writes frames that are no log entries. Nothing is written behind bytes that have not left. */
  writeControl(batch: Batch, now: number): boolean {
    if (this.#connection === undefined || this.isPending) return false;
    if (this.state !== "live" && this.state !== "reading") return false;
    this.wroteAt = now;
    if (this.#connection.write(batch)) this.pending?.begin(this, now);
    return true;
  }

  /** Writes a heartbeat; false if bytes are pending. In the mode `ack` it awaits its acknowledgement then. */
  beat(batch: Batch, now: number): boolean {
    if (!this.writeControl(batch, now)) return false;
    if (this.heartbeat === "ack") {
      this.isAckAwaited = true;
      this.ackAwaitedSince = now;
    }
    return true;
  }

  /** The client has not acknowledged a heartbeat for `ms`, although it promised to. */
  hasMissedAck(now: number, ms: number): boolean {
    return this.isAckAwaited && this.state !== "draining" && now - this.ackAwaitedSince >= ms;
  }

  /** The process stood still for `ms`: no deadline of its client may be judged by that time. */
  postpone(ms: number, now: number): void {
    if (this.stalledSince !== 0) this.stalledSince = Math.min(now, this.stalledSince + ms);
    this.ackAwaitedSince = Math.min(now, this.ackAwaitedSince + ms);
    if (this.state === "draining") this.wroteAt = Math.min(now, this.wroteAt + ms);
    this.ageMsMax += ms;
  }

  /** Tells a quiet client how far it has come, so that it never ages into a false gap. */
  bookmark(now: number): void {
    const place = this.settledTo;
    if (this.state !== "live") return;
    if (!this.writeControl(controlBatch(primerFrame(this.#home.epoch, place)), now)) return;
    this.cursor = place;
    this.#sentId(place);
    this.#home.metrics.plain.sluice_bookmarks_total += 1;
  }

  /** It has everything, and all of it has left: nothing is cut if goodbye is said now. */
  get isIdle(): boolean {
    return this.state === "live" && !this.isPending && this.settledTo >= this.#home.frozenTo;
  }

  /**
   * Says why and when to come back, and leaves the response open for the client's ACK: nothing but
   * comments follows. `finish` ends it. False if it cannot be said now: bytes are pending, or it is
   * going already.
   */
  goodbye(reason: DisconnectReason, retryMs: number): boolean {
    const now = this.#home.now();
    if (!this.writeControl(controlBatch(retryFrame(retryMs), closeFrame(reason, this.form)), now))
      return false;
    this.farewell = reason;
    this.isAckAwaited = true;
    this.#move("draining");
    return true;
  }

  /** Ends the response cleanly, behind a goodbye that was said. */
  finish(): void {
    if (this.state !== "draining" || this.farewell === undefined || this.#isEnding) return;
    this.#isEnding = true;
    this.wroteAt = this.#home.now();
    this.#connection?.end(this.farewell);
    this.#waitForEnd();
  }

  /**
   * The client acknowledges the goodbye, or a heartbeat. False if nothing is to be acknowledged: an ACK
   * too early or a second one changes nothing.
   */
  ack(): boolean {
    if (!this.isAckAwaited) return false;
    this.isAckAwaited = false;
    if (this.state !== "draining") return true;
    this.hasAcked = true;
    this.finish();
    return true;
  }

  /** After goodbye: a comment, so that a client that has gone behind a proxy which hides it is noticed. */
  probe(batch: Batch): void {
    if (this.state !== "draining" || this.#isEnding || this.isPending) return;
    this.wroteAt = this.#home.now();
    if (this.#connection?.write(batch) === true) this.pending?.begin(this, this.wroteAt);
  }

  /**
   * Says why and ends the response. What was written before still leaves. Without a connection it is
   * just forgotten.
   */
  end(reason: DisconnectReason, retryMs?: number): void {
    if (this.state === "draining") return this.finish();
    if (this.state === "closed") return;
    const connection = this.#connection;
    if (connection === undefined) return this.abandon();
    this.#move("draining");
    this.#isEnding = true;
    this.wroteAt = this.#home.now();
    if (DISCONNECTS[reason].isAnnounced) {
      const frames = retryMs === undefined ? [] : [retryFrame(retryMs)];
      connection.end(reason, controlBatch(...frames, closeFrame(reason, this.form)));
    } else {
      connection.end(reason);
    }
    this.#waitForEnd();
  }

  /** Takes the connection away now, whatever is pending: the client is gone, stuck, or misbehaves. */
  evict(reason: DisconnectReason): void {
    if (this.state === "closed") return;
    const connection = this.#connection;
    if (connection === undefined) return this.abandon();
    if (this.state !== "draining") this.#move("draining");
    this.#isEnding = true;
    this.pending?.settle(this);
    connection.abort(reason);
  }

  /** Forgets a subscriber that never had a connection. */
  abandon(): void {
    if (this.state === "closed") return;
    this.#move("closed");
    this.#home.remove(this);
    this.#onGone?.();
  }

  onDrained(): void {
    this.#isWakeAsked = false;
    this.pending?.settle(this);
    if (this.state === "reading") this.#home.enqueue(this);
  }

  onClosed(reason: DisconnectReason): void {
    if (this.state === "closed") return;
    this.#move("closed");
    this.isAckAwaited = false;
    this.pending?.settle(this);
    this.group = undefined;
    // Whoever goes after goodbye was said goes because of it.
    const why = this.farewell !== undefined && !isEviction(reason) ? this.farewell : reason;
    this.#home.metrics.add("sluice_disconnects_total", why);
    if (isEviction(why)) this.#home.metrics.add("sluice_evicted_total", why);
    this.#home.remove(this, why);
    this.#onGone?.();
  }

  #compose(result: ReadResult): ComposedRead {
    const composed = composeRead(this, result, this.readTo);
    for (const { reason } of composed.gaps) this.#home.metrics.add("sluice_gaps_total", reason);
    return composed;
  }

  #advance(result: ReadResult): void {
    // The place may lie beyond what was frozen: what a window still holds below it was told as a gap.
    this.cursor = Math.max(result.through, placeOf(result));
    const last = result.publications.at(-1);
    if (last !== undefined) this.#sentId(last.seq);
    if (result.lane !== this.lane && this.state === "reading") {
      this.#home = this.#home.move(this, result.lane);
    }
    if (result.endedAt !== undefined && this.cursor >= result.endedAt) this.end("topic_ended");
    else if (this.cursor >= this.readTo && this.state === "reading") {
      this.toldFloors = undefined;
      this.#move("live");
    } else this.#readOn();
  }

  #readOn(): void {
    if (this.state !== "reading" || this.#connection === undefined) return;
    if (!this.isPending) return this.#home.enqueue(this);
    if (this.#isWakeAsked) return;
    this.#isWakeAsked = true;
    this.#connection.wakeWhenDrained();
  }

  /** Whoever does not take the last frames either is found by the stall deadline. */
  #waitForEnd(): void {
    if (this.state === "draining" && this.pendingSeen === 0)
      this.pending?.begin(this, this.wroteAt);
  }

  #sentId(seq: number): void {
    this.idSent = seq;
    this.idSentAt = this.#home.now();
  }

  #write(batch: Batch, now: number): void {
    const { plain } = this.#home.metrics;
    plain.sluice_writes_total += 1;
    plain.sluice_deliveries_total += batch.count;
    plain.sluice_delivery_bytes_total += batch.frames.length;
    this.events += batch.count;
    this.wroteAt = now;
    if (this.#connection?.write(batch) === true) this.pending?.begin(this, now);
  }

  #move(to: SubscriberState): void {
    assert(MOVES[this.state].includes(to), `no move from ${this.state} to ${to}`);
    this.#home.metrics.add("sluice_subscribers", this.state, -1);
    // While live the cursor is that of its own topics; how far it came must still be known afterwards.
    if (this.state === "live" && to !== "reading") this.cursor = this.settledTo;
    this.state = to;
    if (to !== "closed") this.#home.metrics.add("sluice_subscribers", to);
  }
}

/** The place from which delivery continues, never the head while a replay is pending. */
function placeOf(result: ReadResult): number {
  return Math.max(result.after, result.floorMin);
}
