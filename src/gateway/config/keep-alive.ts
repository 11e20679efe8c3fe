/** What stands in front, and how long it lets connections to us idle before it drops them. */
export interface Front {
  /** A connection that it keeps for reuse, in milliseconds; 0 where nothing is known to stand in front. */
  readonly reuseMs: number;
  /** A stream that brings nothing, in milliseconds; 0 where that is no reason for it to cut. */
  readonly quietMs: number;
  /** What is ours for it: longer than `reuseMs`, in milliseconds. */
  readonly timeoutMs: number;
}

/**
 * Whoever reuses connections must be the one who drops them: it may send the next request while our
 * end is on its way, and its client sees a 502. So ours is longer than what each keeps by default:
 * nginx `keepalive_timeout` 60 s and `proxy_read_timeout` 60 s; AWS ALB idle timeout 60 s; Google's
 * load balancer keeps 600 s, which cannot be changed, and cuts streams by total time alone.
 */
export const FRONTS = {
  none: { reuseMs: 0, quietMs: 0, timeoutMs: 50_000 },
  nginx: { reuseMs: 60_000, quietMs: 60_000, timeoutMs: 75_000 },
  alb: { reuseMs: 60_000, quietMs: 60_000, timeoutMs: 75_000 },
  gcp: { reuseMs: 600_000, quietMs: 0, timeoutMs: 620_000 },
} as const satisfies Record<string, Front>;

export type FrontName = keyof typeof FRONTS;

export interface KeepAliveConfig {
  /** In milliseconds; 0 is what `front` needs. */
  readonly timeout: number;
  readonly front: FrontName;
}

/** How long a connection without a request is kept, in milliseconds. */
export function keepAliveMsOf({ timeout, front }: KeepAliveConfig): number {
  return timeout > 0 ? timeout : FRONTS[front].timeoutMs;
}
