import type { Readable } from "node:stream";
import { SluiceError } from "../../core/errors.ts";
import type { Metrics } from "../../core/metrics.ts";
import type { Runtime, Timer } from "../../internal/clock.ts";
import { WireError } from "../../wire/errors.ts";
import { encodeFields } from "../../wire/frame.ts";
import { createScanner } from "../../wire/scan.ts";
import type { ScannedEvent, Scanner } from "../../wire/scan.ts";
import type { SourceSink } from "./sink.ts";

/** What no stream can say, because it is a line end: it has given no id yet. */
const NONE_YET = "\n";
/** A longer id would make a head that servers refuse: many read 8 KiB in all, Node 16. */
const ID_LENGTH_MAX = 4_096;
// oxlint-disable-next-line no-control-regex -- what a header value must not hold (RFC 9110, 5.5)
const CONTROLS = /[\0-\x08\x0a-\x1f\x7f]/;
/** Who is heard behind this has not only come back to break again, in milliseconds. */
const LIFE_MS_MIN = 10_000;
/** A frame may be so much larger than its data: U+FFFD for one byte, seven bytes for an empty line. */
const FRAMING_MAX = 2;

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
  /** Once: the stream is of use, an event has come, or anything when it had been open for a while. */
  onLife(): void;
}

/** `ended`: cleanly. `broken`: it may be asked for again. `failed`: it would fail again. */
export interface StreamEnd {
  readonly reason: "ended" | "broken" | "failed";
  readonly error?: SluiceError;
  /** Where to go on: the upstream's id that holds after the last whole block, or "". */
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
  readonly #openedAt: number;
  /** In whole milliseconds, which need no box in memory. */
  #heardAt: number;
  #isAlive = false;
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
    this.#openedAt = Math.floor(runtime.now());
    this.#heardAt = this.#openedAt;
    this.#scanner = createScanner({
      lastEventId: NONE_YET,
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
    // It says nothing any more.
    else if (this.#body.destroyed) {
      this.#finish({ reason: "broken", error: broken(this.#body.errored) });
    }
  }

  readonly #onAbort = (): void => {
    if (this.#isOver) this.#settle();
    else this.#finish({ reason: "ended" });
  };

  readonly #onData = (chunk: Uint8Array): void => {
    if (this.#isOver) return;
    this.#heardAt = Math.floor(this.#options.runtime.now());
    if (!this.#isAlive && this.#heardAt - this.#openedAt >= LIFE_MS_MIN) this.#live();
    try {
      this.#scanner.push(chunk);
    } catch (error) {
      this.#refuse(unreadable(error));
    }
  };

  #live(): void {
    this.#isAlive = true;
    this.#options.onLife();
  }

  /** Must not throw: the scanner calls it. */
  #onEvent({ event, data, lastEventId }: ScannedEvent): void {
    const { sink, metrics } = this.#options;
    if (this.#isOver) return;
    const isAtPlace = this.#isAtPlace && lastEventId !== NONE_YET;
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
    if (this.#isTooLarge(event, data)) {
      const text = `an event is longer than eventBytesMax, ${this.#options.eventBytesMax} bytes`;
      this.#refuse(new SluiceError("upstream_event_too_large", text));
      return;
    }
    metrics.plain.sluice_upstream_events_total += 1;
    if (!this.#isAlive) this.#live();
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

  /**
   * Where the stream has given no id yet, the one that was asked for still holds. An empty id takes it back
   * (WHATWG HTML, 9.2.6), and so does one that no request can carry.
   */
  #placeOf(id: string): string | undefined {
    const place = id === NONE_YET ? this.#options.lastEventId : id;
    return place === "" || place.length > ID_LENGTH_MAX || CONTROLS.test(place) ? undefined : place;
  }

  /** Counts bytes only where there might be too many. */
  #isTooLarge(event: string, data: string): boolean {
    const bytesMax = this.#options.eventBytesMax * FRAMING_MAX;
    if ((event.length + data.length) * 7 <= bytesMax) return false;
    let bytes = Buffer.byteLength(event) + Buffer.byteLength(data);
    for (let at = data.indexOf("\n"); at !== -1; at = data.indexOf("\n", at + 1)) bytes += 6;
    return bytes > bytesMax;
  }

  #refuse(error: SluiceError): void {
    this.#options.metrics.add("sluice_upstream_events_dropped_total", "too_large");
    this.#finish({ reason: "failed", error }, false);
  }

  #wait(taken: Promise<void>): void {
    this.#waits += 1;
    this.#body.pause();
    taken.then(
      () => {
        this.#waits -= 1;
        if (this.#waits > 0) return;
        this.#heardAt = Math.floor(this.#options.runtime.now());
        if (this.#end !== undefined) this.#settle();
        else this.#body.resume();
      },
      (error: unknown) => {
        const end = { reason: "failed", error: notTaken(error) } as const;
        this.#finish(end);
        // Also if the stream has broken meanwhile: there is nobody to go on for.
        this.#end = end;
        this.#settle();
      },
    );
  }

  #watchFor(ms: number): void {
    const { runtime, idleMsMax } = this.#options;
    // When this process has stood still, what was said meanwhile lies in the socket, and is read first.
    this.#watch = runtime.after(ms, () => runtime.defer(judge));
    const judge = (): void => {
      if (this.#isOver) return;
      const leftMs = this.#heardAt + idleMsMax - runtime.now();
      // While the sink makes it wait the silence is ours.
      if (leftMs > 0 || this.#waits > 0) return this.#watchFor(Math.max(leftMs, idleMsMax / 10));
      const error = new SluiceError(
        "upstream_timeout",
        `the upstream stream was silent for ${idleMsMax} ms`,
      );
      this.#finish({ reason: "broken", error });
    };
  }

  #finish(end: Omit<StreamEnd, "lastEventId">, isCutCounted = true): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#watch?.cancel();
    const isCut = this.#scanner.end();
    if (isCut && isCutCounted && !this.#options.signal.aborted) {
      this.#options.metrics.add("sluice_upstream_events_dropped_total", "cut");
    }
    this.#body.on("error", () => {}).destroy();
    this.#end = end;
    // What was delivered counts only once it is taken.
    if (this.#waits === 0 || this.#options.signal.aborted) this.#settle();
  }

  #settle(): void {
    if (this.#end === undefined) return;
    this.#options.signal.removeEventListener("abort", this.#onAbort);
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
