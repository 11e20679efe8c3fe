import { SluiceError } from "../../core/errors.ts";
import type { Metrics } from "../../core/metrics.ts";
import type { Runtime } from "../../internal/clock.ts";
import { AddressBook } from "../address.ts";
import type { UpstreamRequest, UpstreamResponse } from "../message.ts";
import type { Origin } from "../origin.ts";
import type { Dial } from "./channel.ts";
import { dialWith } from "./dial.ts";
import { OriginPool } from "./origin-pool.ts";
import { poolOptions } from "./pool-options.ts";
import type { PoolLogger, PoolOptionsInput, PoolServices } from "./pool-options.ts";
import type { PoolStatus } from "./status.ts";

export interface UpstreamPoolInput extends PoolOptionsInput {
  readonly runtime: Runtime;
  readonly metrics: Metrics;
  /** @defaultValue says nothing */
  readonly logger?: PoolLogger;
  /** How to connect. @defaultValue DNS, TCP, TLS and ALPN */
  readonly dial?: Dial;
}

/** Origins that are known at a time: beyond it the ones that nobody uses are forgotten. */
const ORIGINS_MAX = 1_000;

/** The sockets to all origins: the one way in which requests leave. */
export class UpstreamPool {
  readonly #services: PoolServices;
  readonly #origins = new Map<string, OriginPool>();
  #isClosed = false;

  /** Opens nothing. Throws `parameter_invalid` for options out of bounds. */
  constructor(input: UpstreamPoolInput) {
    const { runtime, metrics, logger, dial, ...rest } = input;
    this.#services = {
      runtime,
      metrics,
      logger: logger ?? SILENT,
      dial: dial ?? dialWith(runtime, new AddressBook(runtime)),
      options: poolOptions(rest),
    };
  }

  /**
   * Sends a request, and resolves with the head of the response, whatever its status: statuses are not
   * retried, redirects not followed. Whoever gets the response reads its body or destroys it: a socket
   * of HTTP/1.1 is held until then.
   *
   * Rejects with the reason of `signal`, or with a `SluiceError`: `upstream_unreachable`,
   * `upstream_tls`, `upstream_timeout`, `upstream_protocol`, `upstream_forbidden`; `upstream_exhausted`
   * (no socket within `acquireMsMax`, or too many wait), `upstream_unavailable` (circuit open, or not
   * healthy), `request_malformed` (it cannot be said in HTTP), `shutting_down` (the pool is closed).
   */
  async request(request: UpstreamRequest): Promise<UpstreamResponse> {
    return this.#of(request.origin).request(request);
  }

  /**
   * New streams should be refused: the origin is over 90 % used, given up, or not healthy. What is
   * under way goes on. False for an origin that nobody has asked yet.
   */
  isRefusing(origin: Origin): boolean {
    return this.#origins.get(origin.key)?.isRefusing ?? false;
  }

  status(): PoolStatus {
    return { origins: [...this.#origins.values()].map((pool) => pool.status()) };
  }

  /** Ends everything now: who waits gets `shutting_down`, what is under way ends with an error. */
  close(): void {
    this.#isClosed = true;
    for (const pool of this.#origins.values()) pool.close();
  }

  #of(origin: Origin): OriginPool {
    const known = this.#origins.get(origin.key);
    if (known !== undefined) return known;
    if (this.#isClosed) throw new SluiceError("shutting_down", "The upstream pool is closed");
    if (this.#origins.size >= ORIGINS_MAX) this.#forgetOne();
    const pool = new OriginPool(origin, this.#services);
    this.#origins.set(origin.key, pool);
    return pool;
  }

  #forgetOne(): void {
    for (const [key, pool] of this.#origins) {
      if (!pool.isQuiet) continue;
      pool.close();
      this.#origins.delete(key);
      return;
    }
    throw new SluiceError("upstream_exhausted", `${ORIGINS_MAX} origins are in use at most`);
  }
}

const SILENT: PoolLogger = Object.freeze({ debug: ignore, warn: ignore });

function ignore(): void {}
