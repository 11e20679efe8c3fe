import { SluiceError } from "../../core/errors.ts";
import { feedTenant } from "../../core/feed-tenant.ts";
import type { Hub } from "../../core/hub.ts";
import type { Runtime, Timer } from "../../internal/clock.ts";
import { encodeFields } from "../../wire/frame.ts";
import type { RunOptions } from "./run-options.ts";

export const RUN_STATES = ["open", "done", "error", "stopped", "expired"] as const;
/**
 * `open`: its producer works. All others are ends: `done`, the producer came to its end; `error`, it failed,
 * or the gateway shut down; `stopped`, somebody asked for it, or all readers were gone; `expired`, it took too long.
 */
export type RunState = (typeof RUN_STATES)[number];
export type RunEnd = Exclude<RunState, "open">;

/** Where a producer puts what it makes. */
export interface RunSink {
  /**
   * Appends one event: its `event:` and `data:` lines, as `encodeFields` makes them. The promise, if there
   * is one, resolves when the next event may follow. After the end of the run it does nothing.
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
  /** It is over; its events can still be read. */
  onEnd(run: Run): void;
}

/** Appends that may be under way before the producer waits, in bytes. */
const APPENDING_BYTES_MAX = 256 * 1024;
const FOREVER_MS = 3_650 * 86_400_000;

/** A topic that one producer feeds, with an end that is stored and delivered exactly once (law 14). */
export class Run {
  readonly id: string;
  /** Its owner. Its topic lives in the hidden tenant `feedTenant(tenant)`. */
  readonly tenant: string;
  readonly topic: string;
  readonly options: RunOptions;
  /** How it ended. Never rejects. */
  readonly ended: Promise<RunEnd>;
  readonly #init: RunInit;
  readonly #abort = new AbortController();
  readonly #end = Promise.withResolvers<RunEnd>();
  #state: RunState = "open";
  #readers = 0;
  #appendingBytes = 0;
  #grace: Timer | undefined;
  readonly #expiry: Timer;

  constructor(init: RunInit) {
    this.#init = init;
    this.id = init.id;
    this.tenant = init.tenant;
    this.topic = `runs/${init.id}`;
    this.options = init.options;
    this.ended = this.#end.promise;
    init.hub.metrics.add("sluice_runs", "open");
    this.#expiry = init.runtime.after(init.options.ageMsMax, () => void this.#finish("expired"));
    void this.#drive();
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
      if (this.#readers === 0) this.#readersGone();
    };
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

  async #drive(): Promise<void> {
    const { hub, produce, options } = this.#init;
    const retention = { bytesMax: options.bytesMax, countMax: 1_000_000, ageMsMax: FOREVER_MS };
    try {
      await hub.declare(feedTenant(this.tenant), this.topic, { retention, ttlMs: FOREVER_MS });
      if (this.#abort.signal.aborted) return;
      await produce({ append: (fields) => this.#append(fields) }, this.#abort.signal);
      await this.#finish("done");
    } catch (error) {
      await this.#finish("error", toRunError(error));
    }
  }

  #append(fields: Uint8Array): void | Promise<void> {
    if (this.#state !== "open") return undefined;
    this.#appendingBytes += fields.length;
    const appended = this.#put(fields).finally(() => (this.#appendingBytes -= fields.length));
    if (this.#appendingBytes > APPENDING_BYTES_MAX) return appended;
    appended.catch((error: unknown) => void this.#finish("error", toRunError(error)));
    return undefined;
  }

  async #put(fields: Uint8Array): Promise<void> {
    const tenant = feedTenant(this.tenant);
    await this.#init.hub.append({ tenant, topic: this.topic, events: [{ fields }] });
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
    try {
      // What it says in the same turn is in order: nothing of the producer comes in between.
      if (error !== undefined) await this.#put(errorFields(error));
      await hub.end(feedTenant(this.tenant), this.topic, state);
    } catch {
      // The log is gone, or the hub is closed: there is nobody to tell.
    }
    this.#end.resolve(state);
    onEnd(this);
  }
}

/** `event: error`, in which the clients of most model providers look for `error` too. */
function errorFields({ code, message }: SluiceError): Uint8Array {
  return encodeFields("error", JSON.stringify({ error: { code, message } }));
}

/** What a producer of our own throws is its own affair: readers are told that it failed, not why. */
function toRunError(error: unknown): SluiceError {
  if (error instanceof SluiceError) return error;
  return new SluiceError("run_failed", "the run's producer failed", { cause: error });
}
