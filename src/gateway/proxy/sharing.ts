import type { HeaderList } from "../../upstreams/message.ts";
import type { ProxyRoute } from "./route.ts";

/**
 * What differs from reader to reader and says nothing of what they want. It is not part of the key,
 * and for that very reason not sent upstream with a shared request: an origin cannot make the stream
 * depend on what it does not see, whatever its `Vary` says. `X-Forwarded-For` and its like are on the
 * list, as nobody is whom the request is made for; proto and host are not: they choose the site.
 */
const IGNORED: ReadonlySet<string> = new Set([
  "accept",
  "accept-encoding",
  "age",
  "b3",
  "baggage",
  "cache-control",
  "content-length",
  "dnt",
  "forwarded",
  "if-modified-since",
  "if-none-match",
  "last-event-id",
  "max-forwards",
  "pragma",
  "priority",
  "save-data",
  "traceparent",
  "tracestate",
  "upgrade-insecure-requests",
  "user-agent",
  "via",
  "x-amzn-trace-id",
  "x-correlation-id",
  "x-forwarded-for",
  "x-forwarded-port",
  "x-real-ip",
  "x-request-id",
]);
/** Fetch metadata, client hints and Zipkin's: as above, for all that begin so. */
const IGNORED_PREFIXES = ["sec-", "x-b3-"] as const;

/** As gateways name themselves in `Via`; clients may write it too, so only so many are believed. */
const OF_GATEWAY = /^\s*1\.[01] sluice-[\w-]{12}\s*$/;
const HOPS_MAX = 8;

/** One upstream stream, and who may share it. */
export interface Sharing {
  /** Equal exactly when origin, path with query and all headers that are sent are equal, byte for byte. */
  readonly key: string;
  /** What is sent upstream: what is in the key, and what is the same for every request. */
  readonly headers: HeaderList;
}

/**
 * Which upstream stream a request may share. `forwarded` is what would be forwarded of it. Cookies and
 * credentials are headers like others: they must be equal, or nothing is shared. The order of different
 * names means nothing (RFC 9110, 5.3), so it makes no difference here.
 */
export function sharingOf(route: ProxyRoute, path: string, forwarded: HeaderList): Sharing {
  const sent = forwarded.filter(([name]) => !isIgnored(name));
  const byName = sent.toSorted((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
  // Of all gateways on the way: one that leads back to an earlier one is found out by them.
  const via = forwarded
    .filter(([name]) => name === "via")
    .flatMap(([, value]) => value.split(","))
    .filter((hop) => OF_GATEWAY.test(hop))
    .slice(-HOPS_MAX);
  return {
    key: keyOf([route.match, route.origin.key, path, ...byName.flat()]),
    headers: [
      ...byName,
      ["accept", "text/event-stream"],
      ["user-agent", "sluice"],
      ["via", via.length === 0 ? "1.1 sluice" : via.join(",").trim()],
    ],
  };
}

/** Length-prefixed parts: no two lists have one key (law 21, S03). */
export function keyOf(parts: readonly string[]): string {
  return parts.map((part) => `${part.length}:${part}`).join("");
}

function isIgnored(name: string): boolean {
  return IGNORED.has(name) || IGNORED_PREFIXES.some((prefix) => name.startsWith(prefix));
}
