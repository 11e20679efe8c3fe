import type { Readable } from "node:stream";
import { SluiceError } from "../../core/errors.ts";
import type { Metrics } from "../../core/metrics.ts";
import type { Runtime, Timer } from "../../internal/clock.ts";
import { WireError } from "../../wire/errors.ts";
import { encodeFields } from "../../wire/frame.ts";
import { createScanner } from "../../wire/scan.ts";
import type { ScannedEvent, Scanner } from "../../wire/scan.ts";
import type { SourceSink } from "./sink.ts";

export interface ReadOptions {
  readonly sink: SourceSink;
  readonly runtime: Runtime;
  readonly metrics: Metrics;
  readonly idleMsMax: number;
  readonly eventBytesMax: number;
  readonly lineBytesMax: number;
  /** The upstream's id that was asked for, or "". */
  readonly lastEventId: string;
  readonly signal: AbortSignal;
  onRetry(retryMs: number): void;
  /** An event has come. */
  onLife(): void;
}

/** `ended`: cleanly. `broken`: it may be asked for again. `failed`: it would fail again. */
export interface StreamEnd {
  readonly reason: "ended" | "broken" | "failed";
  readonly error?: SluiceError;
  /** The upstream's id of the last whole block. */
  readonly lastEventId: string;
}

/** Reads one response to its end. The body is destroyed when it resolves; it never rejects. */
export function readStream(body: Readable, options: ReadOptions): Promise<StreamEnd> {
  return new Promise((resolve) => {
    new StreamReader(body, options, resolve).start();
  });
}

class StreamReader {
  readonly #body: Readable;
  readonly #options: ReadOptions;
  readonly #resolve: (end: StreamEnd) => void;
  readonly #scanner: Scanner;
  /** Nothing with an id has come yet behind the id that was asked for. */
  #isAtPlace: boolean;
  #heardAt: number;
  #watch: Timer | undefined;
  /** Promises of the sink that are awaited; while there are any the body is paused. */
  #waits = 0;
  #isOver = false;
  #end: Omit<StreamEnd, "lastEventId"> | undefined;

  constructor(body: Readable, options: ReadOptions, resolve: (end: StreamEnd) => void) {
    const { lastEventId, eventBytesMax, lineBytesMax, runtime } = options;
    this.#body = body;
    this.#options = options;
    this.#resolve = resolve;
    this.#isAtPlace = lastEventId !== "";
    this.#heardAt = runtime.now();
    this.#scanner = createScanner({
      eventBytesMax,
      lineBytesMax,
      onEvent: (event) => this.#onEvent(event),
      onRetry: (retryMs) => options.onRetry(retryMs),
      onId: () => (this.#isAtPlace = false),
    });
  }

  start(): void {
    const { signal, idleMsMax } = this.#options;
    this.#watchFor(idleMsMax);
    this.#body.on("data", this.#onData);
    this.#body.on("end", () => this.#finish({ reason: "ended" }));
    this.#body.on("error", (error) => this.#finish({ reason: "broken", error: broken(error) }));
    this.#body.on("close", () => this.#finish({ reason: "broken", error: broken(undefined) }));
    signal.addEventListener("abort", this.#onAbort);
    if (signal.aborted) this.#onAbort();
  }

  readonly #onAbort = (): void => this.#finish({ reason: "ended" });

  readonly #onData = (chunk: Uint8Array): void => {
    if (this.#isOver) return;
    this.#heardAt = this.#options.runtime.now();
    try {
      this.#scanner.push(chunk);
    } catch (error) {
      this.#finish({ reason: "failed", error: unreadable(error) });
    }
  };

  /** Must not throw: the scanner calls it. */
  #onEvent({ event, data, lastEventId }: ScannedEvent): void {
    const { sink, metrics } = this.#options;
    if (this.#isOver) return;
    const isAtPlace = this.#isAtPlace && lastEventId !== "";
    if (isAtPlace) this.#isAtPlace = false;
    // U12: some origins begin with the very event that the id names. Its readers have it.
    if (isAtPlace && lastEventId === this.#options.lastEventId) {
      metrics.add("sluice_upstream_events_dropped_total", "repeated");
      return;
    }
    // It would not be the same event without it, and no parser lets it pass as it is.
    if (event.includes("\0")) {
      metrics.add("sluice_upstream_events_dropped_total", "name_invalid");
      return;
    }
    metrics.plain.sluice_upstream_events_total += 1;
    this.#options.onLife();
    const fields = encodeFields(event === "message" ? undefined : event, data);
    try {
      const taken = sink.event({
        fields,
        event,
        id: this.#placeOf(lastEventId),
      });
      if (taken instanceof Promise) this.#wait(taken);
    } catch (error) {
      this.#finish({ reason: "failed", error: notTaken(error) });
    }
  }

  /** Where the stream has given no id yet, the one that was asked for still holds. */
  #placeOf(id: string): string | undefined {
    const place = id === "" ? this.#options.lastEventId : id;
    return place === "" ? undefined : place;
  }

  #wait(taken: Promise<void>): void {
    this.#waits += 1;
    this.#body.pause();
    taken.then(
      () => {
        this.#waits -= 1;
        if (this.#waits > 0) return;
        this.#heardAt = this.#options.runtime.now();
        if (this.#end !== undefined) this.#settle();
        else this.#body.resume();
      },
      (error: unknown) => {
        this.#waits = 0;
        this.#end = undefined;
        this.#finish({ reason: "failed", error: notTaken(error) });
      },
    );
  }

  #watchFor(ms: number): void {
    const { runtime, idleMsMax } = this.#options;
    this.#watch = runtime.after(ms, () => {
      const leftMs = this.#heardAt + idleMsMax - runtime.now();
      // While the sink makes it wait the silence is ours.
      if (leftMs > 0 || this.#waits > 0) return this.#watchFor(Math.max(leftMs, idleMsMax / 10));
      const error = new SluiceError(
        "upstream_timeout",
        `the upstream stream was silent for ${idleMsMax} ms`,
      );
      this.#finish({ reason: "broken", error });
    });
  }

  #finish(end: Omit<StreamEnd, "lastEventId">): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#watch?.cancel();
    this.#options.signal.removeEventListener("abort", this.#onAbort);
    const isCut = this.#scanner.end();
    if (isCut && !this.#options.signal.aborted) {
      this.#options.metrics.add("sluice_upstream_events_dropped_total", "cut");
    }
    this.#body.on("error", () => {}).destroy();
    this.#end = end;
    // What was delivered counts only once it is taken.
    if (this.#waits === 0 || this.#options.signal.aborted) this.#settle();
  }

  #settle(): void {
    if (this.#end === undefined) return;
    const lastEventId = this.#placeOf(this.#scanner.lastEventId) ?? "";
    this.#resolve({ ...this.#end, lastEventId });
  }
}

function broken(error: unknown): SluiceError {
  if (error instanceof SluiceError) return error;
  return new SluiceError("upstream_protocol", "the upstream's response was cut short", {
    cause: error,
  });
}

function unreadable(error: unknown): SluiceError {
  if (error instanceof WireError) {
    return new SluiceError("upstream_event_too_large", error.message, { cause: error });
  }
  return new SluiceError("internal_error", "the upstream's stream could not be read", {
    cause: error,
  });
}

function notTaken(error: unknown): SluiceError {
  if (error instanceof SluiceError) return error;
  return new SluiceError("internal_error", "an upstream's event could not be kept", {
    cause: error,
  });
}
