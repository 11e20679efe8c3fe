import type { Metrics } from "../../core/metrics.ts";
import type { UpstreamRequest } from "../message.ts";

/**
 * What a socket knows of the request that it carries: Last-Event-ID, credentials, all headers. Whoever
 * carries the request reads it here and keeps nothing of it, so that emptying this empties everything.
 */
export class LeaseContext {
  request: UpstreamRequest | undefined;

  constructor(request: UpstreamRequest) {
    this.request = request;
  }

  /** Emptied, and nothing can be put in again. */
  clear(): void {
    this.request = undefined;
    Object.freeze(this);
  }
}

/** The right of one request to a socket, or to one stream of a session. */
export class Lease {
  readonly tenant: string;
  readonly context: LeaseContext;
  readonly #metrics: Metrics;
  readonly #onRelease: (lease: Lease) => void;
  #isReleased = false;

  constructor(request: UpstreamRequest, metrics: Metrics, onRelease: (lease: Lease) => void) {
    this.tenant = request.tenant;
    this.context = new LeaseContext(request);
    this.#metrics = metrics;
    this.#onRelease = onRelease;
  }

  /** Gives it back; its context is cleared and frozen. A second time does nothing but count. */
  release(): void {
    if (this.#isReleased) {
      this.#metrics.plain.sluice_upstream_double_releases_total += 1;
      return;
    }
    this.#isReleased = true;
    this.context.clear();
    this.#onRelease(this);
  }
}
