import { createHash, randomBytes } from "node:crypto";
import { encodeFields } from "../wire/frame.ts";
import { MemoryAccount } from "../internal/account.ts";
import type { Runtime, Timer } from "../internal/clock.ts";
import { systemRuntime } from "../internal/clock.ts";
import type {
  AppendRequest,
  Attachment,
  Broker,
  EncodedEvent,
  PublishRequest,
  ReadRequest,
  ReadResult,
  Receipt,
  Tail,
} from "../core/broker.ts";
import { SluiceError } from "../core/errors.ts";
import { IDEMPOTENCY_DEFAULTS, IdempotencyWindow } from "../core/idempotency.ts";
import type { IdempotencyOptions } from "../core/idempotency.ts";
import type { PublicationKind } from "../core/publication.ts";
import { overlay, settingsFor } from "../core/settings.ts";
import type { TopicRule, TopicSettingsInput } from "../core/settings.ts";
import { TenantLog } from "../core/tenant-log.ts";
import type { TopicLog } from "../core/topic-log.ts";

/** A hundred thousand topics are looked at in twenty seconds, and no sweep takes longer than a millisecond. */
const SWEEP_INTERVAL_MS = 1_000;
const SWEEP_TOPICS_MAX = 5_000;

export interface MemoryBrokerOptions {
  /** Memory for the events of all tenants together, in bytes. @defaultValue 256 MiB */
  readonly memoryBytesMax?: number;
  /** Topics of one tenant. @defaultValue 100,000 */
  readonly topicsMax?: number;
  /** Settings by pattern; the first rule that matches counts. @defaultValue none */
  readonly rules?: readonly TopicRule[];
  readonly idempotency?: Partial<IdempotencyOptions>;
  /** Names this incarnation of the log; epochs are derived from it. @defaultValue 128 random bits */
  readonly incarnation?: string;
  readonly runtime?: Runtime;
}

interface Tenant {
  readonly name: string;
  readonly log: TenantLog;
  readonly receipts: IdempotencyWindow;
  readonly tails: Set<Tail>;
}

/** Keeps the log in this process's memory: nothing survives it, and a restart is a new epoch. */
export function createMemoryBroker(options: MemoryBrokerOptions = {}): Broker {
  return new MemoryBroker(options);
}

class MemoryBroker implements Broker {
  readonly kind = "memory";
  readonly #options;
  readonly #runtime: Runtime;
  readonly #account = new MemoryAccount();
  readonly #tenants = new Map<string, Tenant>();
  #sweeping: Timer;
  #isClosed = false;

  constructor(options: MemoryBrokerOptions) {
    this.#options = {
      memoryBytesMax: options.memoryBytesMax ?? 256 * 1024 * 1024,
      topicsMax: options.topicsMax ?? 100_000,
      rules: options.rules ?? [],
      idempotency: { ...IDEMPOTENCY_DEFAULTS, ...options.idempotency },
      incarnation: options.incarnation ?? randomBytes(16).toString("base64url"),
    };
    this.#runtime = options.runtime ?? systemRuntime();
    this.#sweeping = this.#sweepLater();
  }

  async attach(name: string, tail: Tail): Promise<Attachment> {
    const { log, tails } = this.#tenant(name);
    tails.add(tail);
    return { epoch: log.epoch, head: log.head, detach: () => void tails.delete(tail) };
  }

  async publish(request: PublishRequest): Promise<Receipt> {
    const { topic, idempotency } = request;
    if (idempotency === undefined) return this.append(request);
    const { receipts } = this.#tenant(request.tenant);
    const now = this.#runtime.now();
    const earlier = receipts.find(topic, idempotency, now);
    if (earlier !== undefined) return earlier;
    const receipt = this.append(request);
    receipts.remember(topic, idempotency, receipt, now);
    return receipt;
  }

  append({ tenant: name, topic, events }: AppendRequest): Receipt {
    const tenant = this.#tenant(name);
    const log = tenant.log.open(topic, this.#runtime.now());
    if (log.endedAt !== undefined) {
      throw new SluiceError("topic_ended", `the topic "${topic}" ended at ${log.endedAt}`);
    }
    return this.#append(tenant, log, events, "event");
  }

  async end(name: string, topic: string, reason: string): Promise<Receipt> {
    const tenant = this.#tenant(name);
    const log = tenant.log.open(topic, this.#runtime.now());
    if (log.endedAt !== undefined) {
      const at = { epoch: tenant.log.epoch, seq: log.endedAt };
      return { first: at, last: at, count: 1, durability: "memory", isDuplicate: true };
    }
    const fields = encodeFields("end", JSON.stringify({ topic, reason }));
    return this.#append(tenant, log, [{ fields }], "end");
  }

  async declare(name: string, topic: string, settings: TopicSettingsInput): Promise<void> {
    const log = this.#tenant(name).log.open(topic, this.#runtime.now());
    log.settings = overlay(settingsFor(topic, this.#options.rules), settings);
    log.isDeclared = true;
    log.endedAt = undefined;
    log.trim(this.#runtime.now());
  }

  async read(request: ReadRequest): Promise<ReadResult> {
    const now = this.#runtime.now();
    return this.#tenant(request.tenant).log.read({ ...request, now });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#sweeping.cancel();
    this.#tenants.clear();
  }

  #append(
    tenant: Tenant,
    log: TopicLog,
    events: readonly EncodedEvent[],
    kind: PublicationKind,
  ): Receipt {
    const now = this.#runtime.now();
    const epoch = tenant.log.epoch;
    const first = { epoch, seq: tenant.log.head + 1 };
    for (const event of events) {
      const publication = tenant.log.append(log, event, kind, now);
      for (const tail of tenant.tails) tail.onAppended(publication);
    }
    this.#shrink();
    const last = { epoch, seq: tenant.log.head };
    return { first, last, count: events.length, durability: "memory", isDuplicate: false };
  }

  /** When memory is short, the tenant furthest above its share is trimmed first. */
  #shrink(): void {
    const { memoryBytesMax } = this.#options;
    while (this.#account.bytes > memoryBytesMax) {
      // All shares are equal, so the one furthest above is the largest.
      let largest: TenantLog | undefined;
      for (const { log } of this.#tenants.values()) {
        if (largest === undefined || log.account.bytes > largest.account.bytes) largest = log;
      }
      if (largest === undefined || largest.account.bytes === 0) return;
      const before = this.#account.bytes;
      largest.shrinkTo(Math.max(0, largest.account.bytes - (before - memoryBytesMax)));
      // Nothing is left but the records of declared topics, which topicsMax bounds.
      if (this.#account.bytes === before) return;
    }
  }

  #tenant(name: string): Tenant {
    if (this.#isClosed) throw new SluiceError("broker_unavailable", "the memory broker is closed");
    let tenant = this.#tenants.get(name);
    if (tenant === undefined) {
      const log = new TenantLog({
        epoch: epochOf(this.#options.incarnation, name),
        topicsMax: this.#options.topicsMax,
        account: this.#account,
        settingsFor: (topic) => settingsFor(topic, this.#options.rules),
      });
      const receipts = new IdempotencyWindow(this.#options.idempotency);
      tenant = { name, log, receipts, tails: new Set() };
      this.#tenants.set(name, tenant);
    }
    return tenant;
  }

  #sweepLater(): Timer {
    return this.#runtime.after(SWEEP_INTERVAL_MS, () => {
      for (const { log } of this.#tenants.values()) {
        log.sweep(this.#runtime.now(), SWEEP_TOPICS_MAX);
      }
      this.#sweeping = this.#sweepLater();
    });
  }
}

/**
 * Names one incarnation of one tenant's log, so that another tenant's cursor is foreign. 72 bits of a
 * hash: a cursor must not tell its bearer what other tenants' epochs are. The parts are
 * length-prefixed, so no two pairs share a name (law 21).
 */
function epochOf(incarnation: string, tenant: string): string {
  const parts = `${incarnation.length}:${incarnation}${tenant}`;
  return createHash("sha256").update(parts).digest("base64url").slice(0, 12);
}
