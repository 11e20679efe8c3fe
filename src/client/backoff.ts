/** How long to wait between attempts. */
export interface BackoffOptions {
  /** The longest first wait, in milliseconds; a `retry:` of the stream replaces it. @defaultValue 1,000 */
  readonly baseMs: number;
  /** The longest wait, in milliseconds. @defaultValue 30,000 */
  readonly capMs: number;
  /** A number in [0, 1). @defaultValue Math.random */
  readonly random: () => number;
}

export const BACKOFF_DEFAULTS: BackoffOptions = {
  baseMs: 1_000,
  capMs: 30_000,
  random: Math.random,
};

/** Doublings after which the cap holds whatever the base is. */
const EXPONENT_MAX = 16;

/**
 * The wait before attempt `attempt` (0 is the first repeat), in milliseconds: anything from 0 to the
 * bound, which doubles (full jitter: clients that lost the same server must not return together).
 */
export function backoffMs(attempt: number, { baseMs, capMs, random }: BackoffOptions): number {
  const bound = Math.min(capMs, baseMs * 2 ** Math.min(attempt, EXPONENT_MAX));
  return random() * bound;
}

/** A server that asks for more is not obeyed: nobody would wait. */
const RETRY_AFTER_MS_MAX = 3_600_000;

/** `Retry-After` in milliseconds (RFC 9110, 10.2.3: seconds or a date), at most an hour; 0 without one. */
export function retryAfterMs(response: Response): number {
  const value = response.headers.get("retry-after")?.trim() ?? "";
  const waitMs = /^[0-9]{1,9}$/.test(value)
    ? Number(value) * 1_000
    : Date.parse(value) - Date.now();
  return Number.isFinite(waitMs) ? Math.min(Math.max(waitMs, 0), RETRY_AFTER_MS_MAX) : 0;
}

/** Statuses after which the same request may succeed. */
export function isRetryable(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/** Resolves after `delayMs`, or at once when `signal` aborts; never rejects. */
export function sleep(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const finish = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", finish);
      resolve();
    };
    const timer = setTimeout(finish, delayMs);
    signal?.addEventListener("abort", finish, { once: true });
  });
}
