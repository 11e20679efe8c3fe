import type { IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import type { HeaderList } from "../../upstreams/message.ts";
import { EXPOSED } from "../guard.ts";

/**
 * What belongs to one connection and is never forwarded (RFC 9110, 7.6.1; the older names by
 * practice), beside what `Connection` names. `expect` is answered here, and `host` is the origin's.
 */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
]);
const ANSWERED_HERE: ReadonlySet<string> = new Set(["expect", "host"]);
/** What earlier hops say of the client. Anybody can write them: believed only of a trusted proxy. */
const FORWARDED: ReadonlySet<string> = new Set([
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-port",
  "x-forwarded-proto",
  "x-real-ip",
]);
/** What describes the body, or is what the stream was chosen by: no allow-list takes it away. */
const ALWAYS_ALLOWED: ReadonlySet<string> = new Set([
  "accept",
  "content-encoding",
  "content-length",
  "content-type",
  "last-event-id",
]);

export interface Forwarding {
  /** How this gateway calls itself in `Via`; a request that carries it already has come round. */
  readonly pseudonym: string;
  /** The only names that are forwarded, lower-case. Undefined: all. */
  readonly headersAllow: readonly string[] | undefined;
  /** Proxies in front that are believed. */
  isTrusted(address: string): boolean;
}

/**
 * The end-to-end headers of a list: without hop-by-hop ones and those that `Connection` names. They
 * are taken away before anything else is looked at. `Transfer-Encoding` and `Content-Length` never
 * both go on: framing is stated anew on the next connection (RFC 9112, 6.3).
 */
export function endToEnd(headers: HeaderList): [string, string][] {
  const named = new Set<string>();
  let isChunked = false;
  for (const [name, value] of headers) {
    if (name === "transfer-encoding") isChunked = true;
    if (name !== "connection") continue;
    for (const token of value.split(",")) named.add(token.trim().toLowerCase());
  }
  const kept: [string, string][] = [];
  for (const [name, value] of headers) {
    if (name.startsWith(":") || HOP_BY_HOP.has(name) || named.has(name)) continue;
    if (name === "content-length" && isChunked) continue;
    kept.push([name, value]);
  }
  return kept;
}

/** The names in lower case, the values as they came. */
export function headersOf({ rawHeaders }: IncomingMessage): [string, string][] {
  const headers: [string, string][] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    headers.push([(rawHeaders[index] as string).toLowerCase(), rawHeaders[index + 1] as string]);
  }
  return headers;
}

/** True for a request that this very gateway has forwarded: it would go round for ever. */
export function hasComeRound(request: IncomingMessage, pseudonym: string): boolean {
  const via = request.headers["via"];
  return via !== undefined && via.includes(pseudonym);
}

/**
 * What is forwarded of a request: end-to-end headers that the route allows, and what the next hop must
 * know of this one: `X-Forwarded-For`, `-Proto` and `-Host`, and `Via` (RFC 9110, 7.6.3). What a client
 * says of itself in them is replaced; what a trusted proxy says is kept, and its address appended.
 */
export function forwardedHeaders(request: IncomingMessage, forwarding: Forwarding): HeaderList {
  const { headersAllow, pseudonym } = forwarding;
  const headers = headersOf(request);
  const peer = request.socket.remoteAddress ?? "";
  const isBelieved = forwarding.isTrusted(peer);
  const kept: [string, string][] = [];
  for (const [name, value] of endToEnd(headers)) {
    if (ANSWERED_HERE.has(name) || name === "via" || FORWARDED.has(name)) continue;
    if (headersAllow !== undefined && !ALWAYS_ALLOWED.has(name) && !headersAllow.includes(name)) {
      continue;
    }
    kept.push([name, value]);
  }
  const earlier = (name: string): string | undefined => {
    if (!isBelieved) return undefined;
    const values = headers.filter((header) => header[0] === name).map((header) => header[1]);
    return values.length === 0 ? undefined : values.join(", ");
  };
  const proto = (request.socket as Partial<TLSSocket>).encrypted === true ? "https" : "http";
  const hops = earlier("x-forwarded-for");
  kept.push(["x-forwarded-for", hops === undefined ? peer : `${hops}, ${peer}`]);
  kept.push(["x-forwarded-proto", earlier("x-forwarded-proto") ?? proto]);
  const host = earlier("x-forwarded-host") ?? request.headers.host;
  if (host !== undefined) kept.push(["x-forwarded-host", host]);
  for (const name of ["forwarded", "x-forwarded-port", "x-real-ip"]) {
    const value = earlier(name);
    if (value !== undefined) kept.push([name, value]);
  }
  const vias = headers.filter(([name]) => name === "via").map(([, value]) => value);
  kept.push(["via", [...vias, `1.${request.httpVersionMinor} ${pseudonym}`].join(", ")]);
  return kept;
}

/** Of a stream's head: Sluice states these itself, or they speak of bytes that it frames anew. */
const STREAM_OWN: ReadonlySet<string> = new Set([
  "accept-ranges",
  "age",
  "cache-control",
  "content-encoding",
  "content-length",
  "content-type",
  "date",
  "etag",
  "expires",
  "last-modified",
  "pragma",
  "sluice-connection",
  "sluice-run",
  "vary",
  "x-accel-buffering",
  "x-content-type-options",
]);

/**
 * What of the origin's head goes to the readers of its stream: `x-vercel-ai-ui-message-stream`, CORS
 * and whatever else its clients look for. Where several share it `Set-Cookie` does not: it was meant
 * for one (S06).
 */
export function streamHead(headers: HeaderList, isShared: boolean): Record<string, string> {
  // Without a prototype: names such as `constructor` are headers too.
  const head = Object.create(null) as Record<string, string | string[]>;
  for (const [name, value] of endToEnd(headers)) {
    if (STREAM_OWN.has(name) || (name === "set-cookie" && isShared)) continue;
    // Of another gateway behind this one: its runs cannot be read here.
    if (name === "link" && value.startsWith("</v1/runs/")) continue;
    const earlier = head[name];
    if (earlier === undefined) head[name] = value;
    else head[name] = Array.isArray(earlier) ? [...earlier, value] : [earlier, value];
  }
  // Its pages must see what Sluice adds: the id of a run above all.
  if (head["access-control-allow-origin"] !== undefined) {
    const its = head["access-control-expose-headers"] ?? [];
    head["access-control-expose-headers"] = [its, EXPOSED].flat().join(", ");
  }
  // Node writes one line for each element (`OutgoingHttpHeaders`).
  return head as Record<string, string>;
}
