import { Readable } from "node:stream";
import { SluiceError } from "../../core/errors.ts";
import type { UpstreamRequest, UpstreamResponse } from "../message.ts";
import { shownOrigin } from "../origin.ts";
import type { Origin } from "../origin.ts";
import { AcquireQueue } from "./acquire-queue.ts";
import type { Waiter } from "./acquire-queue.ts";
import { StreamRefused } from "./channel.ts";
import { Circuit } from "./circuit.ts";
import { Connections } from "./connections.ts";
import type { Pooled } from "./connections.ts";
import { Health } from "./health.ts";
import { askHealth } from "./health-request.ts";
import { ClosedUnanswered } from "./http1.ts";
import { Lease } from "./lease.ts";
import type { PoolServices } from "./pool-options.ts";
import type { OriginStatus } from "./status.ts";
import { TenantShares } from "./tenant-shares.ts";

/** New streams are refused above this share of what there is. */
const REFUSING_PERCENT = 90;

const TARGET = /^\/[\x21-\x7e\x80-\xff]*$/;

/** They may be sent twice (RFC 9110, 9.2.2). */
const IDEMPOTENT: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "OPTIONS",
  "TRACE",
  "PUT",
  "DELETE",
]);

/** What says that the origin is in trouble; all else is the request's own. */
const OF_ORIGIN: ReadonlySet<string> = new Set([
  "upstream_unreachable",
  "upstream_timeout",
  "upstream_tls",
  "upstream_protocol",
]);

/** Why a request was not sent: the label of `sluice_upstream_rejected_total`. */
type Rejection = "circuit" | "unhealthy" | "queue_full" | "deadline" | "closed";

interface Waiting extends Waiter {
  grant(pooled: Pooled): void;
  fail(error: unknown): void;
}

/** All requests to one origin: which are sent at all, and when. */
export class OriginPool {
  readonly #origin: Origin;
  readonly #services: PoolServices;
  readonly #shown: string;
  readonly #connections: Connections;
  readonly #circuit: Circuit;
  readonly #health: Health | undefined;
  readonly #queue: AcquireQueue<Waiting>;
  readonly #shares: TenantShares;
  #streamsNow = 0;
  #acquiredTotal = 0;
  #rejectedTotal = 0;
  #errorsTotal = 0;

  constructor(origin: Origin, services: PoolServices) {
    const { options, runtime } = services;
    this.#origin = origin;
    this.#services = services;
    this.#shown = shownOrigin(origin);
    this.#connections = new Connections(origin, services, {
      onFree: () => this.#serve(),
      onDialFailed: (error, isLast) => this.#onDialFailed(error, isLast),
    });
    this.#circuit = new Circuit(options.breaker, () => this.#onCircuitOpen());
    this.#shares = new TenantShares(options.tenantPercentMax);
    const { queueMax, acquireMsMax } = options;
    const onLate = (waiting: Waiting): void => this.#onLate(waiting);
    this.#queue = new AcquireQueue<Waiting>(runtime, { queueMax, acquireMsMax, onLate });
    const { path = "", intervalMs } = options.health;
    if (path !== "") this.#health = new Health(runtime, intervalMs, () => this.#ask(path));
  }

  /** New streams should not be begun. */
  get isRefusing(): boolean {
    const now = this.#services.runtime.now();
    if (this.#health?.state === "unhealthy" || this.#circuit.isRefusing(now)) return true;
    const used = this.#streamsNow + this.#queue.size;
    return used * 100 > this.#connections.capacity * REFUSING_PERCENT;
  }

  /** Nobody would miss it. */
  get isQuiet(): boolean {
    const workNow = this.#streamsNow + this.#queue.size + this.#connections.dialingNow;
    return workNow === 0 && this.#circuit.state(this.#services.runtime.now()) === "closed";
  }

  /** See `UpstreamPool.request`. */
  async request(request: UpstreamRequest): Promise<UpstreamResponse> {
    request.signal?.throwIfAborted();
    // Anything else is another form of target, or more than one line (RFC 9112, 3.2).
    if (!TARGET.test(request.path)) {
      throw new SluiceError("request_malformed", "The path cannot be sent to an origin");
    }
    const { runtime } = this.#services;
    if (this.#health?.state === "unhealthy") {
      throw this.#rejected("unhealthy", this.#unavailable());
    }
    const permit = this.#circuit.enter(runtime.now());
    if (permit === "refused") throw this.#rejected("circuit", this.#unavailable());
    this.#shares.saw(request.tenant, runtime.now());
    try {
      const response = await this.#send(request);
      this.#circuit.succeeded(permit);
      return response;
    } catch (error) {
      const isOrigins = error instanceof SluiceError && OF_ORIGIN.has(error.code);
      if (isOrigins) this.#circuit.failed(permit, runtime.now());
      else this.#circuit.withdrawn(permit);
      throw error;
    }
  }

  status(): OriginStatus {
    const { http, openedTotal, evictedTotal } = this.#connections;
    return {
      origin: this.#shown,
      circuit: this.#circuit.state(this.#services.runtime.now()),
      health: this.#health?.state ?? "unknown",
      http,
      socketsMax: this.#services.options.socketsMax,
      sockets: this.#connections.count(),
      streamsNow: this.#streamsNow,
      waiting: this.#queue.size,
      tenants: this.#shares.tenantsNow,
      isRefusing: this.isRefusing,
      openedTotal,
      acquiredTotal: this.#acquiredTotal,
      rejectedTotal: this.#rejectedTotal,
      evictedTotal,
      errorsTotal: this.#errorsTotal,
    };
  }

  /** Ends everything now: who waits is refused, what is under way ends with an error. */
  close(): void {
    this.#health?.stop();
    this.#connections.close();
    this.#rejectAll("closed", closed());
  }

  async #send(request: UpstreamRequest): Promise<UpstreamResponse> {
    for (let retries = 0; ; retries += 1) {
      const lane = retries === 0 ? (request.lane ?? "normal") : "high";
      try {
        return await this.#attempt(request, lane);
      } catch (error) {
        if (retries >= retriesMax(request, error) || this.#connections.isClosed) throw error;
      }
      this.#services.metrics.plain.sluice_upstream_retries_total += 1;
      // What else is idle has been so for longer: it is likely to be closed as well.
      this.#connections.dropIdle("closed");
    }
  }

  #attempt(request: UpstreamRequest, lane: Waiting["lane"]): Promise<UpstreamResponse> {
    if (this.#connections.isClosed) return Promise.reject(this.#rejected("closed", closed()));
    if (this.#queue.size === 0 && this.#roomFor(request.tenant) > 0) {
      const pooled = this.#connections.free();
      if (pooled !== undefined) return this.#carry(pooled, request);
    }
    return this.#wait(request, lane);
  }

  #wait(request: UpstreamRequest, lane: Waiting["lane"]): Promise<UpstreamResponse> {
    const { runtime, metrics, options } = this.#services;
    const { tenant, signal } = request;
    const { promise, resolve, reject } = Promise.withResolvers<UpstreamResponse>();
    const since = runtime.now();
    const left = (): void => {
      signal?.removeEventListener("abort", onAbort);
      metrics.plain.sluice_upstream_wait_seconds_total += (runtime.now() - since) / 1_000;
      metrics.plain.sluice_upstream_waiting -= 1;
    };
    const grant = (pooled: Pooled): void => {
      left();
      this.#carry(pooled, request).then(resolve, reject);
    };
    const fail = (error: unknown): void => {
      left();
      reject(error);
    };
    const waiting: Waiting = { tenant, lane, since, grant, fail };
    const onAbort = (): void => {
      if (this.#queue.remove(waiting)) fail(signal?.reason);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    metrics.plain.sluice_upstream_waits_total += 1;
    metrics.plain.sluice_upstream_waiting += 1;
    const evicted = this.#queue.push(waiting);
    if (evicted !== undefined) {
      const text = `${options.queueMax} requests wait for a socket to ${this.#shown} already`;
      evicted.fail(this.#rejected("queue_full", new SluiceError("upstream_exhausted", text)));
    }
    if (evicted !== waiting) this.#serve();
    return promise;
  }

  async #carry(pooled: Pooled, request: UpstreamRequest): Promise<UpstreamResponse> {
    const { metrics, options } = this.#services;
    this.#acquiredTotal += 1;
    metrics.plain.sluice_upstream_acquired_total += 1;
    this.#streamsNow += 1;
    metrics.plain.sluice_upstream_streams += 1;
    this.#shares.took(request.tenant);
    this.#connections.take(pooled);
    const lease = new Lease(request, metrics, this.#onRelease);
    const carrying = pooled.carry(lease, request.headersMsMax ?? options.headersMsMax);
    // A second session for what is to come, before the first is full.
    if (pooled.kind === "http2") this.#dial();
    try {
      const response = await carrying;
      response.body.on("error", (error) => this.#failed(error));
      return response;
    } catch (error) {
      this.#failed(error);
      throw error;
    }
  }

  readonly #onRelease = ({ tenant }: Lease): void => {
    this.#streamsNow -= 1;
    this.#services.metrics.plain.sluice_upstream_streams -= 1;
    this.#shares.gaveBack(tenant);
  };

  #failed(error: unknown): void {
    if (!(error instanceof SluiceError)) return;
    this.#errorsTotal += 1;
    this.#services.metrics.add("sluice_upstream_errors_total", error.code);
  }

  readonly #roomFor = (tenant: string): number => {
    const now = this.#services.runtime.now();
    return this.#shares.roomFor(tenant, this.#connections.capacity, now);
  };

  readonly #heldBy = (tenant: string): number => this.#shares.heldBy(tenant);

  /** Gives what is free to those who wait, and opens what they need. */
  #serve(): void {
    while (this.#queue.size > 0) {
      const pooled = this.#connections.free();
      if (pooled === undefined) break;
      const waiting = this.#queue.take(this.#heldBy, this.#roomFor);
      if (waiting === undefined) break;
      waiting.grant(pooled);
    }
    this.#dial();
  }

  #dial(): void {
    const demand = this.#queue.size === 0 ? 0 : this.#queue.demand(this.#roomFor);
    this.#connections.dial(demand, this.#streamsNow);
  }

  #onDialFailed(error: unknown, isLast: boolean): void {
    this.#failed(error);
    this.#queue.takeOldest()?.fail(error);
    if (isLast) {
      for (let waiting = this.#queue.takeOldest(); waiting; waiting = this.#queue.takeOldest()) {
        this.#failed(error);
        waiting.fail(error);
      }
    }
    this.#serve();
  }

  #onLate(waiting: Waiting): void {
    const { acquireMsMax } = this.#services.options;
    const isFull = this.#connections.isFull || this.#roomFor(waiting.tenant) <= 0;
    const text = isFull
      ? `No socket to ${this.#shown} was free within ${acquireMsMax} ms`
      : `${this.#shown} was not connected to within ${acquireMsMax} ms`;
    const error = new SluiceError(isFull ? "upstream_exhausted" : "upstream_timeout", text);
    waiting.fail(this.#rejected("deadline", error));
  }

  #onCircuitOpen(): void {
    const { metrics, logger } = this.#services;
    metrics.plain.sluice_upstream_circuit_opened_total += 1;
    logger.warn({ origin: this.#shown }, "the circuit of an upstream has opened");
    this.#rejectAll("circuit", this.#unavailable());
  }

  #unavailable(): SluiceError {
    const waitMs = Math.ceil(this.#circuit.waitMs(this.#services.runtime.now()));
    const text = `${this.#shown} is given up for the time being; it is tried in ${waitMs} ms`;
    return new SluiceError("upstream_unavailable", text);
  }

  #rejectAll(reason: Rejection, error: SluiceError): void {
    for (let waiting = this.#queue.takeOldest(); waiting; waiting = this.#queue.takeOldest()) {
      waiting.fail(this.#rejected(reason, error));
    }
  }

  #rejected(reason: Rejection, error: SluiceError): SluiceError {
    this.#rejectedTotal += 1;
    this.#services.metrics.add("sluice_upstream_rejected_total", reason);
    this.#failed(error);
    return error;
  }

  /** The active check asks also while the origin is given up: a good answer ends that. */
  async #ask(path: string): Promise<"well" | "ill" | "unknown"> {
    const { options, runtime } = this.#services;
    const finding = await askHealth(this.#origin, path, options, (request) => this.#send(request));
    const isGivenUp = this.#circuit.state(runtime.now()) !== "closed";
    if (finding === "well" && isGivenUp) this.#circuit.succeeded("probe");
    return finding;
  }
}

/** How often it may be sent again after this. */
function retriesMax({ body, method, signal }: UpstreamRequest, error: unknown): number {
  if (signal?.aborted === true || !(error instanceof SluiceError)) return 0;
  // What has gone of a stream cannot be sent again.
  if (body instanceof Readable) return 0;
  // The first may have met a session that was about to drain, the second the next one.
  if (error.cause instanceof StreamRefused) return 2;
  return error.cause instanceof ClosedUnanswered && IDEMPOTENT.has(method.toUpperCase()) ? 1 : 0;
}

function closed(): SluiceError {
  return new SluiceError("shutting_down", "The upstream pool is closed");
}
