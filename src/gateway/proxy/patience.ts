import { SluiceError } from "../../core/errors.ts";
import type { Runtime } from "../../internal/clock.ts";
import type { UpstreamResponse } from "../../upstreams/message.ts";

/** An origin that is just restarting is waited for so long in all, in milliseconds: clients wait meanwhile. */
const PATIENCE_MS = 5_000;
const ATTEMPTS_MAX = 4;
const DELAY_MS = 500;

/** What may be another answer a moment later. */
const PASSING_STATUSES: ReadonlySet<number> = new Set([429, 500, 502, 503, 504]);
const PASSING_ERRORS: ReadonlySet<string> = new Set(["upstream_unreachable", "upstream_protocol"]);

/** Decides how long to wait before a stream is asked for once more; undefined: not at all. */
export interface Patience {
  /** The origin's `Retry-After` counts, never less. */
  afterResponse(response: UpstreamResponse): number | undefined;
  afterError(error: unknown): number | undefined;
}

/** For one stream: a few attempts with full jitter, within 5 s. */
export function patienceOf(runtime: Runtime): Patience {
  const until = runtime.now() + PATIENCE_MS;
  let attempts = 1;
  const next = (atLeastMs: number): number | undefined => {
    const waitMs = atLeastMs + runtime.random() * DELAY_MS * attempts;
    attempts += 1;
    return attempts > ATTEMPTS_MAX || runtime.now() + waitMs > until ? undefined : waitMs;
  };
  return {
    afterResponse({ status, headers }) {
      if (!PASSING_STATUSES.has(status)) return undefined;
      return next(retryAfterMs(headers, runtime.wallTime()) ?? 100);
    },
    afterError(error) {
      const isPassing = error instanceof SluiceError && PASSING_ERRORS.has(error.code);
      return isPassing ? next(100) : undefined;
    },
  };
}

/** `Retry-After` in milliseconds: seconds, or a date (RFC 9110, 10.2.3). Undefined if it says nothing. */
export function retryAfterMs(
  headers: UpstreamResponse["headers"],
  wallTime: number,
): number | undefined {
  const value = headers.find(([name]) => name === "retry-after")?.[1].trim();
  if (value === undefined) return undefined;
  if (/^[0-9]{1,9}$/.test(value)) return Number(value) * 1_000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - wallTime);
}
