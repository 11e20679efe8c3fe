import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { RefusalReason } from "../core/admission.ts";
import { closeFrame, retryFrame } from "../core/control.ts";
import { SluiceError } from "../core/errors.ts";
import type { Runtime } from "../internal/clock.ts";
import { plainHeaders, streamHeaders } from "../wire/headers.ts";
import { holdForEver } from "./held.ts";
import { endBehindBody, RefusedError } from "./problem.ts";

export const OVERLOAD_RESPONSES = ["auto", "status", "soft"] as const;

export interface OverloadOptions {
  /**
   * How a subscription is refused. `status` is 503; `soft` is a 200 that says `event: close` and ends, which
   * EventSource survives, for all but those who declare `?on_overload=status`; `auto` is `soft` for what
   * would not come back after a status, and `status` for all others. @defaultValue "auto"
   */
  readonly response: (typeof OVERLOAD_RESPONSES)[number];
  /** Whoever is refused is told to wait so long, in milliseconds. @defaultValue 30,000 */
  readonly retryAfterMs: number;
  /** The wait of the status form is longer by a random share of up to this; 0 to 10. @defaultValue 0 */
  readonly retryAfterJitter: number;
}

export const OVERLOAD_DEFAULTS: OverloadOptions = {
  response: "auto",
  retryAfterMs: 30_000,
  retryAfterJitter: 0,
};

type Form = "status" | "soft";

/** What a refusal is made with. */
export interface Refusing {
  readonly options: OverloadOptions;
  readonly runtime: Runtime;
  /** The usual reconnect delay before jitter, in milliseconds: a gateway that drains is replaced at once. */
  readonly retryMs: number;
  /** Of a stream that is not ours: its clients parse every `data:`, so that is said in a comment. */
  readonly isQuiet?: boolean;
}

/**
 * Which form this request gets. `EventSource` never comes back after a status other than 200 (WHATWG HTML,
 * 9.2.3) and cannot see one, so it must get the soft form; but a soft 200 would tell a health probe
 * that all is well, and hide `Retry-After` from those who read it. What behaves as EventSource: it
 * accepts event streams by name and either sends Fetch metadata or calls itself a browser.
 */
export function refusalForm(request: IncomingMessage, response: OverloadOptions["response"]): Form {
  if (response === "status" || request.method !== "GET") return "status";
  const said = /[?&]on_overload=(status|soft)(?:&|$)/.exec(request.url ?? "")?.[1];
  if (said !== undefined) return said as Form;
  if (response === "soft") return "soft";
  const { accept = "", "user-agent": agent = "", "sec-fetch-mode": mode } = request.headers;
  // By name: a wildcard is what probes and tools send.
  if (!/(?:^|,)\s*text\/event-stream\s*(?:[;,]|$)/i.test(accept)) return "status";
  return mode !== undefined || agent.startsWith("Mozilla/") ? "soft" : "status";
}

/**
 * Refuses for want of room, in the form that the client survives (law 16), and closes the connection.
 * `per_ip` has an error of its own, which the status form throws. Nothing of the request is done.
 */
export function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  reason: RefusalReason,
  refusing: Refusing,
): void {
  if (refusalForm(request, refusing.options.response) === "soft") {
    refuseSoftly(request, response, reason, refusing);
  } else if (reason === "per_ip") {
    throw tooManyConnections(refusing);
  } else {
    refuseByStatus(request, response, refusing);
  }
}

/** The same bytes past Node's HTTP layer, at accept, before any request was read. */
export function refuseRaw(socket: Socket, { options, runtime }: Refusing): void {
  holdForEver(socket);
  const { fields, body } = exhausted(options, runtime);
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  const date = new Date(runtime.wallTime()).toUTCString();
  socket.end(
    `HTTP/1.1 503 Service Unavailable\r\n${lines.join("")}Date: ${date}\r\nConnection: close\r\n\r\n${body}`,
  );
}

/** Exactly this: see docs/protocol.md, 5.7. The body says what the header says. */
function exhausted(
  options: OverloadOptions,
  runtime: Runtime,
): { fields: Record<string, string>; body: string } {
  const seconds = retryAfterSeconds(options, runtime);
  const headers = plainHeaders("1.1", "text/plain");
  return {
    fields: {
      "Retry-After": String(seconds),
      "Content-Type": "text/plain",
      "Cache-Control": headers["Cache-Control"] ?? "no-store",
      Vary: headers["Vary"] ?? "Accept, Origin",
    },
    body: `Connection pool exhausted. Retry in ${seconds}s.`,
  };
}

function retryAfterSeconds({ retryAfterMs, retryAfterJitter }: OverloadOptions, runtime: Runtime) {
  return Math.ceil((retryAfterMs * (1 + runtime.random() * retryAfterJitter)) / 1_000);
}

function refuseByStatus(
  request: IncomingMessage,
  response: ServerResponse,
  { options, runtime }: Refusing,
): void {
  const { fields, body } = exhausted(options, runtime);
  holdForEver(request.socket);
  // The end of the connection delimits the body (RFC 9112, 6.3): no other fields than those promised.
  response.removeHeader("Content-Length");
  response.removeHeader("Transfer-Encoding");
  response.writeHead(503, { ...fields, Connection: "close" });
  endBehindBody(request, response, Buffer.from(body));
}

function refuseSoftly(
  request: IncomingMessage,
  response: ServerResponse,
  reason: RefusalReason,
  { options, runtime, retryMs, isQuiet = false }: Refusing,
): void {
  // Another instance, or the next start, answers soon after a drain; nobody need wait for capacity.
  const baseMs = reason === "draining" ? retryMs : options.retryAfterMs;
  const retry = retryFrame(baseMs * (0.5 + runtime.random()));
  holdForEver(request.socket);
  const version = request.httpVersionMinor === 0 ? "1.0" : "1.1";
  response.writeHead(200, { ...streamHeaders(version), Connection: "close" });
  // No id: the client comes back with the place that it had.
  const close = closeFrame("overloaded", isQuiet ? "quiet" : "plain");
  response.end(Buffer.concat([retry, close]));
}

function tooManyConnections({ options, runtime }: Refusing): RefusedError {
  const error = new SluiceError(
    "too_many_connections",
    "your address has as many connections as one may have",
  );
  const seconds = retryAfterSeconds(options, runtime);
  return new RefusedError(error, { headers: { "Retry-After": String(seconds) } });
}
