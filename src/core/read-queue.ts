import type { Runtime } from "../internal/clock.ts";
import { Ring } from "../internal/ring.ts";
import { BATCH_BYTES_MAX } from "./batch.ts";
import type { Broker, ReadFrom } from "./broker.ts";
import type { Metrics } from "./metrics.ts";
import { SharedRead, SharedReads } from "./shared-read.ts";
import type { Slice } from "./slice.ts";
import type { Subscriber } from "./subscriber.ts";

/** Readers of one lane whose reads are under way or wait to be written: what a lane may owe before the next window. */
const READERS_MAX = 64;
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

/** A reader whose read has come. */
interface Arrived {
  readonly subscriber: Subscriber;
  readonly read: SharedRead;
  /** Of the log in which the reader's place was asked for: in another the same number is another place. */
  readonly epoch: string;
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
  #readsNow = 0;
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
   * Starts reads until nobody is ready, too many are under way, or the slice is spent. Who stands where
   * somebody has read before needs none. True if it started any.
   */
  start(slice: Slice): boolean {
    let hasStarted = false;
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
        this.#read(subscriber, from, readTo);
        hasStarted = true;
        slice.spendRead();
      } else {
        this.#arrived.push({ subscriber, read, epoch: this.#options.tenant.epoch });
      }
    }
    return hasStarted;
  }

  /** Writes what reads have brought. False if the slice is spent or `spend`, told the bytes of each, says so. */
  write(slice: Slice, spend: (bytes: number) => boolean): boolean {
    for (;;) {
      if (this.#arrived.length === 0) {
        if (this.#ready.length === 0 && this.#readsNow === 0) this.#shared.clear();
        return true;
      }
      if (slice.isSpent) return false;
      const bytes = this.#write(this.#arrived.shift() as Arrived);
      slice.spendRead();
      if (spend(bytes)) return this.#arrived.length === 0;
    }
  }

  get #isReady(): boolean {
    return (
      this.#ready.length > 0 &&
      this.#readsNow + this.#arrived.length < READERS_MAX &&
      this.#options.runtime.now() >= this.#pausedUntil
    );
  }

  #queue(subscriber: Subscriber): void {
    if (subscriber.isQueued) return;
    subscriber.isQueued = true;
    this.#ready.push(subscriber);
  }

  #read(subscriber: Subscriber, from: ReadFrom, upTo: number): void {
    const { broker, tenant, metrics } = this.#options;
    const { selection } = subscriber;
    const { epoch } = tenant;
    this.#readsNow += 1;
    metrics.plain.sluice_log_reads_total += 1;
    broker.read({ tenant: tenant.name, selection, from, upTo, bytesMax: BATCH_BYTES_MAX }).then(
      (result) => {
        const read = new SharedRead(result);
        const isOfNow = result.epoch === epoch && epoch === tenant.epoch;
        if (typeof from === "number" && isOfNow) this.#shared.keep(selection, from, upTo, read);
        this.#readsNow -= 1;
        this.#failures = 0;
        this.#arrived.push({ subscriber, read, epoch });
        this.#options.onReady();
      },
      () => this.#onFailure(subscriber),
    );
  }

  #write({ subscriber, read, epoch }: Arrived): number {
    subscriber.isQueued = false;
    if (subscriber.state !== "reading") return 0;
    const { tenant } = this.#options;
    if (read.result.epoch !== tenant.epoch || epoch !== tenant.epoch) {
      // Of another incarnation than the hub knows: the tail brings the news, then it reads again.
      this.#shared.clear();
      this.#retry(subscriber);
      return 0;
    }
    return subscriber.onRead(read);
  }

  #onFailure(subscriber: Subscriber): void {
    this.#readsNow -= 1;
    subscriber.isQueued = false;
    this.#options.metrics.plain.sluice_log_read_errors_total += 1;
    if (subscriber.state === "reading") this.#retry(subscriber);
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
