import { Attempt } from "./attempt.ts";
import { BACKOFF_DEFAULTS, backoffMs, isRetryable, retryAfterMs, sleep } from "./backoff.ts";
import type { BackoffOptions } from "./backoff.ts";
import { SluiceClientError, isRedirect, redirectRefused, refusalOf } from "./error.ts";
import { checkRequest, topicUrl } from "./url.ts";

export interface PublishRequestOptions {
  /** Where Sluice is: `http://127.0.0.1:8080`, or the URL it is mounted at. */
  readonly url: string | URL;
  readonly topic: string;
  /** Text or its UTF-8 bytes; of a batch, one JSON value a line. */
  readonly data: string | Uint8Array<ArrayBuffer>;
  /** What `data` is. `json` is checked by the server, `ndjson` is one event a line, all or none. @defaultValue "text" */
  readonly type?: "text" | "json" | "ndjson";
  /** `event:` name. @defaultValue none, which EventSource dispatches as `message` */
  readonly event?: string | undefined;
  /** Conflation key. */
  readonly key?: string | undefined;
  /** Makes repeats safe. 1-255 printable ASCII characters. @defaultValue a random one */
  readonly idempotencyKey?: string | undefined;
  /** Requests in all, if the server cannot be reached or says that it may be tried again. @defaultValue 4 */
  readonly attemptsMax?: number;
  /** For the answer to one request, in milliseconds. @defaultValue 30,000 */
  readonly timeoutMs?: number;
  readonly backoff?: Partial<BackoffOptions>;
  /** Added to the request, such as `Authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  /** @defaultValue globalThis.fetch */
  readonly fetch?: typeof globalThis.fetch;
}

export interface PublishReceipt {
  /** The cursor of the event; of a batch, of its last. */
  readonly id: string;
  /** Of a batch, the cursor of its first event. */
  readonly first: string;
  readonly count: number;
  /** What the events have survived: `memory`, `os`, `fsync` or `replicated`. */
  readonly durability: string;
  /** The idempotency key was seen before; nothing was appended now. */
  readonly isDuplicate: boolean;
}

const TYPES = {
  text: "text/plain; charset=utf-8",
  json: "application/json",
  ndjson: "application/x-ndjson",
} as const;

/**
 * Appends an event, or a batch. When it resolves they are in the log at the durability named in the
 * receipt, once, however often the request had to be repeated.
 *
 * Rejects with `SluiceClientError` `request_invalid` (nothing was sent), `refused` (nothing was
 * appended), `not_sluice`, or `unreachable` (unknown: repeat with the same idempotency key), and with
 * the signal's reason when it aborts.
 */
export async function publish(options: PublishRequestOptions): Promise<PublishReceipt> {
  const { signal, attemptsMax = 4 } = options;
  checkRequest(options);
  const backoff = { ...BACKOFF_DEFAULTS, baseMs: 200, ...options.backoff };
  const idempotencyKey = options.idempotencyKey ?? randomKey();
  let failure: unknown;
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    if (attempt > 0) await sleep(backoffMs(attempt - 1, backoff), signal);
    signal?.throwIfAborted();
    try {
      const { receipt, waitMs, error } = await post(options, idempotencyKey);
      if (receipt !== undefined) return receipt;
      failure = error;
      // Never earlier than the server asks for, and nobody waits for a publish that long.
      if (waitMs > backoff.capMs) break;
      if (attempt + 1 < attemptsMax) await sleep(waitMs, signal);
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof SluiceClientError) throw error;
      failure = error;
    }
  }
  if (failure instanceof SluiceClientError) throw failure;
  const { origin } = new URL(options.url);
  throw new SluiceClientError("unreachable", `no answer from ${origin}`, { cause: failure });
}

interface Outcome {
  readonly receipt?: PublishReceipt;
  /** What the server asks for before the request is repeated. */
  readonly waitMs: number;
  readonly error?: SluiceClientError;
}

async function post(options: PublishRequestOptions, key: string): Promise<Outcome> {
  const { data, type = "text", headers, timeoutMs = 30_000, fetch = globalThis.fetch } = options;
  const url = topicUrl(options.url, options.topic);
  if (options.event !== undefined) url.searchParams.set("event", options.event);
  if (options.key !== undefined) url.searchParams.set("key", options.key);
  const attempt = new Attempt(options.signal);
  const request = async (): Promise<Outcome> => {
    const response = await fetch(url, {
      method: "POST",
      body: data,
      headers: { ...headers, "Content-Type": TYPES[type], "Idempotency-Key": key },
      redirect: "manual",
      signal: attempt.signal,
    });
    if (isRedirect(response)) throw redirectRefused(response);
    if (response.ok) return { receipt: receiptOf(await response.json()), waitMs: 0 };
    const error = await refusalOf(response);
    if (!isRetryable(response.status)) throw error;
    return { error, waitMs: retryAfterMs(response) };
  };
  try {
    return await attempt.within(timeoutMs, "answer", request());
  } finally {
    attempt.close();
  }
}

function receiptOf(answer: unknown): PublishReceipt {
  const { id, first, last, count, durability, duplicate } = (answer ?? {}) as Record<
    string,
    unknown
  >;
  const place = id ?? last;
  if (typeof place !== "string" || typeof durability !== "string") {
    throw new SluiceClientError("not_sluice", "the answer is not that of a publish");
  }
  return {
    id: place,
    first: typeof first === "string" ? first : place,
    count: typeof count === "number" ? count : 1,
    durability,
    isDuplicate: duplicate === true,
  };
}

/** Not `randomUUID`, which browsers keep from pages of plain HTTP. */
function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
