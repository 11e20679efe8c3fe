import { nextLane } from "../../core/lanes.ts";
import type { Lane } from "../../core/settings.ts";
import { LANES } from "../../core/settings.ts";
import type { Runtime, Timer } from "../../internal/clock.ts";

/** A request that waits for a socket. */
export interface Waiter {
  readonly tenant: string;
  readonly lane: Lane;
  /** When it came; `AcquireQueue` is told in this order. */
  readonly since: number;
}

/** What one turn costs a lane of what `LANE_SHARES` gives it: 8 turns of `high`, 4 of `normal`, 1 of `bulk`. */
const TURN_COST = 256 * 1024;

class WaitingLane<W extends Waiter> {
  readonly lane: Lane;
  allowance = 0;
  readonly waiters = new Set<W>();

  constructor(lane: Lane) {
    this.lane = lane;
  }

  get hasWork(): boolean {
    return this.waiters.size > 0;
  }
}

class WaitingTenant<W extends Waiter> {
  readonly lanes: readonly WaitingLane<W>[] = LANES.map((lane) => new WaitingLane<W>(lane));
  size = 0;

  laneOf(lane: Lane): WaitingLane<W> {
    return this.lanes[LANES.indexOf(lane)] as WaitingLane<W>;
  }
}

export interface AcquireQueueOptions<W extends Waiter> {
  readonly queueMax: number;
  readonly acquireMsMax: number;
  /** Its deadline has come; it is out of the queue. */
  readonly onLate: (waiter: W) => void;
}

/**
 * Requests that wait for a socket to one origin: bounded, each with a deadline. The tenant that holds
 * least is served first, so that one that asks for ten times as much is served no more often; within
 * a tenant the lanes take turns as they do everywhere, and within a lane it is first come, first served.
 */
export class AcquireQueue<W extends Waiter> {
  readonly #options: AcquireQueueOptions<W>;
  readonly #runtime: Runtime;
  /** In the order of their last turn. */
  readonly #tenants = new Map<string, WaitingTenant<W>>();
  /** In the order of their deadlines. */
  readonly #all = new Set<W>();
  #timer: Timer | undefined;

  constructor(runtime: Runtime, options: AcquireQueueOptions<W>) {
    this.#runtime = runtime;
    this.#options = options;
  }

  get size(): number {
    return this.#all.size;
  }

  /**
   * Lets it wait. When the queue is full, the newest of the tenant that has most waiting has to go: it
   * is returned, out of the queue, and may be the one that came.
   */
  push(waiter: W): W | undefined {
    const { queueMax } = this.#options;
    let evicted: W | undefined;
    if (this.#all.size >= queueMax) {
      evicted = this.#newestOfLargest(waiter);
      if (evicted === waiter) return waiter;
      this.remove(evicted);
    }
    let tenant = this.#tenants.get(waiter.tenant);
    if (tenant === undefined) {
      tenant = new WaitingTenant();
      this.#tenants.set(waiter.tenant, tenant);
    }
    tenant.laneOf(waiter.lane).waiters.add(waiter);
    tenant.size += 1;
    this.#all.add(waiter);
    this.#watch();
    return evicted;
  }

  /** True if it was still waiting. */
  remove(waiter: W): boolean {
    if (!this.#all.delete(waiter)) return false;
    const tenant = this.#tenants.get(waiter.tenant);
    if (tenant !== undefined) {
      tenant.laneOf(waiter.lane).waiters.delete(waiter);
      tenant.size -= 1;
      if (tenant.size === 0) this.#tenants.delete(waiter.tenant);
    }
    if (this.#all.size === 0) {
      this.#timer?.cancel();
      this.#timer = undefined;
    }
    return true;
  }

  /**
   * Takes out whose turn it is, of the tenants that have room. `heldBy` is what a tenant has now,
   * `roomFor` how much more it may have.
   */
  take(heldBy: (tenant: string) => number, roomFor: (tenant: string) => number): W | undefined {
    let chosen: string | undefined;
    let least = Infinity;
    for (const name of this.#tenants.keys()) {
      const held = heldBy(name);
      if (held >= least || roomFor(name) <= 0) continue;
      chosen = name;
      least = held;
    }
    const tenant = chosen === undefined ? undefined : this.#tenants.get(chosen);
    if (chosen === undefined || tenant === undefined) return undefined;
    const lane = nextLane(tenant.lanes);
    const [waiter] = lane?.waiters ?? [];
    if (lane === undefined || waiter === undefined) return undefined;
    lane.allowance -= TURN_COST;
    this.remove(waiter);
    if (this.#tenants.delete(chosen)) this.#tenants.set(chosen, tenant);
    return waiter;
  }

  /** How many of those that wait could be served if there were sockets enough. */
  demand(roomFor: (tenant: string) => number): number {
    let demand = 0;
    for (const [name, { size }] of this.#tenants) {
      demand += Math.min(size, Math.max(0, roomFor(name)));
    }
    return demand;
  }

  /** Takes out the one that has waited for longest. */
  takeOldest(): W | undefined {
    const [oldest] = this.#all;
    if (oldest !== undefined) this.remove(oldest);
    return oldest;
  }

  #newestOfLargest(coming: W): W {
    let name = coming.tenant;
    let most = (this.#tenants.get(name)?.size ?? 0) + 1;
    for (const [other, { size }] of this.#tenants) {
      if (size <= most) continue;
      name = other;
      most = size;
    }
    if (name === coming.tenant) return coming;
    // The lane that is served last gives way first.
    const lanes = this.#tenants.get(name)?.lanes ?? [];
    let newest: W = coming;
    for (const lane of lanes) {
      for (const waiter of lane.waiters) newest = waiter;
    }
    return newest;
  }

  /** One timer for all: they wait equally long, so the one that came first is late first. */
  #watch(): void {
    if (this.#timer !== undefined) return;
    const [first] = this.#all;
    if (first === undefined) return;
    const waitMs = first.since + this.#options.acquireMsMax - this.#runtime.now();
    this.#timer = this.#runtime.after(Math.max(0, Math.ceil(waitMs)), this.#look);
  }

  readonly #look = (): void => {
    this.#timer = undefined;
    const now = this.#runtime.now();
    for (const waiter of this.#all) {
      if (waiter.since + this.#options.acquireMsMax > now) break;
      this.remove(waiter);
      this.#options.onLate(waiter);
    }
    this.#watch();
  };
}
