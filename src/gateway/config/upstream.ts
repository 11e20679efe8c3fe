import { parseOrigin } from "../../upstreams/origin.ts";
import type { Origin } from "../../upstreams/origin.ts";
import type { UpstreamsOptions } from "../proxy/proxy.ts";
import { routeFinder } from "../proxy/match.ts";
import { ROUTE_DEFAULTS } from "../proxy/route.ts";
import type { ProxyRoute } from "../proxy/route.ts";
import { isLoopbackHost } from "./host.ts";
import type { Config } from "./schema.ts";

/** What is proxied, in the order of precedence: the rules, then everything else to `upstream`. */
export function routesOf(config: Config): ProxyRoute[] {
  const { routes, upstream, runs } = config;
  const routeTo = (text: string): Origin => parseOrigin(text, { isNamed: true });
  const said = routes.map((rule): ProxyRoute => ({
    match: rule.match,
    origin: routeTo(rule.to === "" ? upstream : rule.to),
    headersAllow: rule.headers.allow,
    share: rule.share,
    lingerMs: rule.linger,
    windowBytes: rule.window,
    control: rule.control,
    onEnd: rule.onEnd,
    onReadersGone: rule.onReadersGone,
    runTtlMs: rule.runTtl ?? runs.ttl,
    headersMsMax: rule.firstByte,
    idleMsMax: rule.idle,
  }));
  if (upstream === "" || routes.some(({ match }) => match === "/**")) return said;
  const rest = { ...ROUTE_DEFAULTS, match: "/**", runTtlMs: runs.ttl };
  return [...said, { ...rest, origin: routeTo(upstream) }];
}

/** What stands behind the gateway; undefined where nothing is proxied. `ca` is what the file of `pool.ca` holds. */
export function upstreamsOf(config: Config, ca: Buffer | undefined): UpstreamsOptions | undefined {
  const routes = routesOf(config);
  if (routes.length === 0) return undefined;
  const { breaker, health, http2, ...pool } = config.pool;
  return {
    routes,
    pool: {
      socketsMax: pool.socketsMax,
      streamsPerSession: pool.streamsPerSession,
      tenantPercentMax: pool.tenantPercentMax,
      queueMax: pool.queueMax,
      acquireMsMax: pool.acquireWait,
      connectMsMax: pool.connect,
      headersMsMax: pool.headers,
      idleMs: pool.idle,
      ageMsMax: pool.maxAge,
      probeMs: pool.probe,
      breaker: { failures: breaker.failures, withinMs: breaker.within, openMs: breaker.open },
      health: {
        intervalMs: health.interval,
        ...(health.path !== "" && { path: health.path }),
      },
      http2,
      ...(ca !== undefined && { ca }),
    },
  };
}

/** `/` is the upstream's where it is proxied, and nobody's where others can reach us. */
export function hasPlayground(config: Config): boolean {
  return isLoopbackHost(config.host) && routeFinder(routesOf(config))("/") === undefined;
}
