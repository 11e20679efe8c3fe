import type { Receipt } from "../../core/broker.ts";
import { SluiceError } from "../../core/errors.ts";
import { feedTenant } from "../../core/feed-tenant.ts";
import type { Hub } from "../../core/hub.ts";
import type { TopicSettingsInput } from "../../core/settings.ts";
import type { Runtime, Timer } from "../../internal/clock.ts";
import { encodeFields } from "../../wire/frame.ts";
import { append } from "../append.ts";
import { EVENT_BYTES_MIN, FeedWindow } from "../feed-window.ts";
import type { RunOptions } from "./run-options.ts";

export const RUN_STATES = ["open", "done", "error", "stopped", "expired"] as const;
/**
 * `open`: its producer works. All others are ends: `done`, the producer came to its end; `error`, it failed,
 * or the gateway shut down; `stopped`, somebody asked for it, or all readers were gone; `expired`, it took too long.
 */
export type RunState = (typeof RUN_STATES)[number];
export type RunEnd = Exclude<RunState, "open">;

/** How far a reader has come, as a number of the log. */
export interface Place {
  readonly settledTo: number;
}

/** Where a producer puts what it makes. */
export interface RunSink {
  /**
   * Appends one event: its `event:` and `data:` lines, as `encodeFields` makes them. The promise, if there
   * is one, resolves when the next event may follow, and never rejects: what the log refuses ends the run.
   * After the end of the run it does nothing.
   */
  append(fields: Uint8Array): void | Promise<void>;
}

/** Resolves at the producer's end; rejects with what the run ends with. `signal` aborts when nobody wants more. */
export type Produce = (sink: RunSink, signal: AbortSignal) => Promise<void>;

export interface RunInit {
  readonly id: string;
  readonly tenant: string;
  readonly hub: Hub;
  readonly runtime: Runtime;
  readonly options: RunOptions;
  readonly produce: Produce;
  /** It is over. Its events can still be read, if the log has its end. */
  onEnd(run: Run, isStored: boolean): void;
}

/**
 * What is appended before the producer waits: for the log, and for the next turn of the event loop, or a
 * generator that awaits nothing would never let go of it. In bytes, with what an event costs at least.
 */
const TURN_BYTES = 64 * 1024;
/** A smaller window would hold the producer up at nearly each event, in bytes. */
const WINDOW_BYTES_MIN = 1024 * 1024;
/** Between two tries to store an end that the broker did not take, in milliseconds. */
const END_RETRY_MS = [50, 200, 1_000, 5_000] as const;
const FOREVER_MS = 3_650 * 86_400_000;

/** A topic that one producer feeds, with an end that is stored and delivered exactly once (law 14). */
export class Run {
  readonly id: string;
  /** Its owner. */
  readonly tenant: string;
  readonly topic: string;
  readonly options: RunOptions;
  /** It can be read. Rejects with what the log refuses, such as `topics_exhausted`; then nothing was produced. */
  readonly ready: Promise<void>;
  /** How it ended. Never rejects. */
  readonly ended: Promise<RunEnd>;
  /** Where its topic lives: the hidden tenant of its owner. Made once, since each event is looked up by it. */
  readonly #tenant: string;
  readonly #init: Omit<RunInit, "produce">;
  readonly #abort = new AbortController();
  readonly #end = Promise.withResolvers<RunEnd>();
  #state: RunState = "open";
  #readers = 0;
  /** How far readers are, of those who are connected. */
  readonly #places = new Set<Place>();
  readonly #window: FeedWindow;
  /** Appended since the producer last waited. */
  #turnBytes = 0;
  #isDiscarded = false;
  #grace: Timer | undefined;
  readonly #expiry: Timer;

  /** `produce` is not kept: a run that is over must not hold what its producer held. */
  constructor({ produce, ...init }: RunInit) {
    this.#init = init;
    this.id = init.id;
    this.tenant = init.tenant;
    this.#tenant = feedTenant(init.tenant);
    this.topic = `runs/${init.id}`;
    this.options = init.options;
    this.ended = this.#end.promise;
    const windowBytes = Math.max(init.options.bytesMax, WINDOW_BYTES_MIN);
    this.#window = new FeedWindow(init.runtime, windowBytes, 0);
    init.hub.metrics.add("sluice_runs", "open");
    this.#expiry = init.runtime.after(init.options.ageMsMax, () => void this.#finish("expired"));
    this.ready = this.#declare();
    // Who only starts a run need not look at it.
    this.ready.catch(() => {});
    void this.#drive(produce);
  }

  get state(): RunState {
    return this.#state;
  }

  get readersNow(): number {
    return this.#readers;
  }

  /** Counts one more reader, until the returned function is called. */
  addReader(): () => void {
    this.#readers += 1;
    this.#grace?.cancel();
    let isHere = true;
    return () => {
      if (!isHere) return;
      isHere = false;
      this.#readers -= 1;
      if (this.#readers > 0) return;
      if (this.#isDiscarded) this.#dropEvents();
      else this.#readersGone();
    };
  }

  /**
   * From now on the producer waits for this reader, if no other is further, before what it lacks is dropped;
   * until the returned function is called. Whoever takes nothing is evicted, and then nobody waits for it.
   */
  follow(place: Place): () => void {
    this.#places.add(place);
    return () => this.#places.delete(place);
  }

  /**
   * Stops the producer, at any time, and ends the run. When it resolves the end is in the log, or the run
   * had ended before.
   */
  stop(): Promise<void> {
    return this.#finish("stopped");
  }

  /** Ends it with an error that its readers are told. */
  fail(error: SluiceError): Promise<void> {
    return this.#finish("error", error);
  }

  /** Lets go of its events, as soon as those who read them now have done so. It must be over. */
  discard(): void {
    this.#isDiscarded = true;
    if (this.#readers === 0) this.#dropEvents();
  }

  #declare(): Promise<void> {
    const { bytesMax } = this.options;
    const retention = { bytesMax, countMax: 1_000_000, ageMsMax: FOREVER_MS };
    return this.#settle({ retention, ttlMs: FOREVER_MS });
  }

  async #drive(produce: Produce): Promise<void> {
    try {
      await this.ready;
      if (this.#abort.signal.aborted) return;
      await produce({ append: (fields) => this.#append(fields) }, this.#abort.signal);
      await this.#finish("done");
    } catch (error) {
      await this.#finish("error", toRunError(error));
    }
  }

  #append(fields: Uint8Array): void | Promise<void> {
    if (this.#state !== "open") return undefined;
    this.#window.add(fields.length);
    const appended = this.#put(fields, this.#kept, this.#refused);
    this.#turnBytes += fields.length + EVENT_BYTES_MIN;
    if (this.#turnBytes < TURN_BYTES) return undefined;
    this.#turnBytes = 0;
    return Promise.resolve(appended)
      .then(() => new Promise<void>((resolve) => this.#init.runtime.defer(resolve)))
      .then(() => this.#window.room(this.#fastest));
  }

  readonly #kept = ({ last }: Receipt): void => this.#window.mark(last.seq);

  /** Where nobody reads, nobody is behind. */
  readonly #fastest = (): number => {
    if (this.#places.size === 0) return Number.POSITIVE_INFINITY;
    let place = 0;
    for (const { settledTo } of this.#places) place = Math.max(place, settledTo);
    return place;
  };

  /** What the log refuses ends the run. */
  readonly #refused = (error: unknown): void => void this.#finish("error", toRunError(error));

  #settle(settings: TopicSettingsInput): Promise<void> {
    return this.#init.hub.declare(this.#tenant, this.topic, settings);
  }

  #put(
    fields: Uint8Array,
    onKept: (receipt: Receipt) => void,
    onRefused: (error: unknown) => void,
  ): Promise<void> | undefined {
    const request = { tenant: this.#tenant, topic: this.topic, events: [{ fields }] };
    return append(this.#init.hub, request, onKept, onRefused);
  }

  /** The next sweep of the log takes the record; its events go at once. */
  #dropEvents(): void {
    const retention = { countMax: 1, bytesMax: 1, ageMsMax: 1 };
    this.#settle({ retention, ttlMs: 1 }).catch(() => {});
  }

  #readersGone(): void {
    const { onReadersGone } = this.options;
    if (this.#state !== "open" || onReadersGone.kind === "detach") return;
    if (onReadersGone.kind === "cancel") return void this.stop();
    this.#grace = this.#init.runtime.after(onReadersGone.ms, () => void this.stop());
  }

  async #finish(state: RunEnd, error?: SluiceError): Promise<void> {
    if (this.#state !== "open") return void (await this.ended);
    const { hub, onEnd } = this.#init;
    this.#state = state;
    this.#grace?.cancel();
    this.#expiry.cancel();
    hub.metrics.add("sluice_runs", "open", -1);
    hub.metrics.add("sluice_runs", state);
    hub.metrics.add("sluice_runs_total", state);
    this.#abort.abort();
    this.#window.close();
    // What it says in the same turn is in order: nothing of the producer comes in between.
    if (error !== undefined) void this.#put(errorFields(error), ignore, ignore);
    const isStored = await this.#storeEnd(state);
    this.#end.resolve(state);
    onEnd(this, isStored);
  }

  /** Ending a topic twice is ending it once, so it may be tried again (law 14). */
  async #storeEnd(state: RunEnd): Promise<boolean> {
    const { hub, runtime } = this.#init;
    for (const retryMs of [...END_RETRY_MS, 0]) {
      try {
        await hub.end(this.#tenant, this.topic, state);
        return true;
      } catch (error) {
        // Anything else: there was no room for it from the beginning, or the hub is closed.
        if (!(error instanceof SluiceError) || error.code !== "broker_unavailable") return false;
        if (retryMs > 0) {
          await new Promise<void>((resolve) => void runtime.after(retryMs, resolve));
        }
      }
    }
    return false;
  }
}

/** Its end says the same. */
function ignore(): void {}

/** `event: error`, in which the clients of most model providers look for `error` too. */
function errorFields({ code, message }: SluiceError): Uint8Array {
  return encodeFields("error", JSON.stringify({ error: { code, message } }));
}

/** What a producer of our own throws is its own affair: readers are told that it failed, not why. */
function toRunError(error: unknown): SluiceError {
  if (error instanceof SluiceError) return error;
  return new SluiceError("run_failed", "the run's producer failed", { cause: error });
}
