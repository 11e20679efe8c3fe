import { assert } from "../internal/assert.ts";
import { batchOf, controlBatch } from "./batch.ts";
import type { ReadFrom, ReadResult } from "./broker.ts";
import type { Connection, ConnectionOwner } from "./connection.ts";
import { helloFrame, primerFrame, retryFrame } from "./control.ts";
import type { DisconnectReason } from "./disconnect.ts";
import type { Group } from "./group.ts";
import { Lifetime } from "./lifetime.ts";
import { composeRead } from "./replay.ts";
import type { ComposedRead } from "./replay.ts";
import type { SharedRead } from "./shared-read.ts";
import type { Lane } from "./settings.ts";
import type { Greeting, SubscriberOptions } from "./subscriber-options.ts";
import type { Ride } from "./subscriber-record.ts";

/** What a subscriber asks of the lane in which it rides. */
export interface SubscriberHome extends Ride {
  /** Queues a subscriber that wants to read the log; the flush serves it within its slice. */
  enqueue(subscriber: Subscriber): void;
  /** It has its connection. */
  attached(subscriber: Subscriber): void;
  /** It is gone. Its connection ended with `reason`; without one it never had any. */
  remove(subscriber: Subscriber, reason?: DisconnectReason): void;
  /** Lets it ride in another lane from now on, which is its home then. */
  move(subscriber: Subscriber, lane: Lane): SubscriberHome;
}

/**
 * One client's reading state: how it comes to have everything, and what it is written. It survives
 * neither its connection nor the process: the cursor does.
 */
export class Subscriber extends Lifetime implements ConnectionOwner {
  declare protected home: SubscriberHome;

  constructor(home: SubscriberHome, options: SubscriberOptions) {
    super(home, options);
    home.metrics.add("sluice_subscribers", "reading");
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
    return Math.max(this.home.frozenTo, this.joinedTo);
  }

  /**
   * Takes the connection that was opened for it, and writes in one batch what belongs at the start:
   * `retry:`, then the gap if there is one, then the primer, then the first events of `result`. A cut
   * between any two of them loses nothing (law 9).
   */
  attach(connection: Connection, result: ReadResult, greeting: Greeting): void {
    assert(this.connection === undefined, "a subscriber has one connection");
    this.connection = connection;
    if (this.state !== "reading") return connection.end("hub_closed");
    this.openedAt = this.home.now();
    this.retryMs = greeting.retryMs;
    this.home.attached(this);
    if (result.epoch !== this.home.epoch) {
      // The log became another one while the cursor was judged: the place comes behind the gap.
      const hello = this.#helloOf(connection, greeting);
      this.write(controlBatch(retryFrame(greeting.retryMs), ...hello), this.home.now());
      return this.loseEpoch();
    }
    const { frames, publications } = this.#compose(result);
    const place = placeOf(result);
    const prelude = [
      retryFrame(greeting.retryMs),
      ...frames,
      primerFrame(result.epoch, place),
      // Behind the primer: the lastEventId that EventSource shows with it is then the place.
      ...this.#helloOf(connection, greeting),
    ];
    this.write(batchOf(publications, this.form, prelude), this.home.now());
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
      this.write(batch, this.home.now());
      bytes = batch.bytes;
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
    const connection = this.connection as Connection;
    if (group.prev > this.cursor || this.cursor >= group.first) {
      this.fallBack(this.cursor);
      return 0;
    }
    if (connection.pendingBytes > 0) {
      this.fallBack(from);
      return 0;
    }
    const batch = group.batch(this.form);
    const { plain } = this.home.metrics;
    plain.sluice_writes_total += 1;
    plain.sluice_deliveries_total += batch.count;
    plain.sluice_delivery_bytes_total += batch.bytes;
    this.events += batch.count;
    this.cursor = group.last;
    this.idSent = group.last;
    this.idSentAt = now;
    this.wroteAt = now;
    if (connection.write(batch)) this.pending?.begin(this, now);
    // Whether all its topics have ended is for the log to say; this is rare.
    if (group.hasEnd && this.state === "live") this.fallBack(from);
    return batch.bytes;
  }

  /** Leaves the windows and reads the log, from its cursor or from `settledTo`, up to which it has everything. */
  fallBack(settledTo: number): void {
    if (this.state !== "live") return;
    this.cursor = Math.max(this.cursor, settledTo);
    this.move("reading");
    this.skipsOldest = this.isPending;
    this.skippedReads = 0;
    if (this.skipsOldest) this.home.metrics.plain.sluice_lagged_total += 1;
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
    if (this.state === "live") this.move("reading");
    this.#readOn();
  }

  /** Tells a quiet client how far it has come, so that it never ages into a false gap. */
  bookmark(now: number): void {
    const place = this.settledTo;
    if (this.state !== "live") return;
    if (!this.writeControl(controlBatch(primerFrame(this.home.epoch, place)), now)) return;
    this.cursor = place;
    this.#sentId(place);
    this.home.metrics.plain.sluice_bookmarks_total += 1;
  }

  onDrained(): void {
    this.isWakeAsked = false;
    this.pending?.settle(this);
    if (this.state === "reading") this.home.enqueue(this);
  }

  protected leave(reason?: DisconnectReason): void {
    this.home.remove(this, reason);
  }

  #helloOf(connection: Connection, { hasHello }: Greeting): readonly Uint8Array[] {
    if (!hasHello) return [];
    const topics = [...this.selection.names, ...this.selection.patterns.map(({ text }) => text)];
    return [helloFrame(connection.id, topics, this.form)];
  }

  #compose(result: ReadResult): ComposedRead {
    const composed = composeRead(this, result, this.readTo);
    for (const { reason } of composed.gaps) this.home.metrics.add("sluice_gaps_total", reason);
    return composed;
  }

  #advance(result: ReadResult): void {
    // The place may lie beyond what was frozen: what a window still holds below it was told as a gap.
    this.cursor = Math.max(result.through, placeOf(result));
    const last = result.publications.at(-1);
    if (last !== undefined) this.#sentId(last.seq);
    if (result.lane !== this.lane && this.state === "reading") {
      this.home = this.home.move(this, result.lane);
    }
    if (result.endedAt !== undefined && this.cursor >= result.endedAt) this.end("topic_ended");
    else if (this.cursor >= this.readTo && this.state === "reading") {
      this.toldFloors = undefined;
      this.move("live");
    } else this.#readOn();
  }

  #readOn(): void {
    if (this.state !== "reading" || this.connection === undefined) return;
    if (!this.isPending) return this.home.enqueue(this);
    if (this.isWakeAsked) return;
    this.isWakeAsked = true;
    this.connection.wakeWhenDrained();
  }

  #sentId(seq: number): void {
    this.idSent = seq;
    this.idSentAt = this.home.now();
  }
}

/** The place from which delivery continues, never the head while a replay is pending. */
function placeOf(result: ReadResult): number {
  return Math.max(result.after, result.floorMin);
}
