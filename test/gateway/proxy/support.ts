// Real origins on free ports of this machine, and a gateway in front of them.
import { createServer } from "node:http";
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import { ROUTE_DEFAULTS } from "../../../src/gateway/proxy/route.ts";
import type { ProxyRoute } from "../../../src/gateway/proxy/route.ts";
import { parseOrigin } from "../../../src/upstreams/origin.ts";
import type { PoolOptionsInput } from "../../../src/upstreams/pool/pool-options.ts";
import { startWorld } from "../support.ts";
import type { World, WorldOptions } from "../support.ts";

export interface OriginRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
}

export interface TestOrigin {
  readonly url: string;
  readonly port: number;
  readonly requests: OriginRequest[];
  /** Responses that have not ended. */
  readonly open: Set<ServerResponse>;
  /** Destroys every connection and listens no more. */
  stop(): Promise<void>;
  /** Listens on the same port again. */
  start(): Promise<void>;
}

export type Handler = (
  request: IncomingMessage,
  response: ServerResponse,
  origin: TestOrigin,
) => void;

/** An origin on `node:http`; the end of the test closes it. */
export async function startOrigin(handler: Handler): Promise<TestOrigin> {
  let server: Server;
  let port = 0;
  const requests: OriginRequest[] = [];
  const open = new Set<ServerResponse>();
  const start = async (): Promise<void> => {
    server = createServer((request, response) => {
      const { method = "", url = "", headers, rawHeaders } = request;
      requests.push({ method, url, headers, rawHeaders });
      open.add(response);
      response.once("close", () => open.delete(response));
      handler(request, response, origin);
    });
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    port = (server.address() as AddressInfo).port;
  };
  const stop = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  };
  const origin: TestOrigin = {
    get url() {
      return `http://127.0.0.1:${port}`;
    },
    get port() {
      return port;
    },
    requests,
    open,
    stop,
    start,
  };
  await start();
  onTestFinished(async () => {
    if (server.listening) await stop();
  });
  return origin;
}

export const SSE_HEADERS = { "content-type": "text/event-stream", "cache-control": "no-cache" };
export const ASKS = { accept: "text/event-stream" };
/** What a browser's EventSource sends. */
export const BROWSER = {
  accept: "text/event-stream",
  "sec-fetch-mode": "cors",
  "user-agent": "Mozilla/5.0 (X11; Linux x86_64)",
};

/** `id: n`, `data: <text>`, one after another. */
export function event(data: string, id?: string | number): string {
  return `${id === undefined ? "" : `id: ${id}\n`}data: ${data}\n\n`;
}

/** An origin that numbers its events, keeps them all, and honours `Last-Event-ID`. */
export interface CountingOrigin extends TestOrigin {
  /** Sends the next `count` events to every open stream. */
  emit(count: number): void;
  readonly sent: number;
}

export async function startCountingOrigin(): Promise<CountingOrigin> {
  let sent = 0;
  const origin = await startOrigin((request, response) => {
    response.writeHead(200, SSE_HEADERS);
    const last = Number(request.headers["last-event-id"] ?? 0);
    response.write(": hello\n\n");
    for (let id = last + 1; id <= sent; id += 1) response.write(event(`e${id}`, id));
  });
  return Object.defineProperties(origin, {
    sent: { get: () => sent },
    emit: {
      value: (count: number) => {
        for (let left = count; left > 0; left -= 1) {
          sent += 1;
          for (const response of origin.open) response.write(event(`e${sent}`, sent));
        }
      },
    },
  }) as CountingOrigin;
}

export interface Front extends World {
  readonly route: ProxyRoute;
}

/** A gateway that puts everything in front of `origin`. */
export async function startFront(
  origin: { readonly url: string },
  route: Partial<ProxyRoute> = {},
  options: WorldOptions = {},
  pool: PoolOptionsInput = {},
): Promise<Front> {
  const whole: ProxyRoute = {
    ...ROUTE_DEFAULTS,
    match: "/**",
    origin: parseOrigin(origin.url, { isNamed: true }),
    ...route,
  };
  const world = await startWorld({
    ...options,
    gateway: { hasPlayground: false, ...options.gateway, upstreams: { routes: [whole], pool } },
  });
  return Object.assign(world, { route: whole });
}
