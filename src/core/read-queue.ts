import type { Runtime } from "../internal/clock.ts";
import { Ring } from "../internal/ring.ts";
import { BATCH_BYTES_MAX } from "./batch.ts";
import type { Broker, ReadResult } from "./broker.ts";
import type { Slice } from "./slice.ts";
import type { Metrics } from "./metrics.ts";
import type { Subscriber } from "./subscriber.ts";

/** Reads of one lane of a tenant under way at once: it bounds the memory of results, and 64 batches fill one turn. */
const READS_MAX = 64;
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

/**
 * The subscribers of one lane that replay or lag, in turn: one batch each, then the next. A read
 * may be late; while it is under way its subscriber waits and nobody else does.
 */
export class ReadQueue {
  readonly #options: ReadQueueOptions;
  readonly #ready = new Ring<Subscriber>();
  #readsNow = 0;
  #failures = 0;
  #pausedUntil = 0;

  constructor(options: ReadQueueOptions) {
    this.#options = options;
  }

  /** Somebody waits and may be served now. */
  get isReady(): boolean {
    return (
      this.#ready.length > 0 &&
      this.#readsNow < READS_MAX &&
      this.#options.runtime.now() >= this.#pausedUntil
    );
  }

  enqueue(subscriber: Subscriber): void {
    this.#queue(subscriber);
    if (this.isReady) this.#options.onReady();
  }

  /**
   * Starts reads until nobody is ready, too many are under way, or the slice or allowance is spent.
   * True if it started any.
   */
  serve(slice: Slice, spend: (bytes: number) => boolean): boolean {
    let hasStarted = false;
    while (this.isReady) {
      const subscriber = this.#ready.shift();
      if (subscriber === undefined) break;
      if (subscriber.state !== "reading") {
        subscriber.isQueued = false;
        continue;
      }
      this.#read(subscriber);
      hasStarted = true;
      slice.spendRead();
      // The result is written when it comes; it is paid for now, or a slice could start any number.
      if (spend(BATCH_BYTES_MAX) || slice.isSpent) break;
    }
    return hasStarted;
  }

  #queue(subscriber: Subscriber): void {
    if (subscriber.isQueued) return;
    subscriber.isQueued = true;
    this.#ready.push(subscriber);
  }

  #read(subscriber: Subscriber): void {
    const { broker, tenant, metrics } = this.#options;
    const { epoch } = tenant;
    this.#readsNow += 1;
    metrics.plain.sluice_log_reads_total += 1;
    broker
      .read({
        tenant: tenant.name,
        selection: subscriber.selection,
        from: subscriber.from,
        upTo: subscriber.readTo,
        bytesMax: BATCH_BYTES_MAX,
      })
      .then(
        (result) => this.#onRead(subscriber, result, epoch),
        () => this.#onFailure(subscriber),
      );
  }

  /** `epoch` is the one in which the reader's place was asked for: in another the same number is another place. */
  #onRead(subscriber: Subscriber, result: ReadResult, epoch: string): void {
    this.#readsNow -= 1;
    subscriber.isQueued = false;
    this.#failures = 0;
    if (subscriber.state === "reading") {
      // A result of another incarnation than the hub knows: the tail brings the news, then it reads again.
      const { tenant } = this.#options;
      if (result.epoch === tenant.epoch && epoch === tenant.epoch) subscriber.onRead(result);
      else this.#retry(subscriber);
    }
    if (this.isReady) this.#options.onReady();
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
      if (this.isReady) this.#options.onReady();
    });
  }
}
