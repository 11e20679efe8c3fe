import type { IncomingMessage, ServerResponse } from "node:http";
import { SluiceError } from "../core/errors.ts";
import type { Hub } from "../core/hub.ts";
import { createPrometheusExporter } from "../exporters/prometheus.ts";
import { plainHeaders } from "../wire/headers.ts";
import { guard } from "./guard.ts";
import type { Logger } from "./logger.ts";
import { answerProblem, RefusedError, toSluiceError } from "./problem.ts";

export interface Admin {
  readonly handler: (request: IncomingMessage, response: ServerResponse) => void;
  close(): void;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

export interface AdminOptions {
  readonly isReady: () => boolean;
  /** The listener's own address is loopback: the guard's rules of open mode hold, but for the probes. */
  readonly isOpen: boolean;
  readonly logger: Logger;
}

/** They tell nobody anything, and probes call by whatever name they have. */
const PROBES = ["/livez", "/readyz"];

/**
 * What operators ask, on a listener of its own: `/livez` (the process answers), `/readyz` (it should
 * be sent traffic) and `/metrics`. A website whose name resolves to 127.0.0.1 (DNS rebinding) reads no metrics.
 */
export function createAdmin(hub: Hub, { isReady, isOpen, logger }: AdminOptions): Admin {
  const exporter = createPrometheusExporter(hub.metrics, () => hub.measure());
  const routes: Readonly<Record<string, () => Answer | Promise<Answer>>> = {
    "/livez": () => ({ status: 200, type: "text/plain; charset=utf-8", body: "ok\n" }),
    "/readyz": () => readiness(isReady()),
    "/metrics": async () => ({
      status: 200,
      type: exporter.contentType,
      body: await exporter.render(),
    }),
  };
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = (request.url ?? "").split("?", 1)[0] ?? "";
    if (!PROBES.includes(path)) guard(request, { isOpen, corsOrigins: [] });
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    if (route === undefined) {
      throw new SluiceError(
        "not_found",
        `the admin listener has ${Object.keys(routes).join(", ")}`,
      );
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      const error = new SluiceError("method_not_allowed", `${request.method} is not GET or HEAD`);
      throw new RefusedError(error, { headers: { Allow: "GET, HEAD" } });
    }
    const { status, type, body } = await route();
    response.writeHead(status, {
      ...plainHeaders("1.1", type),
      "Content-Length": String(Buffer.byteLength(body)),
    });
    response.end(request.method === "HEAD" ? undefined : body);
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

function readiness(isReady: boolean): Answer {
  const body = isReady ? { status: "ready" } : { status: "closing", reason: "shutting_down" };
  return {
    status: isReady ? 200 : 503,
    type: "application/json",
    body: `${JSON.stringify(body)}\n`,
  };
}
