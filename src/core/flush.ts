import type { Runtime } from "../internal/clock.ts";
import { Ring } from "../internal/ring.ts";
import type { Metrics } from "./metrics.ts";
import { Slice } from "./slice.ts";
import type { SliceOptions } from "./slice.ts";
import type { TenantHub } from "./tenant-hub.ts";

/** What a tenant may write in one turn of the round, in bytes, before the next tenant has its turn. */
const QUANTUM_BYTES = 256 * 1024;
/** A tenant that writes less than this, in bytes and bytes a millisecond, is light: it goes first. */
const LIGHT_BYTES = 256 * 1024;
const LIGHT_BYTES_PER_MS = 8 * 1024;
/**
 * How much longer a slice is for them, in milliseconds: an event for 1,000 subscribers takes 7 to 10. In
 * two slices it would wait for all that a flood does in between.
 */
const LIGHT_MS_MORE = 9;
/** What the others may use of a slice at least, in milliseconds. */
const OTHERS_MS = 1;

/**
 * Decides whose flush runs. One slice a turn of the event loop; within it tenants take turns by
 * deficit round robin on bytes (Shreedhar and Varghese, 1995), so that a tenant's share does not
 * depend on how much the others have to say. Light tenants go before, as the new flows of RFC 8290,
 * 4.2, do: what they say is on its way in the turn in which it was published.
 */
export class FlushScheduler {
  readonly #runtime: Runtime;
  readonly #slices: SliceOptions;
  readonly #metrics: Metrics;
  readonly #active = new Ring<TenantHub>();
  readonly #isActive = new Set<TenantHub>();
  #isScheduled = false;
  /** The light ones have spent a whole slice, and the next is everybody's. */
  #isTurnOfAll = false;

  constructor(runtime: Runtime, slices: SliceOptions, metrics: Metrics) {
    this.#runtime = runtime;
    this.#slices = slices;
    this.#metrics = metrics;
  }

  /** The tenant has something to write; it is flushed in a later turn, with all that comes until then. */
  readonly schedule = (tenant: TenantHub): void => {
    if (!this.#isActive.has(tenant)) {
      this.#isActive.add(tenant);
      this.#active.push(tenant);
      tenant.allowance = 0;
    }
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#runtime.defer(this.#turn);
  };

  readonly #turn = (): void => {
    this.#isScheduled = false;
    this.#metrics.plain.sluice_flush_slices_total += 1;
    const slice = new Slice(this.#runtime, this.#slices);
    slice.extend(LIGHT_MS_MORE);
    // Where they are so many that they fill every slice, the others would wait for ever.
    if (!this.#isTurnOfAll) this.#serveLight(slice);
    this.#isTurnOfAll = slice.isSpent && !this.#isTurnOfAll;
    slice.extend(-LIGHT_MS_MORE);
    slice.keep(OTHERS_MS);
    this.#serveAll(slice);
    // Whoever was written to may have asked for a turn already: one is enough.
    if (this.#active.length === 0 || this.#isScheduled) return;
    this.#isScheduled = true;
    this.#runtime.defer(this.#turn);
  };

  #serveLight(slice: Slice): void {
    // Once around, so that the order of the others stays.
    for (let left = this.#active.length; left > 0; left -= 1) {
      const tenant = this.#active.shift() as TenantHub;
      if (!slice.isSpent && this.#flushLight(tenant, slice)) this.#isActive.delete(tenant);
      else this.#active.push(tenant);
    }
  }

  /** True if it is light and has nothing left to write. */
  #flushLight(tenant: TenantHub, slice: Slice): boolean {
    const sinceMs = slice.now - tenant.creditAt;
    tenant.creditAt = slice.now;
    tenant.credit = Math.min(LIGHT_BYTES, tenant.credit + sinceMs * LIGHT_BYTES_PER_MS);
    if (tenant.credit <= 0) return false;
    // Not on top of what it has left of its turn among all.
    const ofTurn = tenant.allowance;
    tenant.allowance = tenant.credit;
    const isDone = tenant.flush(slice);
    tenant.credit = tenant.allowance;
    tenant.allowance = ofTurn;
    return isDone;
  }

  #serveAll(slice: Slice): void {
    while (!slice.isSpent) {
      const tenant = this.#active.first();
      if (tenant === undefined) return;
      if (tenant.allowance <= 0) tenant.allowance += QUANTUM_BYTES;
      if (tenant.allowance > 0 && tenant.flush(slice)) {
        this.#active.shift();
        this.#isActive.delete(tenant);
      } else if (tenant.allowance <= 0) {
        // Its turn is spent; or its last frame was larger than a turn, and its turns pay for it first.
        this.#active.shift();
        this.#active.push(tenant);
      }
    }
  }
}
