import { acknowledge } from "./ack.ts";
import { Attempt } from "./attempt.ts";
import { BACKOFF_DEFAULTS, backoffMs, isRetryable, retryAfterMs, sleep } from "./backoff.ts";
import type { BackoffOptions } from "./backoff.ts";
import { SluiceClientError, isRedirect, redirectRefused, refusalOf } from "./error.ts";
import type { ReceivedItem } from "./items.ts";
import { StreamReader } from "./reader.ts";
import { checkRequest, eventsUrl, topicUrl } from "./url.ts";

/** A connection was lost, or could not be made; the next attempt follows after `delayMs`. */
export interface Reconnect {
  readonly delayMs: number;
  readonly reason: string;
  /** The word of `event: close`, where the server said goodbye: `pool_draining`, `max_age` and the like. */
  readonly closing?: string;
}

export interface SubscribeOptions {
  /** Where Sluice is: `http://127.0.0.1:8080`, or the URL it is mounted at. */
  readonly url: string | URL;
  /** Topics, and patterns such as `orders/**`. All arrive in one order. */
  readonly topics: readonly string[];
  /** A cursor, or `earliest`, `latest`, `last:<n>`. @defaultValue "latest" */
  readonly from?: string;
  /** Ends the iteration without an error. */
  readonly signal?: AbortSignal | undefined;
  readonly backoff?: Partial<BackoffOptions>;
  /** The waits start afresh after a connection that lasted so long, in milliseconds. @defaultValue 5,000 */
  readonly stableMs?: number;
  /** For a connection and the head of its answer, in milliseconds. @defaultValue 10,000 */
  readonly connectMs?: number;
  /** For the first byte behind that head, in milliseconds: some proxies hold an answer back to its end. @defaultValue 10,000 */
  readonly firstByteMs?: number;
  /** A stream without a byte for so long is dead: 2.5 of the server's heartbeats, in milliseconds. @defaultValue 50,000 */
  readonly idleMs?: number;
  /**
   * What tells that a quiet connection lives: a comment, or an event that no iteration yields. With
   * `"ack"` each is acknowledged by itself, and the server drops a connection whose client does not: also
   * that of a caller who takes nothing for longer. It goes on at the next event. @defaultValue "comment"
   */
  readonly heartbeat?: "comment" | "event" | "ack";
  /**
   * The data of one frame, and any line of it, in bytes as they come. With several topics or a pattern
   * data comes as JSON, which makes six bytes of one at most. @defaultValue 48 MiB
   */
  readonly frameBytesMax?: number;
  readonly onReconnect?: (reconnect: Reconnect) => void;
  /** Added to the request, such as `Authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** @defaultValue globalThis.fetch */
  readonly fetch?: typeof globalThis.fetch;
}

/**
 * Yields what is published on `topics`, in order, each event once, until all of them have ended. A lost
 * connection is made again and goes on at exactly the next event; what cannot be delivered is a `gap`.
 * Nothing is read ahead of the caller but what has already arrived.
 *
 * A server that drains is told by an ACK that its goodbye has come. One that refuses for want of room is
 * asked again after the time it states, never earlier, and up to half as long again: all whom it
 * refused would otherwise come back together.
 *
 * Throws `SluiceClientError` `request_invalid` before anything is sent, `refused` when the server says
 * that trying again is no use, `not_sluice` and `stream_invalid`. Being unable to reach the server is no error: it waits, and tells `onReconnect`.
 */
export async function* subscribe(
  options: SubscribeOptions,
): AsyncGenerator<ReceivedItem, void, void> {
  const { signal, topics, stableMs = 5_000 } = options;
  checkRequest(options);
  let backoff = { ...BACKOFF_DEFAULTS, ...options.backoff };
  let lastEventId = "";
  const unfinished = new Set(topics);
  const isAborted = (): boolean => signal?.aborted === true;
  for (let attempt = 0; !isAborted(); attempt += 1) {
    const connection = new Attempt(signal);
    const reader = newReader(options, lastEventId);
    let openedAt = Number.POSITIVE_INFINITY;
    let waitMs = 0;
    let reason = "the connection was closed";
    try {
      const response = await request(options, lastEventId, connection);
      if (response.status === 204) return;
      if (response.status === 200) {
        openedAt = performance.now();
        for await (const item of itemsOf(response, reader, connection, options)) {
          yield item;
          if (item.type === "end") unfinished.delete(item.topic);
          // A pattern is never among the topics that end, so with one it goes on.
          if (unfinished.size === 0) return;
        }
      } else {
        waitMs = retryAfterMs(response) * (1 + backoff.random() / 2);
        reason = (await refusalOf(response)).message;
      }
    } catch (error) {
      if (error instanceof SluiceClientError) throw error;
      reason = reasonOf(error, connection.signal);
    } finally {
      connection.close();
    }
    if (isAborted()) return;
    const { closing } = reader;
    if (closing !== undefined) reason = `the server said "${closing}"`;
    // All that the reader has seen has been yielded: a connection fails only between two chunks.
    lastEventId = reader.lastEventId;
    backoff = { ...backoff, baseMs: reader.retryMs ?? backoff.baseMs };
    if (performance.now() - openedAt >= stableMs) attempt = 0;
    // A goodbye comes with a delay that the server has spread already. Repeated, it is waited for longer.
    if (closing !== undefined) waitMs = backoff.baseMs;
    const isTold = closing !== undefined && attempt === 0;
    const delayMs = Math.round(waitMs + (isTold ? 0 : backoffMs(attempt, backoff)));
    options.onReconnect?.({ delayMs, reason, ...(closing !== undefined && { closing }) });
    await sleep(delayMs, signal);
  }
}

/** The answer: 200 with a stream, 204, or a status after which another attempt may succeed. */
async function request(
  options: SubscribeOptions,
  lastEventId: string,
  connection: Attempt,
): Promise<Response> {
  const { topics, from, headers, heartbeat = "comment", connectMs = 10_000 } = options;
  const { fetch = globalThis.fetch } = options;
  const [first = ""] = topics;
  const url = isPlain(topics) ? topicUrl(options.url, first) : eventsUrl(options.url, topics);
  if (lastEventId === "" && from !== undefined) url.searchParams.set("last_event_id", from);
  if (heartbeat !== "comment") url.searchParams.set("heartbeat", heartbeat);
  // We read 503 and Retry-After; EventSource does not, and would get a 200 that ends.
  url.searchParams.set("on_overload", "status");
  const response = await connection.within(
    connectMs,
    "answer",
    fetch(url, {
      headers: {
        ...headers,
        Accept: "text/event-stream",
        ...(lastEventId !== "" && { "Last-Event-ID": lastEventId }),
      },
      cache: "no-store",
      redirect: "manual",
      signal: connection.signal,
    }),
  );
  const { status } = response;
  if (isRedirect(response)) throw redirectRefused(response);
  if (status === 204 || isRetryable(status)) return response;
  if (!response.ok) throw await refusalOf(response);
  const type = response.headers.get("content-type") ?? "none";
  if (status === 200 && /^text\/event-stream *(;|$)/i.test(type)) return response;
  throw new SluiceClientError("not_sluice", `the answer is ${status} of type ${type}`);
}

/** One topic that is no pattern comes bare; everything else says its topic. */
function isPlain([first = "", second]: readonly string[]): boolean {
  return second === undefined && !first.includes("*");
}

function newReader(
  { topics, frameBytesMax = 48 * 1024 * 1024 }: SubscribeOptions,
  lastEventId: string,
): StreamReader {
  const topic = isPlain(topics) ? topics[0] : undefined;
  return new StreamReader({ topic, lastEventId, frameBytesMax });
}

async function* itemsOf(
  response: Response,
  reader: StreamReader,
  connection: Attempt,
  options: SubscribeOptions,
): AsyncGenerator<ReceivedItem, void, void> {
  const { firstByteMs = 10_000, idleMs = 50_000, heartbeat } = options;
  const body = response.body?.getReader();
  if (body === undefined) return;
  let acknowledged = 0;
  for (let limitMs = firstByteMs; ; limitMs = idleMs) {
    // The watch is on only while we wait: a caller who takes its time is no silent server.
    const { done, value } = await connection.within(limitMs, "sign of life", body.read());
    if (done) return;
    const items = reader.push(value);
    if (heartbeat === "ack" && reader.heartbeats > acknowledged) {
      acknowledged = reader.heartbeats;
      // Not awaited: what has come is not held back by it.
      void acknowledge(response, options);
    }
    yield* items;
    if (reader.failure !== undefined) throw reader.failure;
    // While the stream is open: its end would be the answer to a goodbye as well.
    if (reader.closing === "pool_draining") await acknowledge(response, options);
    if (reader.closing !== undefined) return;
  }
}

function reasonOf(error: unknown, signal: AbortSignal): string {
  const { reason } = signal;
  if (reason instanceof Error && reason.name !== "AbortError") return reason.message;
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message || cause.name : "the connection was lost";
}
