import { createServer } from "node:http";
import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";
import { SluiceError } from "../core/errors.ts";
import type { Hub } from "../core/hub.ts";
import { awaitContinue } from "./body.ts";
import { answerClientError, writeRawProblem } from "./client-error.ts";
import type { Gateway } from "./gateway.ts";

/** See facts of measurement in docs/architecture.md; none of these touches a running stream. */
const HTTP_OPTIONS = {
  keepAliveTimeout: 50_000,
  // Against slow headers: with Node's defaults 50 connections that drip for 20 s are all kept.
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 2_000,
  noDelay: true,
  // Without a delay: a delay would set the probes' interval to 1 s, whatever the system says.
  keepAlive: true,
  // A missing Host is refused by the guard, with a problem document.
  requireHostHeader: false,
} as const;

/** A server with every limit set and every event of a socket handled. It is not listening yet. */
export function createHttpServer(handler: Gateway["handler"], hub: Hub): Server {
  const server = createServer(HTTP_OPTIONS, (request, response) => handler(request, response));
  server.on("checkContinue", (request, response) => {
    awaitContinue(request);
    handler(request, response);
  });
  // Another expectation: the guard refuses it. Node's own answer is a bare 417.
  server.on("checkExpectation", (request, response) => handler(request, response));
  server.on("connection", onConnection);
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
