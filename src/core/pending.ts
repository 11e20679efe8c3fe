import type { Runtime } from "../internal/clock.ts";
import type { Connection } from "./connection.ts";
import type { DisconnectReason } from "./disconnect.ts";
import type { Metrics } from "./metrics.ts";

/** Whoever has bytes waiting in this process: the part of a subscriber that the account needs. */
export interface Waiter {
  readonly connection: Connection | undefined;
  /** Bytes that were pending when it was last looked at; 0 while it is not in the account. */
  pendingSeen: number;
  /** Since when nothing has left of them, in whole monotonic milliseconds; 0 while nothing is pending. */
  stalledSince: number;
  /** How often all had been looked at, to relieve the account, when its wait began. */
  waitsSinceLook: number;
  evict(reason: DisconnectReason): void;
}

export interface PendingOptions {
  /** @defaultValue see `HeartbeatOptions` */
  readonly stallMs: number;
  readonly pendingBytesMax: number;
}

/**
 * The bytes that wait in this process for slow connections, of each and in all. A connection comes in
 * when a write leaves something pending, which its transport knows right then, so that a healthy one
 * costs nothing. When it has left shows only by asking: until the next look the total may be too high,
 * never too low. On TLS every write is pending for a moment (measured), so nothing is ever decided on
 * what was counted and not looked at again.
 */
export class PendingBytes {
  readonly #options: PendingOptions;
  readonly #runtime: Runtime;
  readonly #metrics: Metrics;
  /** Whoever had to wait longest since something of it last left comes first. */
  readonly #waiters = new Set<Waiter>();
  #bytesNow = 0;
  #isReliefDue = false;
  #looks = 0;

  constructor(options: PendingOptions, runtime: Runtime, metrics: Metrics) {
    this.#options = options;
    this.#runtime = runtime;
    this.#metrics = metrics;
  }

  /** Where nothing was pending, a write has left bytes that are. The wait begins anew. */
  begin(waiter: Waiter, now: number): void {
    const bytes = waiter.connection?.pendingBytes ?? 0;
    if (bytes === 0) return this.settle(waiter);
    this.#count(waiter, bytes);
    this.#waitFrom(waiter, now);
    waiter.waitsSinceLook = this.#looks;
    this.#tell();
    if (this.#bytesNow > this.#options.pendingBytesMax) this.#relieveLater();
  }

  /** Nothing is pending any more, or nobody waits for it. Harmless when nothing was. */
  settle(waiter: Waiter): void {
    waiter.stalledSince = 0;
    if (!this.#waiters.delete(waiter)) return;
    this.#count(waiter, 0);
    this.#tell();
  }

  /** Looks at all that wait, and evicts those of whose bytes none left for `stallMs`. */
  visit(now: number): void {
    for (const waiter of this.#waiters) {
      if (!this.#look(waiter, now)) continue;
      if (now - waiter.stalledSince < this.#options.stallMs || isLocal(waiter)) continue;
      waiter.evict("slow_consumer");
    }
    this.#tell();
  }

  /** Looks at all that wait, so that the gauges are exact. */
  refresh(): void {
    const now = Math.floor(this.#runtime.now());
    for (const waiter of this.#waiters) this.#look(waiter, now);
    this.#tell();
  }

  /** False if nothing is pending any more. */
  #look(waiter: Waiter, now: number): boolean {
    const bytes = waiter.connection?.pendingBytes ?? 0;
    if (bytes === 0) {
      this.settle(waiter);
      return false;
    }
    const hasProgressed = bytes < waiter.pendingSeen;
    this.#count(waiter, bytes);
    // A set may be changed while it is walked. It comes once more at the end of this walk, with no progress then.
    if (hasProgressed) this.#waitFrom(waiter, now);
    return true;
  }

  #waitFrom(waiter: Waiter, now: number): void {
    waiter.stalledSince = now;
    this.#waiters.delete(waiter);
    this.#waiters.add(waiter);
  }

  #count(waiter: Waiter, bytes: number): void {
    this.#bytesNow += bytes - waiter.pendingSeen;
    waiter.pendingSeen = bytes;
  }

  /**
   * Too much is pending, as far as was counted. In the next turn, when the kernel has taken what it
   * would take, all are looked at. If it still is too much, then one turn later those that waited
   * longest are evicted. Only what has outlasted a turn counts.
   */
  #relieveLater(): void {
    if (this.#isReliefDue) return;
    this.#isReliefDue = true;
    this.#runtime.defer(() => {
      this.refresh();
      this.#looks += 1;
      if (this.#bytesNow > this.#options.pendingBytesMax) return this.#runtime.defer(this.#relieve);
      this.#isReliefDue = false;
    });
  }

  readonly #relieve = (): void => {
    this.#isReliefDue = false;
    this.refresh();
    let bytes = 0;
    for (const waiter of this.#waiters) if (this.#isLasting(waiter)) bytes += waiter.pendingSeen;
    for (const waiter of this.#waiters) {
      if (bytes <= this.#options.pendingBytesMax) break;
      if (!this.#isLasting(waiter) || isLocal(waiter)) continue;
      bytes -= waiter.pendingSeen;
      waiter.evict("pending_exhausted");
    }
    // Those that began to wait meanwhile have not lasted yet; nobody else would ask about them again.
    const isAnyNew = this.#bytesNow > bytes;
    if (isAnyNew && this.#bytesNow > this.#options.pendingBytesMax) this.#relieveLater();
  };

  /** It has waited for a turn at least. */
  #isLasting(waiter: Waiter): boolean {
    return waiter.waitsSinceLook < this.#looks;
  }

  #tell(): void {
    const { plain } = this.#metrics;
    plain.sluice_pending_bytes = this.#bytesNow;
    plain.sluice_pending_connections = this.#waiters.size;
  }
}

/** Who reads in this process has not vanished, however long it takes for an event: it may be at work on it. */
function isLocal({ connection }: Waiter): boolean {
  return connection?.isLocal === true;
}
