import type { Runtime, Timer } from "../internal/clock.ts";
import { controlBatch } from "./batch.ts";
import { HEARTBEAT_FRAME } from "./control.ts";
import type { Metrics } from "./metrics.ts";
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
const HEARTBEAT = controlBatch(HEARTBEAT_FRAME);

/**
 * Visits every subscriber a little more than twice an interval, at a phase of its own, on one timer for all of them: a
 * wheel of twenty spokes. What is due is looked up when the spoke comes, so that a write to a
 * connection never has to move a timer. No connection is idle for longer than one interval.
 */
export class Heartbeat {
  readonly #options: HeartbeatOptions;
  readonly #tickMs: number;
  readonly #runtime: Runtime;
  readonly #metrics: Metrics;
  readonly #spokes: readonly Set<Subscriber>[];
  #ticks = 0;
  #timer: Timer;

  constructor(options: HeartbeatOptions, runtime: Runtime, metrics: Metrics) {
    this.#options = options;
    this.#tickMs = (options.heartbeatMs * ROUND) / SPOKES;
    this.#runtime = runtime;
    this.#metrics = metrics;
    this.#spokes = Array.from({ length: SPOKES }, () => new Set<Subscriber>());
    this.#timer = this.#tickLater();
  }

  add(subscriber: Subscriber): void {
    subscriber.phase = Math.floor(this.#runtime.random() * SPOKES);
    this.#spokes[subscriber.phase]?.add(subscriber);
  }

  remove(subscriber: Subscriber): void {
    this.#spokes[subscriber.phase]?.delete(subscriber);
  }

  close(): void {
    this.#timer.cancel();
  }

  #tickLater(): Timer {
    return this.#runtime.after(this.#tickMs, () => {
      this.#timer = this.#tickLater();
      const now = Math.floor(this.#runtime.now());
      for (const subscriber of this.#spokes[this.#ticks % SPOKES] ?? []) {
        this.#visit(subscriber, now);
      }
      this.#ticks += 1;
    });
  }

  #visit(subscriber: Subscriber, now: number): void {
    const { heartbeatMs, stallMs } = this.#options;
    if (subscriber.state === "draining") {
      if (now - subscriber.wroteAt >= stallMs) subscriber.evict("slow_consumer");
      return;
    }
    // A live subscriber with nothing new to write would never be found stuck: let it wait for its bytes.
    if (subscriber.isPending) subscriber.fallBack(subscriber.settledTo);
    if (subscriber.isStalled(now, stallMs)) return subscriber.evict("slow_consumer");
    if (this.#isBookmarkDue(subscriber, now)) subscriber.bookmark(now);
    // A heartbeat of the visit before is a round old, which is less: it does not count as idle yet.
    if (now - subscriber.wroteAt < heartbeatMs / 2) return;
    if (subscriber.writeControl(HEARTBEAT, now)) this.#metrics.plain.sluice_heartbeats_total += 1;
  }

  #isBookmarkDue(subscriber: Subscriber, now: number): boolean {
    const behind = subscriber.settledTo - subscriber.idSent;
    if (subscriber.state !== "live" || behind <= 0) return false;
    const { bookmarkEvents, bookmarkMs } = this.#options;
    return behind >= bookmarkEvents || now - subscriber.idSentAt >= bookmarkMs;
  }
}
