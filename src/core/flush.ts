import type { Runtime } from "../internal/clock.ts";
import { Ring } from "../internal/ring.ts";
import type { Metrics } from "./metrics.ts";
import { Slice } from "./slice.ts";
import type { SliceOptions } from "./slice.ts";
import type { TenantHub } from "./tenant-hub.ts";

/** What a tenant may write in one turn of the round, in bytes, before the next tenant has its turn. */
const QUANTUM_BYTES = 256 * 1024;

/**
 * Decides whose flush runs. One slice a turn of the event loop; within it tenants take turns by
 * deficit round robin on bytes (Shreedhar and Varghese, 1995), so that a tenant's share does not
 * depend on how much the others have to say.
 */
export class FlushScheduler {
  readonly #runtime: Runtime;
  readonly #slices: SliceOptions;
  readonly #metrics: Metrics;
  readonly #active = new Ring<TenantHub>();
  readonly #isActive = new Set<TenantHub>();
  #isScheduled = false;

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
    // Whoever was written to may have asked for a turn already: one is enough.
    if (this.#active.length === 0 || this.#isScheduled) return;
    this.#isScheduled = true;
    this.#runtime.defer(this.#turn);
  };
}
