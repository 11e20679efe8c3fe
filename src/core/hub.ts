import type { Runtime } from "../internal/clock.ts";
import type { AppendRequest, Broker, EncodedEvent, Idempotency, Receipt } from "./broker.ts";
import type { DisconnectReason } from "./disconnect.ts";
import { SluiceError } from "./errors.ts";
import { EVENT_BYTES_MAX_DEFAULT, encodeInput } from "./event.ts";
import type { EventInput } from "./event.ts";
import { FlushScheduler } from "./flush.ts";
import { HEARTBEAT_DEFAULTS, Heartbeat } from "./heartbeat.ts";
import type { HeartbeatOptions } from "./heartbeat.ts";
import { checkFingerprint, keyOf } from "./idempotency.ts";
import { Metrics } from "./metrics.ts";
import { openSubscription } from "./opening.ts";
import type { Opening } from "./opening.ts";
import type { WireForm } from "./publication.ts";
import type { Selection } from "./selection.ts";
import type { TopicSettingsInput } from "./settings.ts";
import { SLICE_DEFAULTS } from "./slice.ts";
import type { SliceOptions } from "./slice.ts";
import type { Start } from "./start.ts";
import type { Subscriber } from "./subscriber.ts";
import type { HeartbeatMode } from "./subscriber-options.ts";
import { TenantHub } from "./tenant-hub.ts";
import { checkTopicName } from "./topic-name.ts";

/** How often tenants without subscribers let go of their broker. */
const TIDY_MS = 5_000;

export interface HubOptions {
  readonly broker: Broker;
  readonly runtime: Runtime;
  /** Data of one event, in bytes. @defaultValue 1 MiB */
  readonly eventBytesMax?: number;
  readonly heartbeat?: Partial<HeartbeatOptions>;
  readonly slices?: Partial<SliceOptions>;
}

export interface Publish {
  readonly tenant: string;
  readonly topic: string;
  /** Appended all or none. */
  readonly events: readonly EventInput[];
  readonly idempotency?: Idempotency | undefined;
}

export interface Subscribe {
  readonly tenant: string;
  readonly selection: Selection;
  readonly form: WireForm;
  readonly start: Start;
  /** @defaultValue "comment" */
  readonly heartbeat?: HeartbeatMode;
  /** Its client can come back with its place; see `SubscriberOptions`. @defaultValue true */
  readonly isResumable?: boolean;
  /** Called once, when the subscriber is gone; also if it never had a connection. */
  readonly onGone?: () => void;
}

/** What is said of a connection that has ended. */
export type ConnectionListener = (subscriber: Subscriber, reason: DisconnectReason) => void;

/** This process's topics, subscribers and fan-out, over a broker that owns the log. */
export class Hub {
  readonly broker: Broker;
  readonly metrics = new Metrics();
  readonly eventBytesMax: number;
  /** No connection is idle for longer, in milliseconds. */
  readonly heartbeatMs: number;
  /** A connection on which nothing of what is pending leaves for so long is ended, in milliseconds. */
  readonly stallMs: number;
  /** While it says true no connection is told to go because of its age: nothing sends clients back while they would be refused. */
  pauseRotation: () => boolean = () => false;

  readonly #runtime: Runtime;
  readonly #flush: FlushScheduler;
  readonly #heartbeat: Heartbeat;
  readonly #tenants = new Map<string, { hub: TenantHub; attached: Promise<void> }>();
  /** By the id of their connection. */
  readonly #connections = new Map<string, Subscriber>();
  readonly #listeners = new Set<ConnectionListener>();
  /** Publishes with an idempotency key that are under way: a second one waits for the first. */
  readonly #underWay = new Map<string, Map<string, Keyed>>();
  #isClosed = false;

  constructor(options: HubOptions) {
    this.broker = options.broker;
    this.eventBytesMax = options.eventBytesMax ?? EVENT_BYTES_MAX_DEFAULT;
    this.#runtime = options.runtime;
    const slices = { ...SLICE_DEFAULTS, ...options.slices };
    const heartbeat = { ...HEARTBEAT_DEFAULTS, ...options.heartbeat };
    this.#flush = new FlushScheduler(options.runtime, slices, this.metrics);
    this.heartbeatMs = heartbeat.heartbeatMs;
    this.stallMs = heartbeat.stallMs;
    this.#heartbeat = new Heartbeat(heartbeat, options.runtime, this.metrics, () =>
      this.pauseRotation(),
    );
    this.#tidyLater();
  }

  /** How many subscribers there are, of all tenants. */
  get subscribersNow(): number {
    let count = 0;
    for (const { hub } of this.#tenants.values()) count += hub.subscribers.size;
    return count;
  }

  /** How many connections carry a subscriber. */
  get connectionsNow(): number {
    return this.#connections.size;
  }

  /** The subscriber that the connection `id` carries. */
  connection(id: string): Subscriber | undefined {
    return this.#connections.get(id);
  }

  /** Every connection that carries a subscriber. */
  connections(): Iterable<Subscriber> {
    return this.#connections.values();
  }

  /** `listener` is told of every connection that ends, until the returned function is called. */
  onConnectionEnd(listener: ConnectionListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Every subscriber now, of all tenants; also those that have no connection yet. */
  *subscribers(): Generator<Subscriber> {
    for (const { hub } of this.#tenants.values()) yield* hub.subscribers;
  }

  /**
   * Appends `events` to a topic. When it resolves they are in the log at the receipt's durability.
   * Rejects with `topic_name_invalid`, `batch_empty`, `topic_ended`, `topics_exhausted`,
   * `idempotency_conflict`, what `encodeInput` refuses (nothing was appended), or
   * `broker_unavailable` (unknown: retry with an idempotency key).
   */
  async publish(publish: Publish): Promise<Receipt> {
    const { tenant, events, idempotency } = publish;
    this.#checkOpen();
    const topic = checkTopicName(publish.topic);
    if (events.length === 0) throw new SluiceError("batch_empty", "there is no event to publish");
    const encoded = events.map((event) => encodeInput(event, this.eventBytesMax));
    const append = (): Promise<Receipt> =>
      this.broker.publish({ tenant, topic, events: encoded, idempotency });
    const receipt = await (idempotency === undefined
      ? append()
      : this.#once(tenant, topic, idempotency, append));
    if (receipt.isDuplicate) this.metrics.plain.sluice_publish_duplicates_total += 1;
    else this.#count(encoded);
    return receipt;
  }

  /**
   * Appends what an upstream has said, word for word: its events may have names that are reserved here.
   * Their size is the caller's to bound. Otherwise as `publish`, but at once where the broker can: then
   * it throws what would be rejected.
   */
  append(request: AppendRequest): Receipt | Promise<Receipt> {
    this.#checkOpen();
    if (this.broker.append === undefined) return this.#appendLater(request);
    const receipt = this.broker.append(request);
    this.#count(request.events);
    return receipt;
  }

  /** States settings for a topic over those of the configuration, and reopens it if it had ended. */
  async declare(tenant: string, topic: string, settings: TopicSettingsInput): Promise<void> {
    this.#checkOpen();
    await this.broker.declare(tenant, checkTopicName(topic), settings);
  }

  /** Ends a topic: readers get `event: end`, publishers `topic_ended`; what is retained stays readable. */
  async end(tenant: string, topic: string, reason: string): Promise<Receipt> {
    this.#checkOpen();
    return this.broker.end(tenant, checkTopicName(topic), reason);
  }

  /** Opens a subscription and judges its cursor; see `openSubscription`. */
  async subscribe(subscribe: Subscribe): Promise<Opening> {
    this.#checkOpen();
    const tenant = await this.#tenant(subscribe.tenant);
    const opening = await openSubscription(tenant, this.broker, this.#runtime, subscribe);
    this.metrics.add("sluice_subscriptions_total", opening.verdict);
    return opening;
  }

  /** Refreshes the gauges that nobody keeps; call it before the metrics are read. */
  measure(): void {
    let routes = 0;
    for (const { hub } of this.#tenants.values()) routes += hub.routesNow;
    this.#heartbeat.pending.refresh();
    this.metrics.plain.sluice_tenants = this.#tenants.size;
    this.metrics.plain.sluice_routes = routes;
  }

  /** Ends what is still open, without announcement, and closes the broker. Nothing works afterwards. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#heartbeat.close();
    for (const subscriber of this.subscribers()) subscriber.end("hub_closed");
    this.#tenants.clear();
    await this.broker.close();
  }

  #onAttached(subscriber: Subscriber): void {
    if (subscriber.connection !== undefined) {
      this.#connections.set(subscriber.connection.id, subscriber);
    }
  }

  #onEnded(subscriber: Subscriber, reason: DisconnectReason): void {
    if (subscriber.connection !== undefined) this.#connections.delete(subscriber.connection.id);
    for (const listener of this.#listeners) listener(subscriber, reason);
  }

  #count(events: readonly EncodedEvent[]): void {
    const { plain } = this.metrics;
    plain.sluice_publications_total += events.length;
    for (const { fields } of events) plain.sluice_publication_bytes_total += fields.length;
  }

  async #appendLater(request: AppendRequest): Promise<Receipt> {
    const receipt = await this.broker.publish(request);
    this.#count(request.events);
    return receipt;
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new SluiceError("shutting_down", "the hub is closed");
  }

  async #tenant(name: string): Promise<TenantHub> {
    let tenant = this.#tenants.get(name);
    if (tenant === undefined) {
      const hub = new TenantHub({
        name,
        broker: this.broker,
        runtime: this.#runtime,
        metrics: this.metrics,
        heartbeat: this.#heartbeat,
        schedule: this.#flush.schedule,
        onAttached: (subscriber) => this.#onAttached(subscriber),
        onEnded: (subscriber, reason) => this.#onEnded(subscriber, reason),
      });
      tenant = { hub, attached: hub.attach() };
      this.#tenants.set(name, tenant);
      // A failed attach is not kept: the next subscription tries again.
      tenant.attached.catch(() => this.#tenants.delete(name));
    }
    await tenant.attached;
    // It may have been closed meanwhile: nobody would ever end who is let in now.
    this.#checkOpen();
    return tenant.hub;
  }

  /** Runs `append` unless a publish with the same key is under way, whose outcome is then shared. */
  async #once(
    tenant: string,
    topic: string,
    idempotency: Idempotency,
    append: () => Promise<Receipt>,
  ): Promise<Receipt> {
    let ofTenant = this.#underWay.get(tenant);
    if (ofTenant === undefined) this.#underWay.set(tenant, (ofTenant = new Map()));
    const key = keyOf(topic, idempotency.key);
    const first = ofTenant.get(key);
    if (first !== undefined) {
      checkFingerprint(topic, idempotency, first.fingerprint);
      return { ...(await first.receipt), isDuplicate: true };
    }
    const receipt = append();
    ofTenant.set(key, { fingerprint: idempotency.fingerprint, receipt });
    try {
      return await receipt;
    } finally {
      ofTenant.delete(key);
      if (ofTenant.size === 0) this.#underWay.delete(tenant);
    }
  }

  #tidyLater(): void {
    this.#runtime.after(TIDY_MS, () => {
      if (this.#isClosed) return;
      for (const [name, { hub }] of this.#tenants) {
        if (!hub.isAttached || hub.subscribers.size > 0) continue;
        hub.detach();
        this.#tenants.delete(name);
      }
      this.#tidyLater();
    });
  }
}

interface Keyed {
  readonly fingerprint: string;
  readonly receipt: Promise<Receipt>;
}
