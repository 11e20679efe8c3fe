import type { ServerResponse } from "node:http";
import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { SluiceError } from "../core/errors.ts";
import type { Metrics } from "../core/metrics.ts";
import { abortStream, carriesStream } from "../transports/sse-http1.ts";
import { renderProblem } from "./problem.ts";

/** How long a connection lives on after the last answer, so that the answer arrives, in milliseconds. */
const LINGER_MS = 1_000;

/** Node's HTTP server notes here which response is next to leave. Its own error handler reads it too. */
type ServerSocket = Socket & { _httpMessage?: ServerResponse | null };

const answered = new WeakSet<Socket>();

/**
 * Answers what Node's parser refused. Such a connection is closed in any case; the question is whether
 * an answer may still be written. Not into a stream, and not while an earlier request of the connection
 * waits for its own: a publisher would take the refusal for it.
 */
export function answerClientError(
  error: NodeJS.ErrnoException,
  stream: Socket,
  metrics: Metrics,
): void {
  const socket = stream as ServerSocket;
  if (answered.has(socket)) return;
  answered.add(socket);
  // What the parser or its clock refused behind a stream; another error is the socket's own.
  const isRequest = /^(HPE_|ERR_HTTP_)/.test(error.code ?? "");
  if (isRequest && abortStream(socket, "protocol_error")) return;
  if (error.code === "ECONNRESET" || !socket.writable || carriesStream(socket)) {
    socket.destroy();
    return;
  }
  const outstanding = socket._httpMessage;
  const isOwn = outstanding === undefined || outstanding === null || !outstanding.req.complete;
  if (isOwn && outstanding?.headersSent !== true) {
    const refusal = refusalOf(error);
    metrics.add("sluice_requests_rejected_total", refusal.code);
    if (refusal.code === "request_timeout") {
      const isBody = outstanding !== undefined && outstanding !== null;
      metrics.add("sluice_rejected_total", isBody ? "body_timeout" : "header_timeout");
    }
    writeRawProblem(socket, refusal);
  }
  // The client has finished sending, in the middle of a request: nothing more will come.
  if (isOwn && error.code === "HPE_INVALID_EOF_STATE") return socket.destroySoon();
  // What still comes is read and dropped: closing with unread bytes would reset the connection.
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

/** 408 for a request whose body comes too slowly, or not at all; nothing of it was done. */
export function refuseStalledBody(response: ServerResponse, metrics: Metrics): void {
  const { socket } = response.req;
  // It was refused before its body came, and nothing more can be said.
  if (response.headersSent) return void socket.destroy();
  const error = new Error("the body made no progress");
  answerClientError(Object.assign(error, { code: "ERR_HTTP_REQUEST_TIMEOUT" }), socket, metrics);
}

/** Writes a whole response past Node's HTTP layer, and ends the connection. */
export function writeRawProblem(
  socket: Socket,
  error: SluiceError,
  extra: Readonly<Record<string, string>> = {},
): void {
  const { status, headers, body } = renderProblem(error);
  const lines = Object.entries({ ...headers, ...extra, Connection: "close" }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("")}\r\n`);
  socket.end(body);
}

function refusalOf(error: NodeJS.ErrnoException): SluiceError {
  switch (error.code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new SluiceError("request_timeout", "the request was not complete in time");
    case "HPE_HEADER_OVERFLOW":
      return new SluiceError("headers_too_large", "the headers have more than 16 KiB");
    default:
      return new SluiceError("request_malformed", `the request cannot be parsed: ${error.code}`);
  }
}
