import { createMemoryBroker } from "../brokers/memory.ts";
import type { Durability, Receipt } from "../core/broker.ts";
import { SluiceError } from "../core/errors.ts";
import { checkTypes } from "../core/event.ts";
import type { EventInput } from "../core/event.ts";
import { Hub } from "../core/hub.ts";
import { checkIdempotencyKey } from "../core/idempotency.ts";
import { Pattern } from "../core/pattern.ts";
import { selectTopics } from "../core/selection.ts";
import type { TopicSettingsInput } from "../core/settings.ts";
import { checkTopicName } from "../core/topic-name.ts";
import { systemRuntime } from "../internal/clock.ts";
import type { Runtime } from "../internal/clock.ts";
import { fromIterable } from "../upstreams/runs/producers.ts";
import { runsOf } from "../upstreams/runs/registry.ts";
import type { RunEnd, RunState } from "../upstreams/runs/run.ts";
import type { RunOptions } from "../upstreams/runs/run-options.ts";
import { IteratorConnection } from "../transports/iterator.ts";
import { formatCursor } from "../wire/cursor.ts";
import type { ScannedEvent } from "../wire/scan.ts";
import { checkHubOptions, checkRunOptions, checkSettings, stated } from "./hub-options.ts";
import type { CreateHubOptions } from "./hub-options.ts";
import { fingerprintOf, randomId } from "./ids.ts";

export const DEFAULT_TENANT = "default";

/** What may be published: text, its UTF-8 bytes, or an event with a name or a key. */
export type Publishable = string | Uint8Array | EventInput;

export interface PublishOptions {
  /** @defaultValue "default" */
  readonly tenant?: string;
  /** Makes a retry safe: the same key and event are appended once. 1-255 characters of printable ASCII. */
  readonly idempotencyKey?: string;
}

export interface Published {
  /** The event's cursor. */
  readonly id: string;
  readonly durability: Durability;
  /** The idempotency key was seen before; nothing was appended now. */
  readonly isDuplicate: boolean;
}

/**
 * What `events()` yields. A gap says what could not be delivered; it is never skipped silently. An end
 * comes last, and says how the topic ended: `done`, `error`, or what it was ended with.
 */
export type TopicItem =
  | {
      readonly type: "event";
      readonly id: string;
      readonly event: string;
      readonly data: string;
    }
  | {
      readonly type: "gap";
      readonly reason: string;
      readonly from: string | null;
      readonly to: string;
    }
  | { readonly type: "end"; readonly id: string; readonly reason: string };

export interface EventsOptions {
  /** A cursor, or `earliest`, `latest`, `last:<n>`. @defaultValue "latest" */
  readonly after?: string;
  /** Ends the iteration without an error. */
  readonly signal?: AbortSignal;
}

export interface PipeOptions {
  /** Ends the topic when the source has ended, or has thrown. @defaultValue true */
  readonly endsTopic?: boolean;
}

/** How a run of this process is kept. */
export interface LocalRunOptions extends Partial<RunOptions> {
  /** @defaultValue "default" */
  readonly tenant?: string;
}

/** A run of this process. */
export interface LocalRun {
  readonly id: string;
  readonly state: RunState;
  /** How it ended, when it has. Never rejects. */
  readonly ended: Promise<RunEnd>;
  /** Ends it with `stopped`. When it resolves that is in the log, or the run had ended before. */
  stop(): Promise<void>;
}

/** A hub in this process. Make it with `createHub`, and serve it with `createGateway`. */
export class LocalHub {
  /** The hub that transports and the gateway work with. */
  readonly core: Hub;

  readonly #runtime: Runtime;

  constructor(core: Hub, runtime: Runtime = systemRuntime()) {
    this.core = core;
    this.#runtime = runtime;
  }

  /**
   * Appends an event to a topic. When it resolves the event is in the log at the named durability.
   * Rejects with a `SluiceError`: `topic_name_invalid`, `parameter_invalid` (a value of another type),
   * `event_name_invalid`, `event_name_reserved`, `event_key_invalid`, `event_too_large`, `body_not_utf8`,
   * `idempotency_key_invalid`, `idempotency_conflict`, `topic_ended`, `topics_exhausted`, `shutting_down`
   * (the hub is closed); with these nothing was appended. `broker_unavailable` means unknown: retry with
   * an idempotency key.
   */
  async publish(
    topic: string,
    event: Publishable,
    options: PublishOptions = {},
  ): Promise<Published> {
    const input = toInput(event);
    const { idempotencyKey, tenant = DEFAULT_TENANT } = options;
    const idempotency =
      idempotencyKey === undefined
        ? undefined
        : { key: checkIdempotencyKey(idempotencyKey), fingerprint: fingerprintOfInput(input) };
    const receipt = await this.core.publish({ tenant, topic, events: [input], idempotency });
    return toPublished(receipt);
  }

  /** Throws `topic_name_invalid`. The topic need not exist yet. */
  topic(name: string, options: { readonly tenant?: string } = {}): Topic {
    return new Topic(this, checkTopicName(name), options.tenant ?? DEFAULT_TENANT);
  }

  /**
   * Runs a producer whose events anybody can read who has the id, at `GET /v1/runs/{id}` of a gateway on
   * this hub: from the beginning, from any place, on any device, and after its end until `ttlMs` is over.
   * The producer outlives its readers (R03). It is given a signal that aborts when the run is stopped.
   *
   * The run ends with `done`, or with `error` where the producer throws; readers are told
   * `event: error` first, with the code of a `SluiceError`, or `run_failed` and not why. A run that exists
   * under this id is returned as it is, and nothing is started.
   *
   * Throws `topic_name_invalid` for an id that is no topic name, `parameter_invalid` for an option out of
   * its bounds, and `runs_exhausted`.
   *
   * @example
   * const run = hub.run(randomUUID(), async function* (signal) {
   *   for await (const token of model.stream(prompt, { signal })) yield token;
   * });
   * response.setHeader("Sluice-Run", run.id);
   */
  run(
    id: string,
    producer: AsyncIterable<Publishable> | ((signal: AbortSignal) => AsyncIterable<Publishable>),
    options: LocalRunOptions = {},
  ): LocalRun {
    checkRunOptions(options);
    const { tenant = DEFAULT_TENANT, ...rest } = options;
    const make = typeof producer === "function" ? producer : () => producer;
    const registry = runsOf(this.core, this.#runtime);
    const produce = fromIterable(make, toInput, this.core.eventBytesMax);
    const { run } = registry.start({ tenant, id, produce, options: stated(rest) });
    return {
      id: run.id,
      get state() {
        return run.state;
      },
      ended: run.ended,
      stop: () => run.stop(),
    };
  }

  /** Ends all runs and subscriptions, and closes the broker. */
  async close(): Promise<void> {
    runsOf(this.core, this.#runtime).shutdown();
    await this.core.close();
  }
}

/** One topic of a hub. */
export class Topic {
  readonly name: string;
  readonly tenant: string;
  readonly #hub: LocalHub;

  constructor(hub: LocalHub, name: string, tenant: string) {
    this.#hub = hub;
    this.name = name;
    this.tenant = tenant;
  }

  async publish(
    event: Publishable,
    options: Omit<PublishOptions, "tenant"> = {},
  ): Promise<Published> {
    return this.#hub.publish(this.name, event, { ...options, tenant: this.tenant });
  }

  /**
   * Yields the topic's events from `after` on, in order, each once, until the topic ends, the signal
   * aborts or the hub closes. A slow consumer is sent from the log at its own pace; nothing is buffered
   * for it beyond one batch. It subscribes when the first event is asked for: what is published before
   * the broker has answered that is not part of `latest`. Name a cursor where that matters.
   */
  async *events(options: EventsOptions = {}): AsyncGenerator<TopicItem, void, void> {
    const { after, signal } = options;
    const isAborted = (): boolean => signal?.aborted ?? false;
    if (isAborted()) return;
    const opening = await this.#hub.core.subscribe({
      tenant: this.tenant,
      selection: selectTopics([this.name]),
      form: "plain",
      start: after,
    });
    const connection = new IteratorConnection(randomId(), opening.subscriber);
    const stop = (): void => connection.abort("client_closed");
    try {
      if (opening.verdict === "finished") return opening.abandon();
      opening.attach(connection, { retryMs: 0, hasHello: false });
      signal?.addEventListener("abort", stop, { once: true });
      if (isAborted()) stop();
      for (let event = await connection.take(); event; event = await connection.take()) {
        if (event.event === "close") return;
        yield toItem(event);
      }
    } finally {
      signal?.removeEventListener("abort", stop);
      stop();
    }
  }

  /**
   * Publishes everything that `source` yields, in order, whoever reads or does not: the topic outlives
   * its readers. Each event is in the log before the next is asked for. Ends the topic with the source:
   * `done`, or `error` if it threw, in which case the returned promise rejects with that error.
   */
  async pipe(
    source: AsyncIterable<Publishable> | Iterable<Publishable>,
    options: PipeOptions = {},
  ): Promise<{ count: number }> {
    const { endsTopic = true } = options;
    let count = 0;
    try {
      for await (const event of source) {
        await this.publish(event);
        count += 1;
      }
    } catch (error) {
      // Why the source failed is what the caller must learn, also if the end could not be appended.
      if (endsTopic) await this.end("error").catch(() => {});
      throw error;
    }
    if (endsTopic) await this.end("done");
    return { count };
  }

  /** Ends the topic: readers get `event: end`, publishers `topic_ended`; what is retained stays readable. */
  async end(reason = "ended"): Promise<Published> {
    return toPublished(await this.#hub.core.end(this.tenant, this.name, reason));
  }

  /**
   * States settings for the topic, and reopens it if it had ended. Rejects with `parameter_invalid` for
   * a value out of its bounds, `topics_exhausted`, `shutting_down` and `broker_unavailable`.
   */
  async declare(settings: TopicSettingsInput = {}): Promise<void> {
    checkSettings(settings);
    await this.#hub.core.declare(this.tenant, this.name, settings);
  }
}

/**
 * A hub on the memory broker, or on the one given. Nothing listens: see `createGateway`. Throws
 * `parameter_invalid` for a value out of its bounds, `topic_pattern_invalid` for a `match`.
 */
export function createHub(options: CreateHubOptions = {}): LocalHub {
  checkHubOptions(options);
  const runtime = options.runtime ?? systemRuntime();
  const rules = (options.topics ?? []).map(({ match, ...settings }) => ({
    match: Pattern.parse(match),
    settings: { ...settings, retention: stated(settings.retention ?? {}) },
  }));
  const broker =
    options.broker ??
    createMemoryBroker({
      rules,
      runtime,
      ...(options.memoryBytesMax !== undefined && { memoryBytesMax: options.memoryBytesMax }),
      ...(options.topicsMax !== undefined && { topicsMax: options.topicsMax }),
      ...(options.idempotency !== undefined && { idempotency: stated(options.idempotency) }),
    });
  const hub = new Hub({
    broker,
    runtime,
    ...(options.eventBytesMax !== undefined && { eventBytesMax: options.eventBytesMax }),
    ...(options.heartbeat !== undefined && { heartbeat: stated(options.heartbeat) }),
  });
  return new LocalHub(hub, runtime);
}

function toInput(event: Publishable): EventInput {
  if (typeof event === "string" || event instanceof Uint8Array) return { data: event };
  if (typeof event === "object" && event !== null && "data" in event) {
    checkTypes(event);
    return event;
  }
  throw new SluiceError(
    "parameter_invalid",
    "publish takes a string, bytes, or { data, event, key }",
  );
}

function toItem({ event, data, lastEventId: id }: ScannedEvent): TopicItem {
  if (event === "gap") return { type: "gap", ...JSON.parse(data) };
  if (event === "end") return { type: "end", id, reason: JSON.parse(data).reason };
  return { type: "event", id, event, data };
}

function toPublished(receipt: Receipt): Published {
  const { epoch, seq } = receipt.last;
  const { durability, isDuplicate } = receipt;
  return { id: formatCursor(epoch, seq), durability, isDuplicate };
}

function fingerprintOfInput({ event = "", key = "", data }: EventInput): string {
  return fingerprintOf(event, key, data);
}
