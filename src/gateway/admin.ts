import type { IncomingMessage, ServerResponse } from "node:http";
import { SluiceError } from "../core/errors.ts";
import type { Hub } from "../core/hub.ts";
import { createPrometheusExporter } from "../exporters/prometheus.ts";
import { systemRuntime } from "../internal/clock.ts";
import type { Runtime } from "../internal/clock.ts";
import type { PoolStatus } from "../upstreams/pool/status.ts";
import { answerText } from "./admin/call.ts";
import type { AdminRoute } from "./admin/call.ts";
import { closeConnections, listConnections } from "./admin/connections.ts";
import { showDrain, startDrain } from "./admin/drain.ts";
import type { DrainControl } from "./admin/drain.ts";
import { showLife, showReadiness } from "./admin/health.ts";
import type { Health } from "./admin/health.ts";
import { showPool } from "./admin/pool.ts";
import { guard } from "./guard.ts";
import { isSameOrigin } from "./loopback.ts";
import type { Logger } from "./logger.ts";
import { answerProblem, RefusedError, toSluiceError } from "./problem.ts";

export interface Admin {
  readonly handler: (request: IncomingMessage, response: ServerResponse) => void;
  close(): void;
}

export interface AdminOptions extends Health {
  /** The listener's own address is loopback: the guard's rules of open mode hold, but for the probes. */
  readonly isOpen: boolean;
  readonly logger: Logger;
  /** Without it nothing is known of drains. */
  readonly drain?: DrainControl;
  /** What is known of origins. @defaultValue nothing is proxied */
  readonly pool?: () => PoolStatus | undefined;
  /** @defaultValue the real clock and chance */
  readonly runtime?: Runtime;
}

type Methods = Readonly<Partial<Record<"GET" | "HEAD" | "POST" | "DELETE", AdminRoute>>>;

/** They tell nobody anything, and probes call by whatever name they have. */
const PROBES = ["/livez", "/readyz"];
/** Below it one connection is named. */
const CONNECTIONS = "/admin/connections";

/**
 * What operators ask and do, on a listener of its own. A website whose name resolves to 127.0.0.1 (DNS
 * rebinding) reads nothing there, and no page of another origin changes anything.
 */
export function createAdmin(hub: Hub, options: AdminOptions): Admin {
  const { isOpen, logger, drain, pool = () => undefined, runtime = systemRuntime() } = options;
  const exporter = createPrometheusExporter(hub.metrics, () => hub.measure());
  const routes: Readonly<Record<string, Methods>> = {
    "/livez": readable(showLife),
    "/readyz": readable(showReadiness(options)),
    "/metrics": readable(async (call) =>
      answerText(call, 200, exporter.contentType, await exporter.render()),
    ),
    [CONNECTIONS]: {
      ...readable(listConnections(hub, runtime)),
      DELETE: closeConnections(hub, runtime),
    },
    [`${CONNECTIONS}/`]: { DELETE: closeConnections(hub, runtime) },
    "/pool": readable(showPool(pool)),
    ...(drain !== undefined && {
      "/drain": { ...readable(showDrain(drain)), POST: startDrain(drain) },
    }),
  };
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { url = "", method = "" } = request;
    const mark = url.indexOf("?");
    const path = mark === -1 ? url : url.slice(0, mark);
    if (!PROBES.includes(path)) guard(request, { isOpen, corsOrigins: [] });
    const isOne = path.startsWith(`${CONNECTIONS}/`) && path.length > CONNECTIONS.length + 1;
    const key = isOne ? `${CONNECTIONS}/` : path;
    const methods = Object.hasOwn(routes, key) && (isOne || !path.endsWith("/")) && routes[key];
    if (!methods) {
      const known = Object.keys(routes).filter((route) => !route.endsWith("/"));
      throw new SluiceError("not_found", `the admin listener has ${known.join(", ")}`);
    }
    const route = Object.hasOwn(methods, method) ? methods[method as keyof Methods] : undefined;
    if (route === undefined) throw methodNotAllowed(method, Object.keys(methods));
    if (method !== "GET" && method !== "HEAD") refuseForeignPages(request);
    const query = mark === -1 ? "" : url.slice(mark + 1);
    await route({ request, response, rest: isOne ? path.slice(key.length) : "", query });
  };
  return {
    handler: (request, response) => {
      answer(request, response).catch((thrown: unknown) =>
        answerProblem(request, response, toSluiceError(thrown, logger), hub.metrics),
      );
    },
    close: () => exporter.close(),
  };
}

function readable(route: AdminRoute): Methods {
  return { GET: route, HEAD: route };
}

/** A page can send such a request without being allowed to read the answer: the harm would be done. */
function refuseForeignPages({ headers: { origin, host = "" } }: IncomingMessage): void {
  if (origin === undefined || isSameOrigin(origin, host)) return;
  throw new SluiceError("origin_forbidden", `Origin is ${JSON.stringify(origin.slice(0, 80))}`);
}

function methodNotAllowed(method: string, methods: readonly string[]): RefusedError {
  const error = new SluiceError(
    "method_not_allowed",
    `${method} is not one of ${methods.join(", ")}`,
  );
  return new RefusedError(error, { headers: { Allow: methods.join(", ") } });
}
