import type { Batch } from "./batch.ts";
import { controlBatch } from "./batch.ts";
import { closeFrame, retryFrame } from "./control.ts";
import { DISCONNECTS, isEviction } from "./disconnect.ts";
import type { DisconnectReason } from "./disconnect.ts";
import type { Waiter } from "./pending.ts";
import { SubscriberRecord } from "./subscriber-record.ts";
import { assertMove } from "./subscriber-state.ts";
import type { SubscriberState } from "./subscriber-state.ts";

/** How a subscriber lives and ends: its states, what is written beside its events, goodbye, and each way to go. */
export abstract class Lifetime extends SubscriberRecord implements Waiter {
  /** It is gone: its lane and its tenant forget it. Without a reason it never had a connection. */
  protected abstract leave(reason?: DisconnectReason): void;

  /** Writes frames that are no log entries. Nothing is written behind bytes that have not left. */
  writeControl(batch: Batch, now: number): boolean {
    if (this.connection === undefined || this.isPending) return false;
    if (this.state !== "live" && this.state !== "reading") return false;
    this.wroteAt = now;
    if (this.connection.write(batch)) this.pending?.begin(this, now);
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

  /** It has everything, and all of it has left: nothing is cut if goodbye is said now. */
  get isIdle(): boolean {
    return this.state === "live" && !this.isPending && this.settledTo >= this.home.frozenTo;
  }

  /**
   * Says why and when to come back, and leaves the response open for the client's ACK: nothing but
   * comments follows. `finish` ends it. False if it cannot be said now: bytes are pending, or it is
   * going already.
   */
  goodbye(reason: DisconnectReason, retryMs: number): boolean {
    const now = this.home.now();
    if (!this.writeControl(controlBatch(retryFrame(retryMs), closeFrame(reason, this.form)), now))
      return false;
    this.farewell = reason;
    this.isAckAwaited = true;
    this.move("draining");
    return true;
  }

  /** Ends the response cleanly, behind a goodbye that was said. */
  finish(): void {
    if (this.state !== "draining" || this.farewell === undefined || this.isEnding) return;
    this.isEnding = true;
    this.wroteAt = this.home.now();
    this.connection?.end(this.farewell);
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
    if (this.state !== "draining" || this.isEnding || this.isPending) return;
    this.wroteAt = this.home.now();
    if (this.connection?.write(batch) === true) this.pending?.begin(this, this.wroteAt);
  }

  /**
   * Says why and ends the response. What was written before still leaves. Without a connection it is
   * just forgotten.
   */
  end(reason: DisconnectReason, retryMs?: number): void {
    if (this.state === "draining") return this.finish();
    if (this.state === "closed") return;
    const connection = this.connection;
    if (connection === undefined) return this.abandon();
    this.move("draining");
    this.isEnding = true;
    this.wroteAt = this.home.now();
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
    const connection = this.connection;
    if (connection === undefined) return this.abandon();
    if (this.state !== "draining") this.move("draining");
    this.isEnding = true;
    this.pending?.settle(this);
    connection.abort(reason);
  }

  /** Forgets a subscriber that never had a connection. */
  abandon(): void {
    if (this.state === "closed") return;
    this.move("closed");
    this.leave();
    this.onGone?.();
  }

  onClosed(reason: DisconnectReason): void {
    if (this.state === "closed") return;
    this.move("closed");
    this.isAckAwaited = false;
    this.pending?.settle(this);
    this.group = undefined;
    // Whoever goes after goodbye was said goes because of it.
    const why = this.farewell !== undefined && !isEviction(reason) ? this.farewell : reason;
    this.home.metrics.add("sluice_disconnects_total", why);
    if (isEviction(why)) this.home.metrics.add("sluice_evicted_total", why);
    this.leave(why);
    this.onGone?.();
  }

  /** Whoever does not take the last frames either is found by the stall deadline. */
  #waitForEnd(): void {
    if (this.state === "draining" && this.pendingSeen === 0)
      this.pending?.begin(this, this.wroteAt);
  }

  protected write(batch: Batch, now: number): void {
    const { plain } = this.home.metrics;
    plain.sluice_writes_total += 1;
    plain.sluice_deliveries_total += batch.count;
    plain.sluice_delivery_bytes_total += batch.bytes;
    this.events += batch.count;
    this.wroteAt = now;
    if (this.connection?.write(batch) === true) this.pending?.begin(this, now);
  }

  protected move(to: SubscriberState): void {
    assertMove(this.state, to);
    this.home.metrics.add("sluice_subscribers", this.state, -1);
    // While live the cursor is that of its own topics; how far it came must still be known afterwards.
    if (this.state === "live" && to !== "reading") this.cursor = this.settledTo;
    this.state = to;
    if (to !== "closed") this.home.metrics.add("sluice_subscribers", to);
  }
}
