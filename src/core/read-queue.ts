import type { Runtime } from "../internal/clock.ts";
import { Ring } from "../internal/ring.ts";
import { BATCH_BYTES_MAX } from "./batch.ts";
import type { Broker, ReadFrom } from "./broker.ts";
import type { Metrics } from "./metrics.ts";
import { placeKey, SharedRead, SharedReads } from "./shared-read.ts";
import type { Slice } from "./slice.ts";
import type { Subscriber } from "./subscriber.ts";

/** Readers of one lane whose reads are under way or wait to be written: what a lane may owe before the next window. */
const READERS_MAX = 64;
/** Readers that drain one after the other find what the first of them has read; then its memory is given back. */
const KEPT_MS = 100;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 5_000;

/** The tenant whose subscribers these are. */
export interface ReadQueueTenant {
  readonly name: string;
  readonly epoch: string;
}

export interface ReadQueueOptions {
  readonly broker: Broker;
  readonly runtime: Runtime;
  readonly tenant: ReadQueueTenant;
  readonly metrics: Metrics;
  /** Somebody is ready again. */
  onReady(): void;
}

/** A reader whose read is under way. */
interface Waiting {
  readonly subscriber: Subscriber;
  /** Of the log in which the reader's place was asked for: in another the same number is another place. */
  readonly epoch: string;
}

/** A reader whose read has come. */
interface Arrived extends Waiting {
  readonly read: SharedRead;
}

/**
 * The subscribers of one lane that replay or lag, in turn: one batch each, then the next. A read
 * may be late; while it is under way its subscriber waits and nobody else does. What it brought is
 * written when the lane is served, like everything else, and paid for in bytes and in time.
 */
export class ReadQueue {
  readonly #options: ReadQueueOptions;
  readonly #ready = new Ring<Subscriber>();
  readonly #arrived = new Ring<Arrived>();
  readonly #shared = new SharedReads();
  /** Who waits for each read that is under way and that others may join. */
  readonly #underWay = new Map<string, Waiting[]>();
  #waitingNow = 0;
  #isClearDue = false;
  #failures = 0;
  #pausedUntil = 0;

  constructor(options: ReadQueueOptions) {
    this.#options = options;
  }

  /** Somebody may be written to or served now. */
  get hasWork(): boolean {
    return this.#arrived.length > 0 || this.#isReady;
  }

  get hasArrived(): boolean {
    return this.#arrived.length > 0;
  }

  enqueue(subscriber: Subscriber): void {
    this.#queue(subscriber);
    if (this.#isReady) this.#options.onReady();
  }

  /**
   * Starts reads until nobody is ready, too many wait for theirs, or the slice is spent. Who stands where
   * somebody has read before needs none, and who stands where somebody reads now waits for that. True if
   * anybody waits.
   */
  start(slice: Slice): boolean {
    let isWaiting = false;
    while (this.#isReady && !slice.isSpent) {
      const subscriber = this.#ready.shift();
      if (subscriber === undefined) break;
      if (subscriber.state !== "reading") {
        subscriber.isQueued = false;
        continue;
      }
      const { selection, from, readTo } = subscriber;
      const read =
        typeof from === "number" ? this.#shared.find(selection, from, readTo) : undefined;
      if (read === undefined) {
        isWaiting = true;
        if (this.#wait(subscriber, from, readTo)) slice.spendRead();
      } else {
        this.#arrived.push({ subscriber, read, epoch: this.#options.tenant.epoch });
      }
    }
    if (this.#isIdle) this.#clearLater();
    return isWaiting;
  }

  /** Writes what reads have brought. False if the slice is spent or `spend`, told the bytes of each, says so. */
  write(slice: Slice, spend: (bytes: number) => boolean): boolean {
    let isEnough = false;
    while (this.#arrived.length > 0 && !isEnough) {
      if (slice.isSpent) return false;
      const bytes = this.#write(this.#arrived.shift() as Arrived);
      slice.spendRead();
      isEnough = spend(bytes);
    }
    if (this.#arrived.length > 0) return false;
    if (this.#isIdle) this.#clearLater();
    return true;
  }

  /** What was read before now is nobody's who comes from now on: the log, or its lanes, may be others. */
  forget(): void {
    this.#shared.clear();
    this.#underWay.clear();
  }

  get #isIdle(): boolean {
    return this.#ready.length === 0 && this.#waitingNow === 0 && this.#arrived.length === 0;
  }

  get #isReady(): boolean {
    return (
      this.#ready.length > 0 &&
      this.#waitingNow + this.#arrived.length < READERS_MAX &&
      this.#options.runtime.now() >= this.#pausedUntil
    );
  }

  #clearLater(): void {
    if (this.#isClearDue || this.#shared.bytes === 0) return;
    this.#isClearDue = true;
    this.#options.runtime.after(KEPT_MS, () => {
      this.#isClearDue = false;
      // Whoever reads still says when it is idle.
      if (this.#isIdle) this.#shared.clear();
    });
  }

  #queue(subscriber: Subscriber): void {
    if (subscriber.isQueued) return;
    subscriber.isQueued = true;
    this.#ready.push(subscriber);
  }

  /** True if a read was started for it; false if it waits for one that was under way. */
  #wait(subscriber: Subscriber, from: ReadFrom, upTo: number): boolean {
    const { broker, tenant, metrics } = this.#options;
    const { selection } = subscriber;
    const waiting = { subscriber, epoch: tenant.epoch };
    this.#waitingNow += 1;
    const place =
      typeof from === "number" && selection.key !== undefined
        ? placeKey(selection.key, from, upTo)
        : undefined;
    const others = place === undefined ? undefined : this.#underWay.get(place);
    if (others !== undefined) {
      others.push(waiting);
      return false;
    }
    const all: Waiting[] = [waiting];
    if (place !== undefined) this.#underWay.set(place, all);
    metrics.plain.sluice_log_reads_total += 1;
    broker.read({ tenant: tenant.name, selection, from, upTo, bytesMax: BATCH_BYTES_MAX }).then(
      (result) => {
        // Once it was forgotten nobody else may have what it brings.
        const isOpen = this.#end(place, all);
        this.#failures = 0;
        const read = new SharedRead(result);
        const isOfNow = result.epoch === waiting.epoch && waiting.epoch === tenant.epoch;
        // It saw less than the tail had told before: asked again at once, it would be asked in every turn.
        const isBehind = result.head < upTo && result.publications.length === 0;
        if (isOfNow && isBehind) return this.#askLater(all);
        if (isOpen && isOfNow) this.#shared.keep(selection, result.after, upTo, read);
        for (const each of all) this.#arrived.push({ ...each, read });
        this.#options.onReady();
      },
      () => {
        this.#end(place, all);
        metrics.plain.sluice_log_read_errors_total += 1;
        this.#askLater(all);
      },
    );
    return true;
  }

  /** Nobody joins it any more. False if that was so already, or always. */
  #end(place: string | undefined, all: readonly Waiting[]): boolean {
    this.#waitingNow -= all.length;
    return place !== undefined && this.#underWay.get(place) === all && this.#underWay.delete(place);
  }

  #write({ subscriber, read, epoch }: Arrived): number {
    subscriber.isQueued = false;
    if (subscriber.state !== "reading") return 0;
    const { tenant } = this.#options;
    if (read.result.epoch !== tenant.epoch || epoch !== tenant.epoch) {
      // Of another incarnation than the hub knows: the tail brings the news, then it reads again.
      this.forget();
      this.#retry(subscriber);
      return 0;
    }
    return subscriber.onRead(read);
  }

  #askLater(all: readonly Waiting[]): void {
    for (const { subscriber } of all) {
      subscriber.isQueued = false;
      if (subscriber.state === "reading") this.#retry(subscriber);
    }
    // They may all have gone while they waited.
    if (this.#isIdle) this.#clearLater();
  }

  /** A broker's blip must not become a storm of reads: everybody pauses, with full jitter (law 15). */
  #retry(subscriber: Subscriber): void {
    const { runtime } = this.#options;
    this.#queue(subscriber);
    if (this.#pausedUntil > runtime.now()) return;
    const ceiling = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 10);
    const delayMs = 1 + runtime.random() * ceiling;
    this.#pausedUntil = runtime.now() + delayMs;
    runtime.after(delayMs, () => {
      this.#pausedUntil = 0;
      if (this.#isReady) this.#options.onReady();
    });
  }
}
