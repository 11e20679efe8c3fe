import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { SluiceError } from "../core/errors.ts";
import type { Hub } from "../core/hub.ts";
import { watchBody } from "./body-deadline.ts";
import { awaitContinue, hasBody } from "./body.ts";
import { answerClientError, refuseStalledBody, writeRawProblem } from "./client-error.ts";
import type { Gateway } from "./gateway.ts";
import { silentLogger } from "./logger.ts";
import type { Logger } from "./logger.ts";
import { keepAliveSetter } from "./tcp-keepalive.ts";
import { createTlsServer } from "./tls.ts";
import type { TlsIdentity } from "./tls.ts";

/** See facts of measurement in docs/architecture.md; none of these touches a running stream. */
const HTTP_OPTIONS = {
  // Against slow headers: with Node's defaults 50 connections that drip for 20 s are all kept.
  headersTimeout: 10_000,
  connectionsCheckingInterval: 2_000,
  // A body is timed by its progress instead: see body-deadline.ts.
  requestTimeout: 0,
  noDelay: true,
  // Without a delay: a delay would set the probes' interval to 1 s, whatever the system says.
  keepAlive: true,
  // A missing Host is refused by the guard, with a problem document.
  requireHostHeader: false,
} as const;

export interface HttpServerOptions {
  /**
   * A connection without a request is kept for so long, in milliseconds; its peer is told so, and has
   * one second more (Node's `keepAliveTimeoutBuffer`). @defaultValue 50,000
   */
  readonly keepAliveMs?: number | undefined;
  /** Speaks HTTPS with it. @defaultValue HTTP */
  readonly tls?: TlsIdentity | undefined;
  /** @defaultValue says nothing */
  readonly logger?: Logger;
}

/** A server with every limit set and every event of a socket handled. It is not listening yet. */
export function createHttpServer(
  handler: Gateway["handler"],
  hub: Hub,
  { keepAliveMs = 50_000, tls, logger = silentLogger }: HttpServerOptions = {},
): Server {
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    if (hasBody(request)) watchBody(request, () => refuseStalledBody(response, hub.metrics));
    handler(request, response);
  };
  const options = { ...HTTP_OPTIONS, keepAliveTimeout: keepAliveMs };
  const server =
    tls === undefined
      ? createServer(options, handle)
      : createTlsServer(options, tls, handle, hub.metrics, logger);
  server.on("checkContinue", (request, response) => {
    awaitContinue(request);
    handle(request, response);
  });
  // Another expectation: the guard refuses it. Node's own answer is a bare 417.
  server.on("checkExpectation", handle);
  server.on("connection", onConnection);
  server.on("connection", keepAliveSetter(hub.heartbeatMs));
  server.on("connect", (_request: IncomingMessage, socket) => {
    hub.metrics.add("sluice_requests_rejected_total", "method_not_allowed");
    const error = new SluiceError("method_not_allowed", "this is no proxy");
    writeRawProblem(socket as Socket, error, { Allow: "GET, HEAD, POST, PUT, DELETE, OPTIONS" });
    socket.resume();
    (socket as Socket).destroySoon();
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    answerClientError(error, socket as Socket, hub.metrics);
  });
  return server;
}

/** From the first moment: an error of a socket without a listener would end the process. */
function onConnection(socket: Socket): void {
  socket.on("error", ignore);
}

function ignore(): void {}
