import type { Readable } from "node:stream";
import type { Lane } from "../core/settings.ts";
import type { Origin } from "./origin.ts";

/** Names in lower case, in the order of the wire; a name may come several times. */
export type HeaderList = readonly (readonly [name: string, value: string])[];

export interface UpstreamRequest {
  readonly origin: Origin;
  readonly method: string;
  /** Path and query, starts with `/`. */
  readonly path: string;
  /** Without hop-by-hop headers; Host comes from the origin unless given. */
  readonly headers: HeaderList;
  readonly body?: Uint8Array | Readable | undefined;
  readonly tenant: string;
  /** @defaultValue "normal" */
  readonly lane?: Lane;
  /** Until the head of the response, in milliseconds. @defaultValue that of the pool */
  readonly headersMsMax?: number;
  /** Aborts at any time, also while it waits for a socket. */
  readonly signal?: AbortSignal;
}

export interface UpstreamResponse {
  readonly status: number;
  readonly headers: HeaderList;
  readonly httpVersion: "1.1" | "2";
  /**
   * Buffers, with back-pressure. `destroy()` gives the socket back: pooled only if the body was read
   * to its end, else destroyed (HTTP/1.1) or RST_STREAM CANCEL (HTTP/2). Errors are `SluiceError`s
   * `upstream_*`, behind all that came before them, or the reason of `signal`, at once.
   */
  readonly body: Readable;
}

/** What belongs to one connection (RFC 9110, 7.6.1; the older names by practice). */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Without hop-by-hop headers, and without those that `Connection` names. Names are in lower case. */
export function withoutHopByHop(headers: HeaderList): [name: string, value: string][] {
  let named: string[] | undefined;
  for (const [name, value] of headers) {
    if (name !== "connection") continue;
    named = [...(named ?? []), ...value.split(",").map((token) => token.trim().toLowerCase())];
  }
  const kept: [string, string][] = [];
  for (const [name, value] of headers) {
    if (!HOP_BY_HOP.has(name) && named?.includes(name) !== true) kept.push([name, value]);
  }
  return kept;
}
