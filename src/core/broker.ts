import type { Cursor } from "../wire/cursor.ts";
import type { Publication } from "./publication.ts";
import type { Selection } from "./selection.ts";
import type { Lane, TopicSettingsInput } from "./settings.ts";

/**
 * The port that every broker implements. The broker owns the log: it orders, keeps and reads;
 * sequence numbers, epochs and floors are its to keep. The hub only fans out.
 *
 * The contract, in prose:
 * - *Order.* Sequence numbers rise within a tenant. They may have holes; nothing is inferred from one.
 * - *Epoch.* Names one incarnation of one tenant's log, so that no cursor of another tenant, or of a
 *   log whose numbers could be used again, is ever taken for this one's.
 * - *Tail.* After `attach` has resolved with `head`, every entry above `head` reaches the tail in
 *   order, each once. Entries may also arrive before `attach` resolves; the tail sorts them out by
 *   `head`. A batch that was published as one arrives in one synchronous run of calls.
 * - *Acknowledgement.* When `publish` has resolved, the events are in the log at the durability named
 *   in the receipt. When it rejects with a `SluiceError` other than `broker_unavailable`, nothing was
 *   appended. `broker_unavailable` means unknown: retry with an idempotency key.
 * - *Reads* may be late, and out of phase with the tail. A result is a consistent view of one moment.
 * - Every method may reject with `broker_unavailable`; the caller retries.
 */
export interface Broker {
  /** Lower-case name, as in the configuration: `memory`, `redis`. */
  readonly kind: string;
  attach(tenant: string, tail: Tail): Promise<Attachment>;
  /** Appends all of `request.events` to one topic, or none. */
  publish(request: PublishRequest): Promise<Receipt>;
  /**
   * Only where the log is in this process: as `publish`, at once. Throws what that rejects with. Each event of
   * an upstream comes here, and promises were a tenth of what one costs (measured).
   */
  append?(request: AppendRequest): Receipt;
  read(request: ReadRequest): Promise<ReadResult>;
  /** States settings for a topic over the rules of the configuration, and reopens it if it had ended. */
  declare(tenant: string, topic: string, settings: TopicSettingsInput): Promise<void>;
  /** Appends the `end` entry. A topic that has ended answers with its existing end. */
  end(tenant: string, topic: string, reason: string): Promise<Receipt>;
  /** Nothing is delivered or accepted any more; every later call rejects. */
  close(): Promise<void>;
}

/**
 * What an acknowledged publish has survived: `memory`, nothing; `os`, a crash of the process;
 * `fsync`, a crash of the machine; `replicated`, the loss of a machine.
 */
export type Durability = "memory" | "os" | "fsync" | "replicated";

export interface Tail {
  onAppended(publication: Publication): void;
  /** The log is another one now: all cursors of the earlier epoch are void. Called before any entry of the new one. */
  onEpoch(epoch: string, head: number): void;
}

export interface Attachment {
  readonly epoch: string;
  /** The highest sequence number in the log at the moment of attaching. */
  readonly head: number;
  detach(): void;
}

/** One event, framed but for its id. */
export interface EncodedEvent {
  /** `event:` and `data:` lines, as `encodeFields` makes them. */
  readonly fields: Uint8Array;
  /** Conflation key. */
  readonly key?: string | undefined;
}

export interface AppendRequest {
  readonly tenant: string;
  readonly topic: string;
  readonly events: readonly EncodedEvent[];
}

export interface PublishRequest extends AppendRequest {
  readonly idempotency?: Idempotency | undefined;
}

export interface Idempotency {
  readonly key: string;
  /** Equal exactly when events, keys and type are equal. A collision-resistant hash. */
  readonly fingerprint: string;
}

export interface Receipt {
  readonly first: Cursor;
  readonly last: Cursor;
  readonly count: number;
  readonly durability: Durability;
  /** The idempotency key was seen before: this is the earlier receipt, and nothing was appended. */
  readonly isDuplicate: boolean;
}

/** Where a read begins: behind a sequence number; at the oldest retained event; behind the newest; or `last` events before it. */
export type ReadFrom = number | "earliest" | "latest" | { readonly last: number };

export interface ReadRequest {
  readonly tenant: string;
  readonly selection: Selection;
  readonly from: ReadFrom;
  /** Nothing above it is read. */
  readonly upTo: number;
  /** The result ends with the event that reaches it; at least one event is read. In bytes of plain frames. */
  readonly bytesMax: number;
}

/** How many topics a read names as trimmed at most. */
export const TRIMMED_MAX = 1_000;

export interface TrimmedTopic {
  /** A pattern stands for the topics that it may have matched and whose records were dropped. */
  readonly topic: string;
  readonly floor: number;
}

/**
 * What the log held at one moment. Everything retained of the selection in (`after`, `through`] is in
 * `publications`, merged in order.
 */
export interface ReadResult {
  readonly epoch: string;
  readonly head: number;
  /** `from` as a number. */
  readonly after: number;
  readonly through: number;
  readonly publications: readonly Publication[];
  /** The highest floor of the selection's topics: a cursor below it may have missed something. */
  readonly floor: number;
  /** The lowest floor of the selection's topics: nothing older is retained anywhere. */
  readonly floorMin: number;
  /** The topics whose floor is above `after`; if there are more than `TRIMMED_MAX`, that many of them. */
  readonly trimmed: readonly TrimmedTopic[];
  /** All of the selection's topics have ended; the sequence number of the last end. Never with a pattern. */
  readonly endedAt: number | undefined;
  /**
   * The lowest lane of the selection's topics, as publications would carry it now: of names without a
   * record by the rules of the configuration, `normal` where nothing matches. Only when it is served,
   * never what, may depend on it.
   */
  readonly lane: Lane;
}
