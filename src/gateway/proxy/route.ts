import type { Origin } from "../../upstreams/origin.ts";
import type { ReadersGone } from "../../upstreams/runs/run-options.ts";

/**
 * How Sluice speaks of itself in a proxied stream. `comments`: only in SSE comments, because the
 * clients of other people's streams parse every `data:`. `events`: `event: close`, `gap` and `end` as
 * in its own topics.
 */
export const CONTROLS = ["comments", "events"] as const;
export type Control = (typeof CONTROLS)[number];

/** `auto`: requests for the same stream share one upstream request. `never`: each has its own. */
export const SHARES = ["auto", "never"] as const;
export type Share = (typeof SHARES)[number];

/**
 * What the clean end of an upstream stream means. `auto`: the end, unless the stream had ids, which an
 * EventSource would have used to reconnect; `reconnect` and `end` say which.
 */
export const ON_ENDS = ["auto", "reconnect", "end"] as const;
export type OnEnd = (typeof ON_ENDS)[number];

/** Which requests go to which origin, and how; resolved. */
export interface ProxyRoute {
  /** Path pattern: segments as they are written, `*` is one of them, a final `**` is all that follow. */
  readonly match: string;
  readonly origin: Origin;
  /** The only request headers that are forwarded, lower-case. Undefined: all but hop-by-hop ones. */
  readonly headersAllow?: readonly string[] | undefined;
  readonly share: Share;
  /** How long an upstream stream outlives its last reader, in milliseconds. */
  readonly lingerMs: number;
  /** How much of a shared stream is kept for readers that come (back) late, in bytes of frames. */
  readonly windowBytes: number;
  readonly control: Control;
  readonly onEnd: OnEnd;
  /** What becomes of a run that nobody reads any more. */
  readonly onReadersGone: ReadersGone;
  /** How long a run that is over can be read, in milliseconds. */
  readonly runTtlMs: number;
  /** Until the head of the origin's response, in milliseconds. */
  readonly headersMsMax: number;
  /** Silence of an upstream stream after which it is given up and asked for again, in milliseconds. */
  readonly idleMsMax: number;
}

/** What a route has that does not say otherwise. */
export const ROUTE_DEFAULTS: Omit<ProxyRoute, "match" | "origin"> = Object.freeze({
  share: "auto",
  lingerMs: 10_000,
  windowBytes: 4 * 1024 * 1024,
  control: "comments",
  onEnd: "auto",
  onReadersGone: Object.freeze({ kind: "grace", ms: 30_000 } as const),
  runTtlMs: 3_600_000,
  headersMsMax: 60_000,
  idleMsMax: 60_000,
});
