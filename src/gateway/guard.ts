import type { IncomingMessage, ServerResponse } from "node:http";
import { SluiceError } from "../core/errors.ts";
import { isLoopbackHost, isSameOrigin } from "./loopback.ts";

export interface GuardOptions {
  /** Without authentication: loopback names only, and pages of this host or of `corsOrigins` only. */
  readonly isOpen: boolean;
  /** Origins as browsers write them, compared as a whole; or `*`. */
  readonly corsOrigins: readonly string[];
}

/** Two of one of these and each hop may believe another one (S16). Node joins them or keeps the first. */
const ONCE = new Set(["host", "last-event-id", "authorization", "idempotency-key", "origin"]);
const PREFLIGHT_AGE_S = 600;

/**
 * Refuses what must not reach any route: ambiguous requests everywhere, foreign names and pages in open
 * mode. Throws `request_malformed`, `request_target_invalid`, `header_duplicate`, `expectation_failed`,
 * `host_forbidden` or `origin_forbidden`.
 */
export function guard(request: IncomingMessage, options: GuardOptions): void {
  const { url = "" } = request;
  if (!url.startsWith("/") && !(url === "*" && request.method === "OPTIONS")) {
    throw new SluiceError("request_target_invalid", "the request target is no path");
  }
  if (url.includes("#")) {
    throw new SluiceError("request_target_invalid", "the request target has a fragment");
  }
  refuseDuplicates(request.rawHeaders);
  const { host } = request.headers;
  if (host === undefined && request.httpVersionMinor > 0) {
    throw new SluiceError("request_malformed", "there is no Host header (RFC 9112, 3.2)");
  }
  refuseExpectation(request);
  if (!options.isOpen) return;
  // HTTP/1.0 without Host comes from no browser, so no page can have sent it.
  if (host !== undefined && !isLoopbackHost(host)) {
    throw new SluiceError("host_forbidden", `Host is ${JSON.stringify(host.slice(0, 80))}`);
  }
  const { origin } = request.headers;
  if (origin === undefined || allowedOrigin(origin, options) !== undefined) return;
  if (host !== undefined && isSameOrigin(origin, host)) return;
  throw new SluiceError("origin_forbidden", `Origin is ${JSON.stringify(origin.slice(0, 80))}`);
}

/** What pages of other origins may read of a head of ours. */
export const EXPOSED = "Sluice-Connection, Sluice-Run, Retry-After";

/**
 * Lets pages of the allowed origins read the answer, whatever it will be. Never with credentials, and
 * the origin that is named is one from the list, or `*`: nothing is reflected (S22).
 */
export function setCorsHeaders(
  request: IncomingMessage,
  response: ServerResponse,
  options: GuardOptions,
): void {
  const { origin } = request.headers;
  if (origin === undefined) return;
  const allowed = allowedOrigin(origin, options);
  if (allowed === undefined) return;
  response.setHeader("Access-Control-Allow-Origin", allowed);
  response.setHeader("Access-Control-Expose-Headers", EXPOSED);
}

/** Answers `OPTIONS`: what may be done here and, to a preflight of an allowed origin, that it may. */
export function answerOptions(
  request: IncomingMessage,
  response: ServerResponse,
  methods: readonly string[],
): void {
  const allow = methods.join(", ");
  const headers: Record<string, string> = { Allow: allow, Vary: "Accept, Origin" };
  const isPreflight = request.headers["access-control-request-method"] !== undefined;
  if (isPreflight && response.hasHeader("Access-Control-Allow-Origin")) {
    headers["Access-Control-Allow-Methods"] = allow;
    headers["Access-Control-Allow-Headers"] = "Last-Event-ID, Content-Type, Idempotency-Key";
    headers["Access-Control-Max-Age"] = String(PREFLIGHT_AGE_S);
  }
  response.writeHead(204, headers).end();
}

function allowedOrigin(origin: string, { corsOrigins }: GuardOptions): string | undefined {
  if (corsOrigins.includes(origin)) return origin;
  return corsOrigins.includes("*") ? "*" : undefined;
}

/** RFC 9110, 10.1.1: 417 for what is not known; on HTTP/1.0 expectations are ignored. */
function refuseExpectation({ headers: { expect }, httpVersionMinor }: IncomingMessage): void {
  if (expect === undefined || httpVersionMinor === 0 || /^100-continue$/i.test(expect)) return;
  throw new SluiceError("expectation_failed", `Expect is ${JSON.stringify(expect.slice(0, 80))}`);
}

function refuseDuplicates(rawHeaders: readonly string[]): void {
  let seen: Set<string> | undefined;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] as string).toLowerCase();
    if (!ONCE.has(name)) continue;
    seen ??= new Set();
    if (seen.has(name)) throw new SluiceError("header_duplicate", `${name} was sent twice`);
    seen.add(name);
  }
}
