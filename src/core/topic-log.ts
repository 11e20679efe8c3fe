import type { MemoryAccount } from "../internal/account.ts";
import { Ring } from "../internal/ring.ts";
import { Blocks } from "./blocks.ts";
import { Publication } from "./publication.ts";
import type { PublicationKind } from "./publication.ts";
import type { TopicSettings } from "./settings.ts";

/** Memory that a topic without events costs, in bytes: the record, its ring and map entries (measured). */
export const TOPIC_OVERHEAD_BYTES = 1_024;

export interface Entry {
  readonly seq: number;
  readonly id: string;
  readonly fields: Uint8Array;
  readonly kind: PublicationKind;
  readonly key: string | undefined;
  readonly at: number;
}

/** The retained events of one topic, oldest first, in memory. */
export class TopicLog {
  readonly name: string;
  settings: TopicSettings;
  /** The highest sequence number that is no longer readable. */
  floor: number;
  /** The sequence number of the newest event ever appended, or the floor that the topic started with. */
  last: number;
  /** Its settings were stated for it alone, and go with the record. */
  isDeclared = false;
  /** The sequence number of the `end` entry of a topic that has ended and was not reopened. */
  endedAt: number | undefined;
  /** When the newest event was appended, or the record was made, in monotonic milliseconds. */
  touchedAt: number;

  readonly #entries = new Ring<Publication>();
  readonly #account: MemoryAccount;
  #blocks: Blocks;
  /** The newest event of each conflation key; only where the policy is `conflate`. */
  readonly #newest = new Map<string, Publication>();
  #frameBytes = 0;
  /** Zero until something is appended: the floor that a new record inherits is no event of this topic. */
  #newestSeq = 0;

  constructor(
    name: string,
    settings: TopicSettings,
    floor: number,
    now: number,
    account: MemoryAccount,
  ) {
    this.#account = account;
    this.#blocks = new Blocks(account);
    account.add(TOPIC_OVERHEAD_BYTES);
    this.name = name;
    this.settings = settings;
    this.floor = floor;
    this.last = floor;
    this.touchedAt = now;
  }

  get length(): number {
    return this.#entries.length;
  }

  append(entry: Entry, now: number): Publication {
    const publication = Publication.frame(
      { ...entry, previous: this.#newestSeq, topic: this.name, settings: this.settings },
      entry.fields,
      entry.id,
      this.#blocks,
    );
    this.#entries.push(publication);
    this.#frameBytes += publication.bytes;
    this.last = entry.seq;
    this.#newestSeq = entry.seq;
    if (entry.kind === "end") this.endedAt = entry.seq;
    this.touchedAt = now;
    if (entry.key !== undefined && this.settings.policy === "conflate") {
      const older = this.#newest.get(entry.key);
      if (older !== undefined) older.isSuperseded = true;
      this.#newest.set(entry.key, publication);
    }
    return publication;
  }

  /** Drops what exceeds the retention. Age is monotonic: a step of the wall clock drops nothing (P20). */
  trim(now: number): void {
    const { countMax, bytesMax, ageMsMax } = this.settings.retention;
    const oldestAt = now - ageMsMax;
    while (this.#entries.length > 0) {
      const oldest = this.#entries.at(0);
      // The end outlives its age: a terminal state is always delivered (law 14). The TTL takes it.
      const isTooOld = oldest.at < oldestAt && oldest.seq !== this.endedAt;
      const isTooMuch = this.#entries.length > countMax || this.#frameBytes > bytesMax;
      // Age may empty a topic; count and bytes leave the newest, or a large event could never be read.
      if (!isTooOld && !(isTooMuch && this.#entries.length > 1)) return;
      this.dropOldest();
    }
  }

  /** Drops the oldest event and raises the floor to it. */
  dropOldest(): void {
    const oldest = this.#entries.shift();
    if (oldest === undefined) return;
    this.floor = oldest.seq;
    this.#frameBytes -= oldest.bytes;
    if (oldest.key !== undefined && this.#newest.get(oldest.key) === oldest) {
      this.#newest.delete(oldest.key);
    }
    oldest.release();
  }

  /** What pressure on memory leaves of it: the end of a topic that has ended, else nothing. */
  get lengthMin(): number {
    return this.endedAt === undefined ? 0 : 1;
  }

  /** Moves what is left into memory of its own size: one small frame may pin a whole block. */
  compact(): void {
    const only = this.#entries.first();
    if (only === undefined || this.#entries.length > 1) return;
    const blocks = new Blocks(this.#account);
    this.#entries.shift();
    this.#entries.push(only.moveTo(blocks));
    only.release();
    this.#blocks = blocks;
  }

  /** Drops everything. The record must not be used any more. */
  discard(): void {
    while (this.#entries.length > 0) this.dropOldest();
    this.#account.add(-TOPIC_OVERHEAD_BYTES);
  }

  /** The index of the first retained event above `seq`; `length` if there is none. */
  indexAfter(seq: number): number {
    return this.#entries.search((publication) => publication.seq > seq);
  }

  at(index: number): Publication {
    return this.#entries.at(index);
  }
}
