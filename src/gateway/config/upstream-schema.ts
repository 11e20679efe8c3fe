import * as z from "zod";
import { POOL_DEFAULTS } from "../../upstreams/pool/pool-options.ts";
import { RUNS_DEFAULTS } from "../../upstreams/runs/run-options.ts";
import { ROUTE_DEFAULTS } from "../proxy/route.ts";
import { choice, count, duration, section } from "./leaf.ts";
import { path } from "./leaf-net.ts";
import { originPath, upstream } from "./leaf-upstream.ts";
import { routeRuleSchema } from "./route-rule.ts";
import { formatDuration } from "./units.ts";

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

const poolSchema = section({
  socketsMax: count("Sockets to one origin at most", { min: 1, max: 100_000 }).prefault(
    POOL_DEFAULTS.socketsMax,
  ),
  streamsPerSession: count("Streams of one HTTP/2 connection at most", {
    min: 1,
    max: 1_000,
  }).prefault(POOL_DEFAULTS.streamsPerSession),
  tenantPercentMax: count("What one tenant may hold of them while other tenants want some, in %", {
    min: 1,
    max: 100,
  }).prefault(POOL_DEFAULTS.tenantPercentMax),
  queueMax: count("Requests to one origin that wait for a socket at most", {
    min: 0,
    max: 1_000_000,
  }).prefault(POOL_DEFAULTS.queueMax),
  acquireWait: duration("A request waits for a socket so long at most, then it is refused", {
    min: 0,
    max: 5 * MINUTE_MS,
  }).prefault(formatDuration(POOL_DEFAULTS.acquireMsMax)),
  connect: duration("To connect, with TLS, takes so long at most", {
    min: 10,
    max: 5 * MINUTE_MS,
  }).prefault(formatDuration(POOL_DEFAULTS.connectMsMax)),
  headers: duration("The head of an answer takes so long at most where no route says firstByte", {
    min: 100,
    max: HOUR_MS,
  }).prefault(formatDuration(POOL_DEFAULTS.headersMsMax)),
  idle: duration("A socket without a request is kept for so long", {
    min: SECOND_MS,
    max: HOUR_MS,
  }).prefault(formatDuration(POOL_DEFAULTS.idleMs)),
  maxAge: duration("A socket takes no new request after so long", {
    min: SECOND_MS,
    max: 7 * DAY_MS,
  }).prefault(formatDuration(POOL_DEFAULTS.ageMsMax)),
  probe: duration("An open socket is probed each time that so long has gone by", {
    min: SECOND_MS,
    max: 10 * MINUTE_MS,
  }).prefault(formatDuration(POOL_DEFAULTS.probeMs)),
  breaker: section({
    failures: count("So many failures within breaker.within open the circuit of an origin", {
      min: 1,
      max: 1_000_000,
    }).prefault(POOL_DEFAULTS.breaker.failures),
    within: duration("The time that failures are counted over", {
      min: 100,
      max: HOUR_MS,
    }).prefault(formatDuration(POOL_DEFAULTS.breaker.withinMs)),
    open: duration("An open circuit sends nothing for so long, then one request to try", {
      min: 100,
      max: HOUR_MS,
    }).prefault(formatDuration(POOL_DEFAULTS.breaker.openMs)),
  }).prefault({}),
  health: section({
    path: originPath(
      "A path of the origin that answers 2xx while it is well; empty asks for nothing",
    ).prefault(""),
    interval: duration("It is asked for each time that so long has gone by", {
      min: 100,
      max: HOUR_MS,
    }).prefault(formatDuration(POOL_DEFAULTS.health.intervalMs)),
  }).prefault({}),
  http2: choice(
    "auto: as the TLS handshake decides; off: HTTP/1.1 only; prior: HTTP/2 at once, without TLS too",
    ["auto", "off", "prior"],
  ).prefault(POOL_DEFAULTS.http2),
  ca: path(
    "Certificates, PEM, of who signs for the origins, instead of those that Node knows",
  ).prefault(""),
});

const runsSchema = section({
  max: count("Runs that are kept at a time, those under way and those that are over", {
    min: 1,
    max: 10_000_000,
  }).prefault(RUNS_DEFAULTS.runsMax),
  perTenantMax: count("Runs of one tenant that are under way", {
    min: 1,
    max: 10_000_000,
  }).prefault(RUNS_DEFAULTS.perTenantMax),
  ttl: duration("A run can be read for so long after its end", {
    min: SECOND_MS,
    max: 7 * DAY_MS,
  }).prefault(formatDuration(ROUTE_DEFAULTS.runTtlMs)),
});

/** What the configuration says of origins. Members of `configSchema`. */
export const upstreamShape = {
  upstream: upstream("Every path that is not Sluice's own goes there; empty for none").prefault(""),
  routes: z
    .array(routeRuleSchema, { error: "must be a list of rules, each with match: <path pattern>" })
    .max(1_000, { error: "must have at most 1,000 rules" })
    .meta({
      description: "Paths that go to an origin, and how; the first rule that matches counts",
    })
    .prefault([]),
  pool: poolSchema.prefault({}),
  runs: runsSchema.prefault({}),
};
