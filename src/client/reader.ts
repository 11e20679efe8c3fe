import { WireError } from "../wire/errors.ts";
import { createScanner } from "../wire/scan.ts";
import type { ScannedEvent, Scanner } from "../wire/scan.ts";
import { SluiceClientError } from "./error.ts";
import type { ReceivedItem } from "./items.ts";

export interface ReaderOptions {
  /** The topic, where events come bare; `undefined` where they say their topic. */
  readonly topic: string | undefined;
  readonly lastEventId: string;
  /** The data of one frame, and any line of it, in bytes as they come. */
  readonly frameBytesMax: number;
}

/** Makes items of the bytes of one stream. */
export class StreamReader {
  retryMs: number | undefined;
  /** The reason of an `event: close`: the stream is about to end. */
  closing: string | undefined;
  /** `event: heartbeat` so far. */
  heartbeats = 0;
  /** `stream_invalid`: nothing comes after it. */
  failure: SluiceClientError | undefined;

  readonly #topic: string | undefined;
  readonly #frameBytesMax: number;
  readonly #scanner: Scanner;
  #place: string;
  #items: ReceivedItem[] = [];

  constructor({ topic, lastEventId, frameBytesMax }: ReaderOptions) {
    this.#topic = topic;
    this.#frameBytesMax = frameBytesMax;
    this.#place = lastEventId;
    this.#scanner = createScanner({
      lastEventId,
      lineBytesMax: frameBytesMax,
      eventBytesMax: frameBytesMax,
      onEvent: (event) => this.#take(event),
      onRetry: (retryMs) => (this.retryMs = retryMs),
      onId: (id) => (this.#place = id),
    });
  }

  /** The place after everything that `push` has returned. */
  get lastEventId(): string {
    return this.#scanner.lastEventId;
  }

  /** What these bytes complete, up to what is wrong; `failure` says what that is. */
  push(chunk: Uint8Array): readonly ReceivedItem[] {
    if (this.failure !== undefined) return [];
    try {
      this.#scanner.push(chunk);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      const message = `a frame is longer than frameBytesMax, ${this.#frameBytesMax} bytes`;
      this.failure = new SluiceClientError("stream_invalid", message, { cause: error });
    }
    const items = this.#items;
    this.#items = [];
    return items;
  }

  #take(scanned: ScannedEvent): void {
    // What follows a close is not to be relied on.
    if (this.closing !== undefined || this.failure !== undefined) return;
    const isLogEntry = scanned.lastEventId !== this.#place;
    this.#place = scanned.lastEventId;
    if (scanned.event === "close") {
      this.closing = scanned.data;
    } else if (scanned.event === "heartbeat" && !isLogEntry) {
      // The name is not reserved, but what is published under it has an id.
      this.heartbeats += 1;
    } else if (scanned.event !== "hello") {
      const item = itemOf(scanned, this.#topic);
      if (item === undefined) this.failure = notSluice(scanned.event);
      else this.#items.push(item);
    }
  }
}

function itemOf(scanned: ScannedEvent, plainTopic: string | undefined): ReceivedItem | undefined {
  const { event, lastEventId: id } = scanned;
  if (event === "gap") return gapOf(scanned.data);
  const { topic, data } =
    plainTopic === undefined
      ? parseObject(scanned.data)
      : { topic: plainTopic, data: scanned.data };
  if (typeof topic !== "string" || typeof data !== "string") return undefined;
  if (event !== "end") return { type: "event", id, topic, event, data };
  const { reason } = parseObject(data);
  return { type: "end", id, topic, reason: typeof reason === "string" ? reason : "" };
}

function gapOf(data: string): ReceivedItem | undefined {
  const { reason, from, to, topics } = parseObject(data);
  if (typeof reason !== "string" || typeof to !== "string") return undefined;
  return {
    type: "gap",
    reason,
    from: typeof from === "string" ? from : null,
    to,
    ...(Array.isArray(topics) && { topics: topics.map(String) }),
  };
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function notSluice(event: string): SluiceClientError {
  return new SluiceClientError(
    "stream_invalid",
    `an event of the name ${JSON.stringify(event.slice(0, 64))} is not as Sluice writes it`,
  );
}
