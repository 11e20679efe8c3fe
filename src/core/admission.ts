import type { Runtime, Timer } from "../internal/clock.ts";
import { Breaker } from "./breaker.ts";
import type { BreakerListener, Hysteresis, Trigger } from "./breaker.ts";
import type { Metrics } from "./metrics.ts";
import { TokenBucket } from "./token-bucket.ts";
import type { TokenBucketOptions } from "./token-bucket.ts";

export interface AdmissionOptions extends TokenBucketOptions {
  /** New subscriptions are refused once more than this share of the capacity is used, in %. @defaultValue 90 */
  readonly openPercent: number;
  /** They are admitted again below this share, in %; never above `openPercent`. @defaultValue 85 */
  readonly closePercent: number;
  /** They are refused while the event loop is later than this, in milliseconds, until it is half of it. @defaultValue 1,000 */
  readonly loopDelayMs: number;
  /** They are refused while more memory is resident, in bytes, until it is 95 % of it; 0 is never. @defaultValue 0 */
  readonly residentBytesMax: number;
  /** Subscriptions opened in one second; further ones wait in order. @defaultValue 2,500 */
  readonly perSecond: number;
  /** Subscriptions opened at once after a quiet time. @defaultValue 500 */
  readonly burst: number;
  /** A subscription waits for its turn so long at most, in milliseconds. @defaultValue 5,000 */
  readonly waitMs: number;
  /** Subscriptions that wait for their turn at most. @defaultValue 12,500 */
  readonly waitingMax: number;
}

export const ADMISSION_DEFAULTS: AdmissionOptions = {
  openPercent: 90,
  closePercent: 85,
  loopDelayMs: 1_000,
  residentBytesMax: 0,
  perSecond: 2_500,
  burst: 500,
  waitMs: 5_000,
  waitingMax: 12_500,
};

/** Why a subscription or a connection was not let in: a trigger of the breaker, or one of these. */
export type RefusalReason = Trigger | "rate" | "draining" | "per_ip" | "upstream";
export type Outcome = "admitted" | RefusalReason;

/** What was seen of the process; see `observe`. */
export interface LoadSample {
  /** The longest delay of the event loop since the last sample, in milliseconds. */
  readonly loopDelayMs: number;
  /** Resident memory that is in use. */
  readonly residentBytes: number;
}

/** Resident memory falls slowly: a wider gap would hold the breaker open long after the load has gone. */
const RESIDENT_CLOSE = 0.95;
const LOOP_DELAY_CLOSE = 0.5;
/** Between two looks at those who wait, in milliseconds: a timer for each token would be all the work. */
const TURN_MS_MIN = 5;

interface Waiter {
  readonly settle: (outcome: Outcome) => void;
  readonly hasRoom: boolean;
}

/**
 * Decides whether a subscription is accepted: a breaker on capacity, event loop and memory, and a
 * token bucket that *delays* a storm of reconnecting clients in the order in which they came, on one
 * timer for all of them. Connections are what is counted, because descriptors are what runs out; the
 * socket of the subscription that asks is one of them already.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #runtime: Runtime;
  readonly #metrics: Metrics;
  readonly #breaker: Breaker;
  readonly #bucket: TokenBucket;
  readonly #waiting = new Set<Waiter>();
  #capacity: Hysteresis = { openAbove: 0, closeBelow: 0 };
  #connectionsMax = 0;
  #connectionsNow = 0;
  #isDraining = false;
  #timer: Timer | undefined;

  constructor(
    connectionsMax: number,
    options: Partial<AdmissionOptions>,
    runtime: Runtime,
    metrics: Metrics,
    onBreaker: BreakerListener = nothing,
  ) {
    this.#options = { ...ADMISSION_DEFAULTS, ...options };
    this.#runtime = runtime;
    this.#metrics = metrics;
    this.#breaker = new Breaker(metrics, onBreaker);
    this.#bucket = new TokenBucket(this.#options, runtime.now());
    this.resize(connectionsMax);
  }

  get connectionsMax(): number {
    return this.#connectionsMax;
  }

  get connectionsNow(): number {
    return this.#connectionsNow;
  }

  /** New subscriptions are refused. Whoever is in may stay, and is not told to come again. */
  get isOpen(): boolean {
    return this.refusal !== undefined;
  }

  /** Why a subscription would be refused now, whatever the rate; undefined if it would not be. */
  get refusal(): RefusalReason | undefined {
    return this.#refusal(false);
  }

  /** A connection that comes now has room: it has not opened the breaker, nor found it open for want of room. */
  get hasRoom(): boolean {
    return !this.#breaker.isOpenedBy("capacity");
  }

  /** The process is in trouble, not merely full: it should be sent nothing. */
  get isOverloaded(): boolean {
    return this.#breaker.isOpenedBy("loop_delay") || this.#breaker.isOpenedBy("memory");
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Connections that there may be now. Those that are there stay, also when they are more. */
  resize(connectionsMax: number): void {
    const { openPercent, closePercent } = this.#options;
    // One connection at least: of a capacity of 1, 90 % would be none.
    const openAbove = Math.max(1, Math.floor((connectionsMax * openPercent) / 100));
    const closeBelow = Math.min(openAbove, (connectionsMax * closePercent) / 100);
    this.#connectionsMax = connectionsMax;
    this.#metrics.plain.sluice_connections_max = connectionsMax;
    // Without any capacity not even the first is let in.
    this.#capacity = { openAbove: connectionsMax === 0 ? -1 : openAbove, closeBelow };
    this.#judgeCapacity();
  }

  connectionOpened(): void {
    this.#connectionsNow += 1;
    this.#metrics.plain.sluice_connections_opened_total += 1;
    this.#judgeCapacity();
  }

  connectionClosed(): void {
    this.#connectionsNow -= 1;
    this.#judgeCapacity();
  }

  /** What the process is like now. Nothing observed holds the breaker open: call it regularly, or `unobserved`. */
  observe({ loopDelayMs, residentBytes }: LoadSample): void {
    const { loopDelayMs: delayMax, residentBytesMax } = this.#options;
    this.#metrics.plain.sluice_loop_delay_seconds = loopDelayMs / 1_000;
    const closeBelow = delayMax * LOOP_DELAY_CLOSE;
    this.#breaker.judge("loop_delay", loopDelayMs, { openAbove: delayMax, closeBelow });
    if (residentBytesMax === 0) return;
    const bounds = { openAbove: residentBytesMax, closeBelow: residentBytesMax * RESIDENT_CLOSE };
    this.#breaker.judge("memory", residentBytes, bounds);
  }

  /** Nobody looks any longer: what was observed last says nothing. */
  unobserved(): void {
    this.#metrics.plain.sluice_loop_delay_seconds = 0;
    this.#breaker.release("loop_delay");
    this.#breaker.release("memory");
  }

  /** From now on everybody is refused with `draining`, those who wait at once. */
  drain(): void {
    this.#isDraining = true;
    for (const waiter of this.#waiting) this.#settle(waiter, "draining");
  }

  /**
   * Asks for one subscription. `settle` is called once: now, or when its turn has come, at most
   * `waitMs` later; whose turn cannot come in time is refused now. The returned function withdraws:
   * `settle` is not called any more.
   *
   * `hasRoom`: its connection came when there was room, and this is what it came for. A crowd that comes
   * at once is accepted before the first of it is heard; without this the last of it would take the room
   * of all: of 500 that came at once 4 were admitted where there was room for 144 (measured).
   */
  ask(settle: (outcome: Outcome) => void, hasRoom = false): () => void {
    const now = this.#runtime.now();
    const refusal = this.#refusal(hasRoom);
    if (refusal !== undefined) return this.#answer(settle, refusal);
    // Nobody overtakes those who wait.
    if (this.#waiting.size === 0 && this.#bucket.take(now)) return this.#answer(settle, "admitted");
    const { waitMs, waitingMax } = this.#options;
    const place = this.#waiting.size + 1;
    if (place > waitingMax || this.#bucket.waitMs(place, now) > waitMs) {
      return this.#answer(settle, "rate");
    }
    const waiter: Waiter = { settle, hasRoom };
    this.#waiting.add(waiter);
    this.#metrics.plain.sluice_admission_waiting = this.#waiting.size;
    this.#lookLater();
    return () => this.#leave(waiter);
  }

  /** Counts one that was refused elsewhere. */
  refused(reason: RefusalReason): void {
    this.#metrics.add("sluice_rejected_total", reason);
  }

  #refusal(hasRoom: boolean): RefusalReason | undefined {
    if (this.#isDraining) return "draining";
    return this.#breaker.openedBy(hasRoom ? "capacity" : undefined);
  }

  #judgeCapacity(): void {
    this.#metrics.plain.sluice_connections = this.#connectionsNow;
    this.#breaker.judge("capacity", this.#connectionsNow, this.#capacity);
  }

  #answer(settle: (outcome: Outcome) => void, outcome: Outcome): () => void {
    if (outcome === "admitted") this.#metrics.plain.sluice_admitted_total += 1;
    else this.refused(outcome);
    settle(outcome);
    return nothing;
  }

  #leave(waiter: Waiter): void {
    this.#waiting.delete(waiter);
    this.#metrics.plain.sluice_admission_waiting = this.#waiting.size;
    if (this.#waiting.size > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #settle(waiter: Waiter, outcome: Outcome): void {
    this.#leave(waiter);
    if (outcome === "admitted") this.#metrics.plain.sluice_admission_delayed_total += 1;
    this.#answer(waiter.settle, outcome);
  }

  #lookLater(): void {
    if (this.#timer !== undefined) return;
    const delayMs = Math.max(TURN_MS_MIN, Math.ceil(this.#bucket.waitMs(1, this.#runtime.now())));
    this.#timer = this.#runtime.after(delayMs, this.#look);
  }

  /** The turn of as many as there are tokens. Each is asked about again: what it waited for may have gone. */
  readonly #look = (): void => {
    this.#timer = undefined;
    const now = this.#runtime.now();
    for (const waiter of this.#waiting) {
      const refusal = this.#refusal(waiter.hasRoom);
      if (refusal !== undefined) this.#settle(waiter, refusal);
      else if (this.#bucket.take(now)) this.#settle(waiter, "admitted");
      else break;
    }
    if (this.#waiting.size > 0) this.#lookLater();
  };
}

function nothing(): void {}
