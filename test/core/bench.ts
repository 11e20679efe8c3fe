import { createMemoryBroker } from "../../src/brokers/memory.ts";
import type { MemoryBrokerOptions } from "../../src/brokers/memory.ts";
import type { Broker, Receipt } from "../../src/core/broker.ts";
import { Hub } from "../../src/core/hub.ts";
import type { HubOptions } from "../../src/core/hub.ts";
import type { Opening } from "../../src/core/opening.ts";
import { Pattern } from "../../src/core/pattern.ts";
import type { WireForm } from "../../src/core/publication.ts";
import { selectTopics } from "../../src/core/selection.ts";
import type { TopicRule, TopicSettingsInput } from "../../src/core/settings.ts";
import type { HeartbeatMode } from "../../src/core/subscriber-options.ts";
import { FakeConnection, VirtualRuntime } from "../../src/testing/index.ts";
import { createScanner } from "../../src/wire/scan.ts";
import type { ScannedEvent } from "../../src/wire/scan.ts";

export interface BenchOptions extends Partial<Omit<HubOptions, "runtime" | "broker">> {
  readonly memory?: MemoryBrokerOptions;
  /** Stands between the hub and the memory broker. */
  readonly wrap?: (broker: Broker, runtime: VirtualRuntime) => Broker;
}

/** A hub over a memory broker in virtual time, and clients on fake connections. */
export class Bench {
  readonly runtime = new VirtualRuntime();
  readonly memory: Broker;
  readonly hub: Hub;
  #connections = 0;

  constructor({ memory, wrap, ...options }: BenchOptions = {}) {
    const { runtime } = this;
    this.memory = createMemoryBroker({ runtime, incarnation: "test", ...memory });
    const broker = wrap?.(this.memory, runtime) ?? this.memory;
    this.hub = new Hub({ ...options, broker, runtime });
  }

  publish(topic: string, ...data: readonly string[]): Promise<Receipt> {
    return this.publishAs("t", topic, ...data);
  }

  publishAs(tenant: string, topic: string, ...data: readonly string[]): Promise<Receipt> {
    return this.hub.publish({ tenant, topic, events: data.map((text) => ({ data: text })) });
  }

  subscribe(topics: string | readonly string[], options: ClientOptions = {}): Promise<Opening> {
    const {
      start,
      form = "plain",
      tenant = "t",
      heartbeat = "comment",
      isResumable,
      onGone,
    } = options;
    const selection = selectTopics([topics].flat());
    return this.hub.subscribe({
      tenant,
      selection,
      form,
      start,
      heartbeat,
      ...(isResumable !== undefined && { isResumable }),
      ...(onGone !== undefined && { onGone }),
    });
  }

  async join(topics: string | readonly string[], options: ClientOptions = {}): Promise<Client> {
    const subscribed = this.subscribe(topics, options);
    return this.attach(await this.runtime.resolve(subscribed), options);
  }

  attach(opening: Opening, options: ClientOptions = {}): Client {
    this.#connections += 1;
    return new Client(this.runtime, opening, `c${this.#connections}`, options);
  }
}

export interface ClientOptions {
  readonly start?: string;
  readonly form?: WireForm;
  readonly tenant?: string;
  readonly hasHello?: boolean;
  readonly heartbeat?: HeartbeatMode;
  readonly isLocal?: boolean;
  readonly isResumable?: boolean;
  readonly onGone?: () => void;
  /** Every write takes so long. */
  readonly writeMs?: number;
  /** Told of each piece of bytes that arrives. */
  readonly onBytes?: (client: Client) => void;
}

/** A connection and what its client made of it. */
export class Client {
  readonly name: string;
  readonly connection: FakeConnection;
  readonly subscriber: Opening["subscriber"];
  readonly verdict: Opening["verdict"];
  /** Blocks in order: `primer 3`, `gap trimmed`, `hello`, `data@4`, `: heartbeat`. */
  readonly blocks: string[] = [];
  readonly events: ScannedEvent[] = [];
  readonly gaps: { reason: string; from: string | null; to: string; topics?: string[] }[] = [];
  readonly retries: number[] = [];
  lastEventId = "";
  text = "";

  constructor(runtime: VirtualRuntime, opening: Opening, id: string, options: ClientOptions) {
    this.name = id;
    this.subscriber = opening.subscriber;
    this.verdict = opening.verdict;
    const scanner = createScanner({
      onEvent: (event) => this.#onEvent(event),
      onId: (primer) => void this.blocks.push(`primer ${seqOf(primer)}`),
      onComment: (text) => void this.blocks.push(`: ${text}`),
      onRetry: (retryMs) => {
        this.retries.push(retryMs);
        this.blocks.push("retry");
      },
    });
    this.connection = new FakeConnection({
      id,
      owner: opening.subscriber,
      runtime,
      isLocal: options.isLocal ?? false,
      onBytes: (bytes) => {
        runtime.elapse(options.writeMs ?? 0);
        this.text += Buffer.from(bytes).toString();
        scanner.push(bytes);
        this.lastEventId = scanner.lastEventId;
        options.onBytes?.(this);
      },
    });
    const hasHello = options.hasHello ?? false;
    opening.attach(this.connection, { retryMs: 1_000, hasHello });
  }

  get data(): string[] {
    return this.events.map(({ data }) => data);
  }

  get seqs(): number[] {
    return this.events.map(({ lastEventId }) => seqOf(lastEventId));
  }

  #onEvent(event: ScannedEvent): void {
    if (event.event === "gap") {
      const gap = JSON.parse(event.data) as (typeof this.gaps)[number];
      this.gaps.push(gap);
      this.blocks.push(`gap ${gap.reason}`);
    } else if (["hello", "close", "heartbeat"].includes(event.event)) {
      this.blocks.push(event.event);
    } else {
      this.events.push(event);
      this.blocks.push(`${event.event === "end" ? "end" : event.data}@${seqOf(event.lastEventId)}`);
    }
  }
}

export function seqOf(id: string): number {
  return Number(id.split(".")[1]);
}

export function rule(match: string, settings: TopicSettingsInput): TopicRule {
  return { match: Pattern.parse(match), settings };
}

/** `1..count` as texts. */
export function texts(count: number, from = 1): string[] {
  return Array.from({ length: count }, (_, index) => `${from + index}`);
}
