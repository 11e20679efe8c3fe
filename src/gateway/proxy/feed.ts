import { Buffer } from "node:buffer";
import { SluiceError } from "../../core/errors.ts";
import { selectTopics } from "../../core/selection.ts";
import type { Subscriber } from "../../core/subscriber.ts";
import type { Timer } from "../../internal/clock.ts";
import { append } from "../../upstreams/append.ts";
import { EVENT_BYTES_MIN, FeedWindow } from "../../upstreams/feed-window.ts";
import type { UpstreamResponse } from "../../upstreams/message.ts";
import type { Source, SourceEnd, SourceSink } from "../../upstreams/source/source.ts";
import { formatCursor } from "../../wire/cursor.ts";
import { randomId } from "../ids.ts";
import { FEED_MOVES } from "./feed-options.ts";
import type { FeedOpened, FeedOptions, FeedState } from "./feed-options.ts";
import { patienceOf } from "./patience.ts";

/** Whoever comes back later than this has to begin anew, in milliseconds. */
const KEPT_MS = 300_000;
/** Appends that may be under way before the upstream waits, in bytes. */
const APPENDING_BYTES_MAX = 256 * 1024;
const FOREVER_MS = 3_650 * 86_400_000;
const BEGIN = { fields: Buffer.from(": begin\n") };

/** One upstream stream as a topic of its own, from which any number of readers are served. */
export class Feed {
  readonly topic = `feed/${randomId()}`;
  readonly #options: FeedOptions<Feed>;
  readonly #readers = new Set<Subscriber>();
  #state: FeedState = "opening";
  #opened: Promise<FeedOpened>;
  #response: UpstreamResponse | undefined;
  #source: Source | undefined;
  /** Readers, and those who wait to become one. */
  #holders = 0;
  #wasRead = false;
  #timer: Timer | undefined;
  #window: FeedWindow;
  #appending = 0;
  #lastUpstreamId: string | undefined;
  /** The stream began anew: what comes next comes behind a gap. */
  #isGapDue = false;
  /** The furthest place of a reader that has gone. */
  #readTo = 0;
  /** The place before its first event; of this feed alone. */
  begin = 0;
  /** The place of its newest event. */
  last = 0;
  epoch = "";

  constructor(options: FeedOptions<Feed>) {
    this.#options = options;
    this.#lastUpstreamId = options.lastEventId;
    this.#window = new FeedWindow(options.runtime, options.route.windowBytes, 0);
    this.#opened = this.#begin();
    this.#opened.catch(ignore);
  }

  get state(): FeedState {
    return this.#state;
  }

  /** Somebody reads it, or waits for it. */
  get isHeld(): boolean {
    return this.#holders > 0;
  }

  /** What the origin's response is. Rejects with `upstream_*`. */
  get opened(): Promise<FeedOpened> {
    return this.#opened;
  }

  get isShared(): boolean {
    return this.#options.isShared;
  }

  get owner(): string | undefined {
    return this.#options.owner;
  }

  /** What the origin says to the one who has asked is for nobody who comes later (S06). */
  get isForFirst(): boolean {
    return !this.#options.isShared && !this.#wasRead;
  }

  /** It can be read from now on: it is open, or will be. */
  get isRunning(): boolean {
    return this.#state === "opening" || this.#state === "live";
  }

  /**
   * Keeps the upstream stream from being given up until the returned function is called. Without
   * anybody it lives on for `lingerMs`.
   */
  hold(): () => void {
    this.#holders += 1;
    if (this.isRunning) this.#timer?.cancel();
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#holders -= 1;
      if (this.#holders > 0) return;
      this.takeResponse()?.body.destroy();
      if (this.isRunning) {
        this.#after(this.#options.route.lingerMs, () => this.#nobodyCame());
      }
    };
  }

  /** From now on `subscriber` counts as a reader, until the returned function is called. */
  read(subscriber: Subscriber): () => void {
    this.#wasRead = true;
    this.#readers.add(subscriber);
    // The stream was lost while this one was being attached.
    if (this.#state === "asleep" || this.#state === "gone") this.#sendAway();
    return () => {
      this.#readers.delete(subscriber);
      this.#readTo = Math.max(this.#readTo, subscriber.settledTo);
    };
  }

  /** The origin's response that is no stream, for the first who asks. */
  takeResponse(): UpstreamResponse | undefined {
    const response = this.#response;
    this.#response = undefined;
    return response;
  }

  /** Asks the origin again, behind what it has sent last. Only if asleep. */
  wake(): void {
    if (this.#state !== "asleep") return;
    this.#timer?.cancel();
    this.#move("opening");
    const { runtime, route } = this.#options;
    this.#isGapDue = this.#lastUpstreamId === undefined;
    this.#window = new FeedWindow(runtime, route.windowBytes, this.last);
    this.#opened = this.#open();
    this.#opened.catch(ignore);
  }

  /**
   * Whether a place is one of this feed's own: `exact`, everything behind it can be read; `trimmed`, it
   * was here and has been dropped, or may have been; `no`.
   */
  async locate(seq: number): Promise<"exact" | "trimmed" | "no"> {
    if (seq < this.begin || seq > this.last || this.#state === "gone") return "no";
    const { hub, tenant } = this.#options;
    const selection = selectTopics([this.topic]);
    const from = seq - 1;
    const read = await hub.broker.read({ tenant, selection, from, upTo: seq, bytesMax: 1 });
    const { publications, floor } = read;
    if (publications[0]?.seq === seq || floor === seq) return "exact";
    return floor > seq ? "trimmed" : "no";
  }

  /** Ends it for its readers and forgets it. */
  close(): void {
    if (this.#state !== "gone") this.#forget();
  }

  async #begin(): Promise<FeedOpened> {
    const { hub, tenant, route } = this.#options;
    try {
      const bytesMax = route.windowBytes;
      const countMax = Math.max(16, Math.ceil(bytesMax / EVENT_BYTES_MIN));
      await hub.declare(tenant, this.topic, {
        retention: { bytesMax, countMax, ageMsMax: FOREVER_MS },
        ttlMs: FOREVER_MS,
      });
      // An entry of its own, so that the place before its first event is no other feed's place too.
      const { last } = await hub.append({ tenant, topic: this.topic, events: [BEGIN] });
      this.epoch = last.epoch;
      this.begin = last.seq;
      this.last = last.seq;
      this.#readTo = last.seq;
      this.#window = new FeedWindow(this.#options.runtime, bytesMax, last.seq);
    } catch (error) {
      this.#forget();
      throw error;
    }
    return this.#open();
  }

  /**
   * Asks until there is a stream, or an answer that will not get better soon (U01). The delays are short:
   * clients wait meanwhile.
   */
  async #open(): Promise<FeedOpened> {
    const { runtime } = this.#options;
    const patience = patienceOf(runtime);
    for (;;) {
      if (this.#state !== "opening") throw notWanted();
      const source = this.#options.connect(this.#sink, this.#lastUpstreamId);
      this.#source = source;
      let waitMs: number | undefined;
      try {
        const opened = await source.opened;
        if (opened.kind === "stream") {
          this.#begun(source);
          return opened;
        }
        const { response } = opened;
        waitMs = this.#state === "opening" ? patience.afterResponse(response) : undefined;
        if (waitMs === undefined) return this.#answered(response);
        response.body.on("error", ignore).destroy();
      } catch (error) {
        waitMs = this.#state === "opening" ? patience.afterError(error) : undefined;
        if (waitMs === undefined) {
          this.#fallAsleep();
          throw error;
        }
      }
      const delayMs = waitMs;
      await new Promise<void>((resolve) => void runtime.after(delayMs, resolve));
    }
  }

  #begun(source: Source): void {
    if (this.#state !== "opening") {
      source.stop();
      throw notWanted();
    }
    this.#move("live");
    void source.ended.then((end) => {
      if (this.#source === source && this.#state === "live") this.#over(end);
    });
  }

  /** No stream: the first who asks gets it as it is. What can be continued later stays. */
  #answered(response: UpstreamResponse): FeedOpened {
    // Nobody may ever take it, and then its errors are nobody's either.
    response.body.on("error", ignore);
    if (response.status === 204 && this.last > this.begin && this.#state === "opening") {
      // It was asked to go on, and says that it has finished (WHATWG HTML, 9.2.3).
      response.body.destroy();
      this.#end();
      return { kind: "stream", headers: [] };
    }
    if (this.#holders === 0) response.body.destroy();
    else this.#response = response;
    this.#fallAsleep();
    return { kind: "response", response };
  }

  readonly #sink: SourceSink = {
    event: ({ fields, id }) => {
      if (this.#isGapDue) this.#tellGap();
      this.#lastUpstreamId = id;
      return this.#append(fields);
    },
    reconnected: (isResumed) => {
      if (!isResumed) this.#isGapDue = true;
    },
  };

  #append(fields: Uint8Array): Promise<void> | undefined {
    const { hub, tenant } = this.#options;
    if (this.#state === "gone" || this.#state === "ended") return undefined;
    const { length } = fields;
    this.#appending += length;
    this.#window.add(length);
    const appended = append(
      hub,
      { tenant, topic: this.topic, events: [{ fields }] },
      ({ last }) => {
        this.#appending -= length;
        this.last = Math.max(this.last, last.seq);
        this.#window.mark(last.seq);
      },
      (error) => {
        this.#appending -= length;
        this.#failed(error);
      },
    );
    if (this.#appending > APPENDING_BYTES_MAX) return appended;
    return this.#window.room(() => this.#fastest());
  }

  /**
   * Something between the last event and the next is missing, and nobody knows what. It is an entry of
   * the log, so that everybody is told once, in order, also who comes back later.
   */
  #tellGap(): void {
    this.#isGapDue = false;
    const gap = { reason: "upstream", from: formatCursor(this.epoch, this.last), to: null };
    const text = JSON.stringify(gap);
    const isEvents = this.#options.route.control === "events";
    void this.#append(Buffer.from(isEvents ? `event: gap\ndata: ${text}\n` : `: gap ${text}\n`));
  }

  #fastest(): number {
    if (this.#readers.size === 0) return this.#readTo;
    let place = 0;
    for (const { settledTo } of this.#readers) place = Math.max(place, settledTo);
    return place;
  }

  #over({ reason, error }: SourceEnd): void {
    if (reason === "ended" || reason === "stopped") return this.#end();
    const { logger, route } = this.#options;
    logger.warn({ err: error, origin: route.origin.key }, "upstream stream lost");
    this.#fallAsleep();
  }

  #end(): void {
    const { hub, tenant } = this.#options;
    this.#move("ended");
    this.#keep();
    hub.end(tenant, this.topic, "done").then(
      ({ last }) => (this.last = Math.max(this.last, last.seq)),
      (error) => this.#failed(error),
    );
  }

  /** Its readers are told to come back; who does finds everything that was read of the origin. */
  #fallAsleep(): void {
    if (this.#state !== "live" && this.#state !== "opening") return;
    if (this.last === this.begin) return this.#forget();
    this.#move("asleep");
    this.#source?.stop();
    this.#source = undefined;
    this.#sendAway();
    this.#keep();
  }

  #nobodyCame(): void {
    // Without ids the origin cannot go on, and what is kept would be of no use.
    if (this.#state === "live" && this.#lastUpstreamId !== undefined) this.#fallAsleep();
    else this.#forget();
  }

  #keep(): void {
    this.#after(KEPT_MS, () => this.#forgetUnread());
    this.#options.onKept(this);
  }

  #forgetUnread(): void {
    if (this.#holders > 0) this.#after(KEPT_MS, () => this.#forgetUnread());
    else this.#forget();
  }

  #failed(error: unknown): void {
    if (this.#state === "gone") return;
    this.#options.logger.error({ err: error }, "the events of an upstream stream cannot be kept");
    this.#forget();
  }

  #forget(): void {
    const { hub, tenant } = this.#options;
    this.#move("gone");
    this.#timer?.cancel();
    this.#source?.stop();
    this.#source = undefined;
    this.#sendAway();
    this.#options.onGone(this);
    // The next sweep of the log takes the record; its events go at once.
    const retention = { countMax: 1, bytesMax: 1, ageMsMax: 1 };
    hub.declare(tenant, this.topic, { retention, ttlMs: 1 }).catch(ignore);
  }

  #sendAway(): void {
    const { runtime, retryMs } = this.#options;
    for (const subscriber of this.#readers) {
      subscriber.end("upstream_lost", retryMs * (0.5 + runtime.random()));
    }
  }

  #after(delayMs: number, task: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#options.runtime.after(delayMs, task);
  }

  #move(to: FeedState): void {
    if (this.#state === to) return;
    if (!FEED_MOVES[this.#state].includes(to)) {
      throw new SluiceError("internal_error", `no move from ${this.#state} to ${to}`);
    }
    const { plain } = this.#options.hub.metrics;
    if (this.#state === "live") plain.sluice_feeds -= 1;
    if (to === "live") plain.sluice_feeds += 1;
    this.#state = to;
    if (to === "asleep" || to === "gone" || to === "ended") this.#window.close();
  }
}

function notWanted(): SluiceError {
  return new SluiceError("upstream_lost", "nobody waits for the upstream stream any more");
}

function ignore(): void {}
