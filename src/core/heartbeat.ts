import type { Runtime, Timer } from "../internal/clock.ts";
import { controlBatch } from "./batch.ts";
import { HEARTBEAT_EVENT_FRAME, HEARTBEAT_FRAME } from "./control.ts";
import type { Metrics } from "./metrics.ts";
import { PendingBytes } from "./pending.ts";
import type { Subscriber } from "./subscriber.ts";

export interface HeartbeatOptions {
  /** A connection that nothing was written to for so long gets a comment, in milliseconds. @defaultValue 20,000 */
  readonly heartbeatMs: number;
  /**
   * A connection on which nothing of what is pending leaves for so long is ended, in milliseconds.
   * Progress shows in pieces of 128 KiB. @defaultValue 25,000
   */
  readonly stallMs: number;
  /** A caught-up connection whose last id is so many events old gets the primer again. @defaultValue 1,000 */
  readonly bookmarkEvents: number;
  /** The same by age, in milliseconds. @defaultValue 60,000 */
  readonly bookmarkMs: number;
  /**
   * Bytes that wait in this process for slow connections, all together. Above it those that have
   * waited longest are ended. @defaultValue 256 MiB
   */
  readonly pendingBytesMax: number;
  /** A connection is told to reconnect after so long, in milliseconds; 0 is never. @defaultValue 720,000 */
  readonly maxAgeMs: number;
  /** Its maximum age is longer or shorter by up to this share of it, 0 to 0.9. @defaultValue 0.2 */
  readonly maxAgeJitter: number;
}

export const HEARTBEAT_DEFAULTS: HeartbeatOptions = {
  heartbeatMs: 20_000,
  stallMs: 25_000,
  bookmarkEvents: 1_000,
  bookmarkMs: 60_000,
  pendingBytesMax: 256 * 1024 * 1024,
  maxAgeMs: 12 * 60_000,
  maxAgeJitter: 0.2,
};

/** Spokes of the wheel: how finely the phases are spread over a round. */
const SPOKES = 20;
/**
 * Time between two visits, in intervals. Who was idle for half an interval gets a heartbeat; who was
 * so for just less waits for the next visit, which must not come later than a whole interval after.
 * A half would be exact; what is missing to it is room for timers that come late.
 */
const ROUND = 0.45;
/** A timer that comes later than so many ticks says that this process stood still, not its clients. */
const LATE_TICKS_MAX = 2;
/** Share of the maximum age over which those are spread that were due while rotation paused, at least. */
const SPREAD_MIN = 0.1;
/** One frame of each kind for all connections. */
const COMMENT = controlBatch(HEARTBEAT_FRAME);
const EVENT = controlBatch(HEARTBEAT_EVENT_FRAME);

/**
 * Visits every subscriber a little more than twice an interval, at a phase of its own, on one timer for all of them: a
 * wheel of twenty spokes. What is due is looked up when the spoke comes, so that a write to a
 * connection never has to move a timer. No connection is idle for longer than one interval. Whoever
 * has bytes pending is looked at on every tick, so that a stalled one is found within a tick of its deadline.
 *
 * All times are monotonic, and none of our own counts against a client: if the timer comes late, the
 * process was stopped or busy, and all deadlines move by as much (P04, P05).
 */
export class Heartbeat {
  readonly pending: PendingBytes;
  readonly #options: HeartbeatOptions;
  readonly #tickMs: number;
  readonly #runtime: Runtime;
  readonly #metrics: Metrics;
  readonly #isRotationPaused: () => boolean;
  readonly #spokes: readonly Set<Subscriber>[];
  #ticks = 0;
  #dueAt = 0;
  #timer: Timer;

  constructor(
    options: HeartbeatOptions,
    runtime: Runtime,
    metrics: Metrics,
    isRotationPaused: () => boolean = () => false,
  ) {
    this.#options = options;
    this.#tickMs = (options.heartbeatMs * ROUND) / SPOKES;
    this.#runtime = runtime;
    this.#metrics = metrics;
    this.#isRotationPaused = isRotationPaused;
    this.pending = new PendingBytes(options, runtime, metrics);
    this.#spokes = Array.from({ length: SPOKES }, () => new Set<Subscriber>());
    this.#timer = this.#tickLater();
  }

  add(subscriber: Subscriber): void {
    const { maxAgeMs, maxAgeJitter } = this.#options;
    subscriber.phase = Math.floor(this.#runtime.random() * SPOKES);
    const jitter = (2 * this.#runtime.random() - 1) * maxAgeJitter;
    if (maxAgeMs > 0 && subscriber.isResumable) subscriber.ageMsMax = maxAgeMs * (1 + jitter);
    subscriber.pending = this.pending;
    this.#spokes[subscriber.phase]?.add(subscriber);
  }

  remove(subscriber: Subscriber): void {
    this.#spokes[subscriber.phase]?.delete(subscriber);
  }

  close(): void {
    this.#timer.cancel();
  }

  #tickLater(): Timer {
    this.#dueAt = this.#runtime.now() + this.#tickMs;
    return this.#runtime.after(this.#tickMs, () => {
      const now = Math.floor(this.#runtime.now());
      const lateMs = now - this.#dueAt;
      this.#timer = this.#tickLater();
      if (lateMs > LATE_TICKS_MAX * this.#tickMs) this.#postpone(Math.floor(lateMs), now);
      this.pending.visit(now);
      for (const subscriber of this.#spokes[this.#ticks % SPOKES] ?? []) {
        this.#visit(subscriber, now);
      }
      this.#ticks += 1;
    });
  }

  #postpone(ms: number, now: number): void {
    for (const spoke of this.#spokes) for (const subscriber of spoke) subscriber.postpone(ms, now);
  }

  #visit(subscriber: Subscriber, now: number): void {
    const { heartbeatMs, stallMs } = this.#options;
    if (subscriber.state === "draining") {
      // All has left, and nobody has ended it: no deadline of anybody else's has come.
      const isStuck = subscriber.pendingSeen === 0 && now - subscriber.wroteAt >= stallMs;
      return isStuck ? subscriber.evict("slow_consumer") : undefined;
    }
    if (subscriber.hasMissedAck(now, heartbeatMs / 2)) return subscriber.evict("ack_missed");
    if (this.#rotate(subscriber, now)) return;
    if (this.#isBookmarkDue(subscriber, now)) subscriber.bookmark(now);
    // A heartbeat of the visit before is a round old, which is less: it does not count as idle yet.
    if (now - subscriber.wroteAt < heartbeatMs / 2) return;
    const batch = subscriber.heartbeat === "comment" ? COMMENT : EVENT;
    if (subscriber.beat(batch, now)) this.#metrics.plain.sluice_heartbeats_total += 1;
  }

  /**
   * Tells a connection that is old enough to reconnect, and ends it; true if it did. Nothing is cut: one
   * that is behind waits for a visit that finds it idle.
   */
  #rotate(subscriber: Subscriber, now: number): boolean {
    const { connection, openedAt, ageMsMax, retryMs } = subscriber;
    if (connection === undefined || connection.isLocal || now - openedAt < ageMsMax) return false;
    if (this.#isRotationPaused()) {
      // Those that have come due by the end of the pause must not all go at once.
      const { maxAgeMs, maxAgeJitter } = this.#options;
      const spreadMs = maxAgeMs * Math.max(maxAgeJitter, SPREAD_MIN);
      subscriber.ageMsMax = now - openedAt + this.#runtime.random() * spreadMs;
      return false;
    }
    if (!subscriber.isIdle) return false;
    subscriber.end("max_age", retryMs * (0.5 + this.#runtime.random()));
    return true;
  }

  #isBookmarkDue(subscriber: Subscriber, now: number): boolean {
    const behind = subscriber.settledTo - subscriber.idSent;
    if (subscriber.state !== "live" || behind <= 0) return false;
    const { bookmarkEvents, bookmarkMs } = this.#options;
    return behind >= bookmarkEvents || now - subscriber.idSentAt >= bookmarkMs;
  }
}
