import { SluiceError } from "../../core/errors.ts";
import type { Metrics } from "../../core/metrics.ts";
import type { Runtime } from "../../internal/clock.ts";
import type { HeaderList, UpstreamRequest, UpstreamResponse } from "../message.ts";
import { checkStream, isStream, notTheStream } from "./head.ts";
import { readStream } from "./reader.ts";
import type { StreamEnd } from "./reader.ts";
import { Reconnect, retryAfterMs } from "./reconnect.ts";
import type { SourceSink } from "./sink.ts";

export type { SourceEvent, SourceSink } from "./sink.ts";

/** Who carries out upstream requests: the pool. */
export interface Requester {
  request(request: UpstreamRequest): Promise<UpstreamResponse>;
}

export interface SourceOptions {
  /** Asks again when the stream breaks: only where the request may be sent twice. @defaultValue false */
  readonly isResumable?: boolean;
  /** With it a stream that gave no id is not asked for again: it could only begin anew. @defaultValue false */
  readonly resumesOnlyById?: boolean;
  /**
   * What the stream's clean end means. `auto`: its end, unless it gave ids, behind which an EventSource
   * would come back; `reconnect` and `end` say which. @defaultValue "auto"
   */
  readonly onEnd?: "auto" | "reconnect" | "end";
  /** Silence after which the stream is given up (U18), in milliseconds; comments are life. @defaultValue 60,000 */
  readonly idleMsMax?: number;
  /** Data of one event, in bytes. @defaultValue 8 MiB */
  readonly eventBytesMax?: number;
  /** One line, in bytes. @defaultValue `eventBytesMax` + 64 KiB */
  readonly lineBytesMax?: number;
  /** Reconnect delay until the stream names one, in milliseconds; 1 s to 5 min. @defaultValue 1,000 */
  readonly retryMs?: number;
  /** An origin that fails for so long is given up, in milliseconds. @defaultValue 300,000 */
  readonly failForMsMax?: number;
  /** The upstream's own id behind which the first request begins. */
  readonly startLastEventId?: string | undefined;
}

/**
 * Why a source is over. `ended`: the stream came to its end, or there was none; `stopped`: the origin
 * answered a reconnect with 204, as WHATWG HTML, 9.2.3 has it; `failed`: with `error`; `aborted`: `stop`.
 */
export interface SourceEnd {
  readonly reason: "ended" | "stopped" | "failed" | "aborted";
  readonly error?: SluiceError;
}

/** The first response. `response` is anything but an event stream: whoever opened the source owns its body. */
export type SourceOpened =
  | { readonly kind: "stream"; readonly status: number; readonly headers: HeaderList }
  | { readonly kind: "response"; readonly response: UpstreamResponse };

export interface Source {
  /** Rejects with `upstream_*`, and then nothing was delivered. */
  readonly opened: Promise<SourceOpened>;
  /** Resolves once, and never rejects. */
  readonly ended: Promise<SourceEnd>;
  /** Gives the upstream up now, also before the first byte. */
  stop(): void;
}

export interface OpenSource {
  readonly pool: Requester;
  readonly request: UpstreamRequest;
  readonly sink: SourceSink;
  readonly runtime: Runtime;
  readonly metrics: Metrics;
  readonly options?: SourceOptions;
}

/**
 * One upstream response as events, across reconnects: whole events only, never half of one (U03, U04), and
 * never one again that was delivered before a resume. The first request is sent once; whether to try it
 * again is for the caller, whose client waits.
 */
export function openSource(open: OpenSource): Source {
  return new UpstreamSource(open);
}

class UpstreamSource implements Source {
  readonly opened: Promise<SourceOpened>;
  readonly ended: Promise<SourceEnd>;
  readonly #open: OpenSource;
  readonly #options: SourceOptions;
  readonly #abort = new AbortController();
  readonly #reconnect: Reconnect;
  readonly #first = Promise.withResolvers<SourceOpened>();
  /** The upstream's id of the last whole block. */
  #lastEventId: string;
  /** What the pool has said last, and has counted. */
  #refusal: unknown;

  constructor(open: OpenSource) {
    const { runtime, options = {}, request } = open;
    this.#open = open;
    this.#options = options;
    this.#lastEventId = options.startLastEventId ?? "";
    this.#reconnect = new Reconnect(
      runtime,
      options.retryMs ?? 1_000,
      options.failForMsMax ?? 300_000,
    );
    this.opened = this.#first.promise;
    // Who only waits for the end need not look at the beginning.
    this.opened.catch(() => {});
    request.signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (request.signal?.aborted === true) this.stop();
    this.ended = this.#run().then((end) => {
      request.signal?.removeEventListener("abort", this.#onAbort);
      if (end.error !== undefined && end.error !== this.#refusal) {
        open.metrics.add("sluice_upstream_errors_total", end.error.code);
      }
      return end;
    });
  }

  stop(): void {
    this.#abort.abort();
  }

  readonly #onAbort = (): void => this.stop();

  async #run(): Promise<SourceEnd> {
    let response: UpstreamResponse;
    try {
      response = await this.#ask();
      if (this.#isAborted) discard(response);
      else if (isStream(response)) checkOrDiscard(response);
      else {
        this.#first.resolve({ kind: "response", response });
        return { reason: "ended" };
      }
      if (this.#isAborted) throw new SluiceError("upstream_lost", "the request was given up");
    } catch (error) {
      const known = toUpstreamError(error);
      this.#first.reject(known);
      return this.#isAborted ? { reason: "aborted" } : { reason: "failed", error: known };
    }
    this.#first.resolve({ kind: "stream", status: response.status, headers: response.headers });
    return this.#readAll(response);
  }

  /** Reads the stream, and those that continue it. */
  async #readAll(first: UpstreamResponse): Promise<SourceEnd> {
    let response = first;
    for (;;) {
      const end = await this.#read(response);
      if (this.#isAborted) return { reason: "aborted" };
      if (end.reason === "failed") return { reason: "failed", ...withError(end.error) };
      if (end.reason === "ended" && !this.#goesOnAfterEnd) return { reason: "ended" };
      if (this.#options.isResumable !== true) return lost(end);
      if (this.#options.resumesOnlyById === true && this.#lastEventId === "") return lost(end);
      const next = await this.#askAgain(end.error);
      if ("reason" in next) return next;
      response = next;
    }
  }

  /** Until there is the stream again, or it will not come back. */
  async #askAgain(why: SluiceError | undefined): Promise<UpstreamResponse | SourceEnd> {
    const { runtime, metrics, sink } = this.#open;
    let error = why;
    let atLeastMs = 0;
    for (;;) {
      const waitMs = this.#reconnect.nextMs(atLeastMs);
      if (waitMs === undefined) {
        metrics.add("sluice_upstream_reconnects_total", "given_up");
        return lost({ reason: "broken", error });
      }
      await this.#pause(waitMs);
      if (this.#isAborted) return { reason: "aborted" };
      try {
        const response = await this.#ask();
        if (this.#isAborted) {
          discard(response);
          return { reason: "aborted" };
        }
        if (isStream(response)) {
          checkOrDiscard(response);
          const isResumed = this.#lastEventId !== "";
          metrics.add("sluice_upstream_reconnects_total", isResumed ? "resumed" : "anew");
          sink.reconnected?.(isResumed);
          return response;
        }
        discard(response);
        if (response.status === 204) {
          metrics.add("sluice_upstream_reconnects_total", "stopped");
          return { reason: "stopped" };
        }
        error = notTheStream(response);
        // As an EventSource does: whatever is no passing trouble is the end (WHATWG HTML, 9.2.3).
        if (!isPassing(response.status)) {
          metrics.add("sluice_upstream_reconnects_total", "refused");
          return { reason: "failed", error };
        }
        atLeastMs = retryAfterMs(response.headers, runtime.wallTime());
      } catch (thrown) {
        if (this.#isAborted) return { reason: "aborted" };
        error = toUpstreamError(thrown);
        atLeastMs = 0;
        if (!error.row.isRetryable) {
          metrics.add("sluice_upstream_reconnects_total", "refused");
          return { reason: "failed", error };
        }
      }
      metrics.add("sluice_upstream_reconnects_total", "failed");
    }
  }

  async #ask(): Promise<UpstreamResponse> {
    const { pool, request } = this.#open;
    const headers = request.headers.filter(
      ([name]) => name !== "accept-encoding" && name !== "last-event-id",
    );
    // As UTF-8 (WHATWG HTML, 9.2.3); the strings of header values are bytes.
    const id = Buffer.from(this.#lastEventId).toString("latin1");
    const place = id === "" ? [] : ([["last-event-id", id]] as const);
    const { signal } = this.#abort;
    try {
      return await pool.request({
        ...request,
        headers: [...headers, ["accept-encoding", "identity"], ...place],
        signal,
      });
    } catch (error) {
      this.#refusal = error;
      throw error;
    }
  }

  async #read(response: UpstreamResponse): Promise<StreamEnd> {
    const { sink, runtime, metrics } = this.#open;
    const { idleMsMax = 60_000, eventBytesMax = 8 * 1024 * 1024 } = this.#options;
    const end = await readStream(response.body, {
      sink,
      runtime,
      metrics,
      idleMsMax,
      eventBytesMax,
      lineBytesMax: this.#options.lineBytesMax ?? eventBytesMax + 64 * 1024,
      lastEventId: this.#lastEventId,
      signal: this.#abort.signal,
      onRetry: (retryMs) => (this.#reconnect.retryMs = retryMs),
      onLife: () => this.#reconnect.succeeded(),
    });
    this.#lastEventId = end.lastEventId;
    return end;
  }

  get #isAborted(): boolean {
    return this.#abort.signal.aborted;
  }

  get #goesOnAfterEnd(): boolean {
    const { onEnd = "auto", isResumable = false } = this.#options;
    if (!isResumable || onEnd === "end") return false;
    return onEnd === "reconnect" || this.#lastEventId !== "";
  }

  #pause(ms: number): Promise<void> {
    const { signal } = this.#abort;
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel();
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = this.#open.runtime.after(ms, done);
      signal.addEventListener("abort", done);
      if (signal.aborted) done();
    });
  }
}

/** What may be different a moment later. */
function isPassing(status: number): boolean {
  return status === 429 || status === 408 || status >= 500;
}

function checkOrDiscard(response: UpstreamResponse): void {
  try {
    checkStream(response);
  } catch (error) {
    discard(response);
    throw error;
  }
}

/** Nobody reads it: its socket is given back. */
function discard({ body }: UpstreamResponse): void {
  body.on("error", () => {}).destroy();
}

function lost({
  error,
}: {
  readonly reason: string;
  readonly error?: SluiceError | undefined;
}): SourceEnd {
  const why = error === undefined ? "it ended" : error.message;
  const lostError = new SluiceError("upstream_lost", `the upstream stream was lost: ${why}`, {
    cause: error,
  });
  return { reason: "failed", error: lostError };
}

function withError(error: SluiceError | undefined): { error?: SluiceError } {
  return error === undefined ? {} : { error };
}

function toUpstreamError(error: unknown): SluiceError {
  if (error instanceof SluiceError) return error;
  return new SluiceError("upstream_protocol", "the upstream request failed", { cause: error });
}
