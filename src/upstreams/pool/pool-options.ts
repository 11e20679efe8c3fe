import type { Metrics } from "../../core/metrics.ts";
import { SluiceError } from "../../core/errors.ts";
import type { Runtime } from "../../internal/clock.ts";
import type { Dial } from "./channel.ts";

export interface BreakerOptions {
  /** Failures without a success between them that open the circuit of an origin. @defaultValue 5 */
  readonly failures: number;
  /** Within so long, in milliseconds. @defaultValue 10_000 */
  readonly withinMs: number;
  /** Nothing is sent for so long, in milliseconds; then one request, to try. @defaultValue 5_000 */
  readonly openMs: number;
}

export interface HealthOptions {
  /** A path of the origin that answers 2xx while it is well. @defaultValue none: it is not asked */
  readonly path?: string | undefined;
  /** Between two questions, in milliseconds. @defaultValue 10_000 */
  readonly intervalMs: number;
}

/** How many sockets there are to each origin, for how long, and who may have them. */
export interface PoolOptions {
  /** Sockets to one origin, HTTP/2 sessions included. 1 or more. @defaultValue 128 */
  readonly socketsMax: number;
  /** Streams of one HTTP/2 session; fewer if the origin says so. 1 or more. @defaultValue 64 */
  readonly streamsPerSession: number;
  /**
   * HTTP/2 sessions under load, at least: as soon as there is a quarter of `streamsPerSession` to
   * carry, so that the loss of one connection is not the loss of everything. @defaultValue 2
   */
  readonly sessionsMin: number;
  /**
   * What one tenant may hold of an origin's sockets or streams while there are others, in % of the
   * whole. A tenant that is alone may hold all of it: "others" have asked for the same origin within
   * the last ten minutes, or hold something now. @defaultValue 60
   */
  readonly tenantPercentMax: number;
  /** Requests to one origin that wait for a socket; 0 is none. @defaultValue 1_024 */
  readonly queueMax: number;
  /** They wait so long at most, in milliseconds. @defaultValue 5_000 */
  readonly acquireMsMax: number;
  /** To connect: DNS, TCP, TLS and HTTP/2 SETTINGS, in milliseconds. @defaultValue 5_000 */
  readonly connectMsMax: number;
  /** From the request until the head of its response, in milliseconds. @defaultValue 10_000 */
  readonly headersMsMax: number;
  /** A socket without a request is kept for so long, in milliseconds; less if the origin says so. @defaultValue 30_000 */
  readonly idleMs: number;
  /** A socket takes no new request after so long, give or take a tenth, in milliseconds. @defaultValue 600_000 */
  readonly ageMsMax: number;
  /** Between two probes of a socket, in milliseconds. @defaultValue 20_000 */
  readonly probeMs: number;
  /** A probe is answered within so long, in milliseconds. @defaultValue 5_000 */
  readonly probeMsMax: number;
  readonly breaker: BreakerOptions;
  readonly health: HealthOptions;
  /** `auto`: ALPN decides, HTTP/1.1 without TLS; `prior`: HTTP/2 without asking. @defaultValue "auto" */
  readonly http2: "auto" | "off" | "prior";
  /** PEM of authorities that are trusted instead of those that Node knows. @defaultValue none */
  readonly ca?: string | Buffer | undefined;
}

export const POOL_DEFAULTS: PoolOptions = {
  socketsMax: 128,
  streamsPerSession: 64,
  sessionsMin: 2,
  tenantPercentMax: 60,
  queueMax: 1_024,
  acquireMsMax: 5_000,
  connectMsMax: 5_000,
  headersMsMax: 10_000,
  idleMs: 30_000,
  ageMsMax: 600_000,
  probeMs: 20_000,
  probeMsMax: 5_000,
  breaker: { failures: 5, withinMs: 10_000, openMs: 5_000 },
  health: { intervalMs: 10_000 },
  http2: "auto",
};

/** As `PoolOptions`, each of them optional. */
export type PoolOptionsInput = Partial<Omit<PoolOptions, "breaker" | "health">> & {
  readonly breaker?: Partial<BreakerOptions>;
  readonly health?: Partial<HealthOptions>;
};

/** Fills in the defaults, checks, and freezes. Throws `parameter_invalid`. */
export function poolOptions(input: PoolOptionsInput): PoolOptions {
  const { breaker, health, ...rest } = input;
  const options: PoolOptions = {
    ...POOL_DEFAULTS,
    ...rest,
    breaker: Object.freeze({ ...POOL_DEFAULTS.breaker, ...breaker }),
    health: Object.freeze({ ...POOL_DEFAULTS.health, ...health }),
  };
  for (const name of ["socketsMax", "streamsPerSession", "idleMs", "ageMsMax"] as const) {
    atLeast(name, options[name], 1);
  }
  for (const name of ["sessionsMin", "queueMax", "acquireMsMax"] as const) {
    atLeast(name, options[name], 0);
  }
  for (const name of ["connectMsMax", "headersMsMax", "probeMs", "probeMsMax"] as const) {
    atLeast(name, options[name], 1);
  }
  atLeast("breaker.failures", options.breaker.failures, 1);
  atLeast("tenantPercentMax", options.tenantPercentMax, 1);
  return Object.freeze(options);
}

function atLeast(name: string, value: number, min: number): void {
  if (Number.isFinite(value) && value >= min) return;
  throw new SluiceError("parameter_invalid", `${name} must be at least ${min}, not ${value}`);
}

/** What the pool needs of a logger. */
export interface PoolLogger {
  debug(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** What every part of a pool works with. */
export interface PoolServices {
  readonly runtime: Runtime;
  readonly metrics: Metrics;
  readonly logger: PoolLogger;
  readonly dial: Dial;
  readonly options: PoolOptions;
}
