import type { Runtime, Timer } from "../internal/clock.ts";
import { controlBatch } from "./batch.ts";
import { HEARTBEAT_FRAME } from "./control.ts";
import type { Hub } from "./hub.ts";
import type { Subscriber } from "./subscriber.ts";

export interface DrainOptions {
  /** Between failing readiness and the first goodbye, for load balancers to notice, in milliseconds. @defaultValue 0 */
  readonly waitMs: number;
  /** Goodbyes in one second; more where all would not be told within half the time. @defaultValue 1,000 */
  readonly perSecond: number;
  /** A client has so long to acknowledge, in milliseconds; then its response ends all the same. @defaultValue 5,000 */
  readonly ackWaitMs: number;
  /** What is left so long after the start is closed, and counted, in milliseconds. @defaultValue 25,000 */
  readonly deadlineMs: number;
}

export const DRAIN_DEFAULTS: DrainOptions = {
  waitMs: 0,
  perSecond: 1_000,
  ackWaitMs: 5_000,
  deadlineMs: 25_000,
};

/** How connections end in a drain. */
export const DRAIN_HOWS = {
  ack: "the client acknowledged the goodbye",
  closed: "the client closed the connection itself, which acknowledges too",
  ack_timeout: "the client did neither in time; the response was ended cleanly",
  left: "it ended before goodbye was said to it",
  deadline: "it was still there at the deadline",
} as const;
export type DrainHow = keyof typeof DRAIN_HOWS;

export interface DrainProgress {
  readonly state: "serving" | "waiting" | "draining" | "drained";
  /** Connections that were there, or came while it ran. */
  readonly total: number;
  readonly left: number;
  /** Of those left: goodbye was said, the ACK is awaited. */
  readonly told: number;
  readonly byHow: Readonly<Record<DrainHow, number>>;
  /** Until the rest is closed, in milliseconds. */
  readonly deadlineInMs: number;
}

/** What became of every connection; the counts add up to `total`. */
export interface DrainReport {
  readonly total: number;
  readonly byHow: Readonly<Record<DrainHow, number>>;
  /** The deadline, or whoever ended the drain early, closed some. */
  readonly isForced: boolean;
  readonly durationMs: number;
}

/** What else a drain waits for: work that has no connection at the moment. */
export interface DrainHooks {
  /** How much of it is under way. */
  busyNow?(): number;
  /** Called once, shortly before the deadline: the work ends now, and says so to whoever reads it. */
  lastCall?(): void;
}

const REASON = "pool_draining";
/** Before the deadline, so that what is said then is delivered before the connections end. */
const LAST_CALL_MS = 300;
const TICK_MS = 20;
/** Goodbyes of one tick at most: 1,000 writes are about 5 ms. */
const TELL_MAX = 1_000;
/**
 * While an ACK is awaited, a comment this often: some proxies (HAProxy without abortonclose) tell of
 * a client that has gone only when something is written to it.
 */
const PROBE_MS = 500;
const PROBE = controlBatch(HEARTBEAT_FRAME);
/** What is told at the deadline has so long to leave, in milliseconds. */
const LEAVE_MS = 500;

/**
 * Says goodbye to every connection of a hub at a set pace, waits for their ACKs, and ends them. Idle
 * ones first: a connection that replays, lags or is being written to is told when it has everything,
 * so that nothing is cut before the deadline. One timer serves all; new subscriptions are for the
 * gateway to refuse, but one that slips in is told like the others.
 */
export class Drain {
  readonly #hub: Hub;
  readonly #runtime: Runtime;
  readonly #options: DrainOptions;
  readonly #report = Promise.withResolvers<DrainReport>();
  readonly #byHow: Record<DrainHow, number> = {
    ack: 0,
    closed: 0,
    ack_timeout: 0,
    left: 0,
    deadline: 0,
  };
  readonly #hooks: DrainHooks;
  readonly #untold = new Set<Subscriber>();
  /** They cannot come back with their place: they are left alone until they end, or the deadline. */
  readonly #staying = new Set<Subscriber>();
  #round = this.#untold.values();
  /** Until when their ACK is awaited. All wait equally long, so the order is that of the time. */
  readonly #told = new Map<Subscriber, number>();
  /** When each is probed next, in order. */
  readonly #probes = new Map<Subscriber, number>();
  /** Those that were ended from here, and have not gone yet. */
  readonly #ending = new Map<Subscriber, "ack_timeout" | "deadline">();
  #startedAt: number | undefined;
  #tellFrom = 0;
  #deadlineAt = 0;
  #abortAt = Number.POSITIVE_INFINITY;
  #tickedAt = 0;
  #allowance = 0;
  #isDrained = false;
  #hasCalled = false;
  /** Work was still under way at the last call. */
  #hasCutWork = false;
  #timer: Timer | undefined;
  #unlisten = (): void => {};

  constructor(
    hub: Hub,
    runtime: Runtime,
    options: Partial<DrainOptions> = {},
    hooks: DrainHooks = {},
  ) {
    this.#hub = hub;
    this.#hooks = hooks;
    this.#runtime = runtime;
    this.#options = { ...DRAIN_DEFAULTS, ...options };
  }

  /** From the call of `start` on, for ever. */
  get isDraining(): boolean {
    return this.#startedAt !== undefined;
  }

  /** No connection is left. */
  get isDrained(): boolean {
    return this.#isDrained;
  }

  get progress(): DrainProgress {
    const now = this.#runtime.now();
    const left = this.#hub.connectionsNow;
    return {
      state: this.#stateAt(now),
      total: this.#gone + left,
      left,
      told: this.#told.size,
      byHow: { ...this.#byHow },
      deadlineInMs: Math.max(0, Math.round(this.#deadlineAt - now)),
    };
  }

  /**
   * Resolves when no connection is left, `LEAVE_MS` after the deadline at the latest. Calling it again
   * starts nothing, and gives the same promise.
   */
  start(): Promise<DrainReport> {
    if (this.#startedAt !== undefined) return this.#report.promise;
    const now = this.#runtime.now();
    this.#startedAt = now;
    this.#tickedAt = now - TICK_MS;
    this.#deadlineAt = now + this.#options.deadlineMs;
    this.#tellFrom = now + this.#options.waitMs;
    this.#hub.metrics.plain.sluice_draining = 1;
    this.#unlisten = this.#hub.onConnectionEnd((subscriber) => this.#onEnd(subscriber));
    this.#tick();
    return this.#report.promise;
  }

  /** The deadline is now: what is left is told and ended at once. Starts the drain if need be. */
  endNow(): Promise<DrainReport> {
    const report = this.start();
    if (this.#isDrained) return report;
    const now = this.#runtime.now();
    this.#lastCall();
    // What the last call says leaves in the turns before the next tick.
    this.#deadlineAt = Math.min(this.#deadlineAt, this.#hasCutWork ? now + TICK_MS : now);
    this.#tellFrom = Math.min(this.#tellFrom, this.#deadlineAt);
    this.#tick();
    return report;
  }

  get #gone(): number {
    return Object.values(this.#byHow).reduce((sum, count) => sum + count, 0);
  }

  #stateAt(now: number): DrainProgress["state"] {
    if (this.#startedAt === undefined) return "serving";
    if (this.#isDrained) return "drained";
    return now < this.#tellFrom ? "waiting" : "draining";
  }

  #tick(): void {
    this.#timer?.cancel();
    const now = this.#runtime.now();
    this.#adopt();
    if (now >= this.#deadlineAt - LAST_CALL_MS) this.#lastCall();
    if (now >= this.#deadlineAt) {
      this.#force(now);
    } else if (now >= this.#tellFrom) {
      this.#tell(now);
      this.#giveUp(now);
      this.#probe(now);
    }
    this.#tickedAt = now;
    this.#settle();
    if (!this.#isDrained) this.#timer = this.#runtime.after(TICK_MS, () => this.#tick());
  }

  /** Whoever is not known yet: all at the start, later those whose subscription was under way. */
  #adopt(): void {
    const known = this.#untold.size + this.#staying.size + this.#told.size + this.#ending.size;
    if (known === this.#hub.connectionsNow) return;
    for (const subscriber of this.#hub.connections()) {
      if (this.#told.has(subscriber) || this.#ending.has(subscriber)) continue;
      (subscriber.isResumable ? this.#untold : this.#staying).add(subscriber);
    }
  }

  #lastCall(): void {
    if (this.#hasCalled) return;
    this.#hasCalled = true;
    this.#hasCutWork = this.#busyNow > 0;
    this.#hooks.lastCall?.();
  }

  get #busyNow(): number {
    return this.#hooks.busyNow?.() ?? 0;
  }

  #tell(now: number): void {
    const untold = this.#untold.size;
    const halfway = (this.#tellFrom + this.#deadlineAt) / 2;
    const needed = untold / Math.max(halfway - now, TICK_MS);
    const perMs = Math.max(this.#options.perSecond / 1_000, needed);
    // While nobody is idle the allowance must not grow into a burst.
    const most = Math.min(Math.max(1, perMs * TICK_MS * 4), TELL_MAX);
    this.#allowance = Math.min(this.#allowance + perMs * (now - this.#tickedAt), most);
    for (let visits = untold; visits > 0 && this.#allowance >= 1; visits -= 1) {
      const subscriber = this.#nextUntold();
      if (subscriber === undefined) return;
      if (!subscriber.isIdle || !subscriber.goodbye(REASON, this.#retryMs(subscriber))) continue;
      this.#allowance -= 1;
      this.#untold.delete(subscriber);
      this.#told.set(subscriber, now + this.#options.ackWaitMs);
      this.#probes.set(subscriber, now + PROBE_MS);
    }
  }

  /** In turn, so that those who are busy do not stand before the others at every tick. */
  #nextUntold(): Subscriber | undefined {
    const next = this.#round.next();
    if (next.done !== true) return next.value;
    this.#round = this.#untold.values();
    return this.#round.next().value;
  }

  #giveUp(now: number): void {
    for (const [subscriber, until] of this.#told) {
      if (until > now) return;
      this.#told.delete(subscriber);
      this.#probes.delete(subscriber);
      this.#ending.set(subscriber, "ack_timeout");
      // Whoever has acknowledged is ending already.
      if (!subscriber.hasAcked) subscriber.finish();
    }
  }

  #probe(now: number): void {
    for (const [subscriber, at] of this.#probes) {
      if (at > now) return;
      this.#probes.delete(subscriber);
      if (subscriber.hasAcked) continue;
      subscriber.probe(PROBE);
      this.#probes.set(subscriber, now + PROBE_MS);
    }
  }

  /** At the deadline the rest is told and ended; what cannot take even that is aborted soon after. */
  #force(now: number): void {
    const isFirst = this.#abortAt === Number.POSITIVE_INFINITY;
    if (isFirst) this.#abortAt = now + LEAVE_MS;
    const isLast = now >= this.#abortAt;
    if (!isFirst && !isLast && this.#untold.size + this.#staying.size === 0) return;
    for (const subscriber of this.#hub.connections()) {
      const isEnding = subscriber.hasAcked || this.#ending.has(subscriber);
      if (isEnding && !isLast) continue;
      this.#forget(subscriber);
      this.#ending.set(subscriber, "deadline");
      if (isLast) subscriber.evict(REASON);
      else subscriber.end(REASON, this.#retryMs(subscriber));
    }
  }

  #onEnd(subscriber: Subscriber): void {
    const how = this.#howOf(subscriber);
    this.#byHow[how] += 1;
    this.#hub.metrics.add("sluice_drain_closed_total", how);
    this.#forget(subscriber);
    this.#ending.delete(subscriber);
    this.#settle();
  }

  #forget(subscriber: Subscriber): void {
    this.#untold.delete(subscriber);
    this.#staying.delete(subscriber);
    this.#told.delete(subscriber);
    this.#probes.delete(subscriber);
  }

  #howOf(subscriber: Subscriber): DrainHow {
    const ending = this.#ending.get(subscriber);
    if (ending === "deadline") return "deadline";
    if (subscriber.farewell !== REASON) return "left";
    return subscriber.hasAcked ? "ack" : (ending ?? "closed");
  }

  #settle(): void {
    const now = this.#runtime.now();
    if (this.#isDrained || this.#hub.connectionsNow > 0 || now < this.#tellFrom) return;
    if (this.#busyNow > 0 && now < this.#abortAt) return;
    this.#isDrained = true;
    this.#timer?.cancel();
    this.#unlisten();
    this.#hub.metrics.plain.sluice_draining = 0;
    this.#report.resolve({
      total: this.#gone,
      byHow: { ...this.#byHow },
      isForced: this.#byHow.deadline > 0 || this.#hasCutWork,
      durationMs: Math.round(now - (this.#startedAt ?? now)),
    });
  }

  #retryMs(subscriber: Subscriber): number {
    return subscriber.retryMs * (0.5 + this.#runtime.random());
  }
}
