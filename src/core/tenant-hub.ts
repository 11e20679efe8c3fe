import { assert } from "../internal/assert.ts";
import type { Runtime } from "../internal/clock.ts";
import { Ring } from "../internal/ring.ts";
import { BATCH_BYTES_MAX } from "./batch.ts";
import type { Attachment, Broker, Tail } from "./broker.ts";
import type { DisconnectReason } from "./disconnect.ts";
import type { Heartbeat } from "./heartbeat.ts";
import type { Metrics } from "./metrics.ts";
import type { Publication } from "./publication.ts";
import { ReadQueue } from "./read-queue.ts";
import { Routes } from "./routes.ts";
import type { Route } from "./routes.ts";
import type { Slice } from "./slice.ts";
import type { Subscriber, SubscriberHome } from "./subscriber.ts";
import { Window } from "./window.ts";

/**
 * Publications that wait for a window, in bytes of frames, at most. Beyond it appending outruns the
 * flush: the wait is given up and the subscribers read the log, which is the queue that is bounded.
 */
export const PENDING_BYTES_MAX = 8 * 1024 * 1024;

export interface TenantHubOptions {
  readonly name: string;
  readonly broker: Broker;
  readonly runtime: Runtime;
  readonly metrics: Metrics;
  readonly heartbeat: Heartbeat;
  /** Asks the flush for a turn. */
  schedule(tenant: TenantHub): void;
  /** A subscriber has its connection. */
  onAttached(subscriber: Subscriber): void;
  /** A connection has ended. */
  onEnded(subscriber: Subscriber, reason: DisconnectReason): void;
}

/** One tenant's part of the hub: who follows what, the window being served, and who reads the log. */
export class TenantHub implements Tail, SubscriberHome {
  readonly name: string;
  readonly metrics: Metrics;
  readonly subscribers = new Set<Subscriber>();
  epoch = "";
  frozenTo = 0;
  /** Bytes that it may still write in its turn; the flush scheduler keeps it. */
  allowance = 0;

  readonly #options: TenantHubOptions;
  readonly #routes = new Routes();
  readonly #reads: ReadQueue;
  /** Appended, not yet in a window. */
  #pending = new Ring<Publication>();
  #pendingBytes = 0;
  #seenTo = 0;
  #window: Window | undefined;
  #turns = 0;
  /** A window has outlasted a slice since somebody was last let read. */
  #isReadDue = false;
  #attachment: Attachment | undefined;

  constructor(options: TenantHubOptions) {
    this.name = options.name;
    this.metrics = options.metrics;
    this.#options = options;
    this.#reads = new ReadQueue({
      broker: options.broker,
      runtime: options.runtime,
      tenant: this,
      onReady: () => options.schedule(this),
    });
  }

  get settledTo(): number {
    return this.#window?.from ?? this.frozenTo;
  }

  get isAttached(): boolean {
    return this.#attachment !== undefined;
  }

  get routesNow(): number {
    return this.#routes.followedNow;
  }

  now(): number {
    return Math.floor(this.#options.runtime.now());
  }

  async attach(): Promise<void> {
    const attachment = await this.#options.broker.attach(this.name, this);
    this.#attachment = attachment;
    if (this.epoch === "") this.#begin(attachment.epoch, attachment.head);
  }

  detach(): void {
    assert(this.subscribers.size === 0, "a tenant with subscribers stays attached");
    this.#attachment?.detach();
    this.#window?.close();
    this.#window = undefined;
    this.#pending = new Ring();
  }

  add(subscriber: Subscriber): void {
    this.subscribers.add(subscriber);
    this.#routes.add(subscriber);
    this.#options.heartbeat.add(subscriber);
  }

  attached(subscriber: Subscriber): void {
    this.#options.onAttached(subscriber);
  }

  remove(subscriber: Subscriber, reason?: DisconnectReason): void {
    this.subscribers.delete(subscriber);
    this.#routes.remove(subscriber);
    this.#options.heartbeat.remove(subscriber);
    if (reason !== undefined) this.#options.onEnded(subscriber, reason);
  }

  enqueue(subscriber: Subscriber): void {
    this.#reads.enqueue(subscriber);
  }

  onAppended(publication: Publication): void {
    if (publication.seq <= this.#seenTo) return;
    this.#seenTo = publication.seq;
    // Before `attach` has resolved nobody follows anything here; whoever comes reads the log.
    if (this.epoch === "") return;
    this.#pending.push(publication);
    this.#pendingBytes += publication.bytes;
    if (this.#pendingBytes > PENDING_BYTES_MAX) this.#overflow();
    this.#options.schedule(this);
  }

  onEpoch(epoch: string, head: number): void {
    this.metrics.plain.sluice_epoch_changes_total += 1;
    this.#window?.close();
    this.#window = undefined;
    this.#pending = new Ring();
    this.#pendingBytes = 0;
    this.#seenTo = 0;
    this.#begin(epoch, head);
    for (const subscriber of this.subscribers) subscriber.loseEpoch();
  }

  /**
   * Serves the windows, then those who read the log, until nothing is left (true), or until the slice
   * or the allowance is spent (false).
   *
   * Readers come when everything is frozen, so that what they get reaches up to the last window and
   * they are live before the next one: served between two windows they would always be one behind,
   * for as long as something is appended in every turn. Where a window outlasts a slice they come
   * after it, or live delivery could starve them.
   */
  flush(slice: Slice): boolean {
    const spend = (bytes: number): boolean => {
      this.allowance -= bytes;
      return this.allowance <= 0;
    };
    for (;;) {
      if (this.#window !== undefined) {
        if (!this.#window.serve(slice, spend)) {
          this.#isReadDue = true;
          return false;
        }
        this.#window.close();
        this.#window = undefined;
      }
      if (this.#pending.length === 0 || this.#isReadDue) {
        this.#isReadDue = false;
        const hasStarted = this.#reads.serve(slice, spend);
        if (this.#pending.length === 0) return !this.#reads.isReady;
        // What the broker has at hand is here before the next turn, and the window after it finds them live.
        if (hasStarted) slice.end();
      }
      if (slice.isSpent || this.allowance <= 0) return false;
      this.#freeze();
    }
  }

  #begin(epoch: string, head: number): void {
    this.epoch = epoch;
    this.#seenTo = Math.max(this.#seenTo, head);
    this.frozenTo = this.#seenTo;
  }

  /**
   * Takes what is pending into a window, but no more than one batch: whatever topics a subscriber
   * follows, what it is written at once is bounded. A further window costs little.
   */
  #freeze(): void {
    const from = this.frozenTo;
    const dirty: Route[] = [];
    let bytes = 0;
    for (let next = this.#pending.first(); next !== undefined; next = this.#pending.first()) {
      const route = this.#routes.find(next.topic);
      if (route !== undefined) {
        if (dirty.length > 0 && bytes + next.bytes > BATCH_BYTES_MAX) break;
        if (route.window.length === 0) dirty.push(route);
        route.window.push(next);
        bytes += next.bytes;
        route.lane = next.settings.lane;
      }
      this.#pending.shift();
      this.#pendingBytes -= next.bytes;
      this.frozenTo = next.seq;
    }
    this.#turns += 1;
    this.metrics.plain.sluice_flush_windows_total += 1;
    if (dirty.length > 0) this.#window = new Window(this.#turns, from, this.frozenTo, dirty);
  }

  #overflow(): void {
    this.metrics.plain.sluice_flush_overflows_total += 1;
    const settledTo = this.settledTo;
    this.#pending = new Ring();
    this.#pendingBytes = 0;
    this.frozenTo = this.#seenTo;
    for (const subscriber of this.subscribers) subscriber.fallBack(settledTo);
  }
}
