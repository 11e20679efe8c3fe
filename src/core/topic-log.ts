import type { MemoryAccount } from "../internal/account.ts";
import { frameBytes, writeFrame } from "../wire/frame.ts";
import { Blocks } from "./blocks.ts";
import { Entries, IS_END, IS_SUPERSEDED } from "./entries.ts";
import { Publication } from "./publication.ts";
import type { PublicationKind } from "./publication.ts";
import type { TopicSettings } from "./settings.ts";

/** Memory that a topic without events costs, in bytes: the record, room for four entries, and map entries (measured). */
export const TOPIC_OVERHEAD_BYTES = 1_152;

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
  /** When its tenant last put it at the end of the order in which topics give way. */
  movedAt: number;

  /** Its tenant knows that memory can be taken of it. */
  isByAge = false;

  readonly #entries: Entries;
  readonly #account: MemoryAccount;
  #blocks: Blocks;
  /** The newest event of each conflation key, and its key; only where the policy is or was `conflate`. */
  #newest: Map<string, number> | undefined;
  #keys: Map<number, string> | undefined;
  #frameBytes = 0;
  /** Zero until something is appended: the floor that a new record inherits is no event of this topic. */
  #newestSeq = 0;
  #droppedSeq = 0;
  /** No entry is older: with it an append need not look at the oldest one, whose memory is cold. */
  #oldestAt = 0;

  constructor(
    name: string,
    settings: TopicSettings,
    floor: number,
    now: number,
    account: MemoryAccount,
  ) {
    this.#account = account;
    this.#blocks = new Blocks(account);
    this.#entries = new Entries(account);
    account.add(TOPIC_OVERHEAD_BYTES);
    this.name = name;
    this.settings = settings;
    this.floor = floor;
    this.last = floor;
    this.touchedAt = now;
    this.movedAt = now;
  }

  get length(): number {
    return this.#entries.length;
  }

  append({ seq, id, fields, kind, key, at }: Entry, now: number): Publication {
    const bytes = frameBytes(fields, id);
    const position = this.#blocks.allocate(bytes);
    const block = this.#blocks.at(position);
    writeFrame(block.bytes, position - block.from, fields, id);
    const previous = this.#newestSeq;
    this.#entries.push(seq, at, position, bytes, kind === "end" ? IS_END : 0);
    this.#frameBytes += bytes;
    this.last = seq;
    this.#newestSeq = seq;
    if (kind === "end") this.endedAt = seq;
    this.touchedAt = now;
    const { name: topic, settings } = this;
    if (key !== undefined && settings.policy === "conflate") this.#supersede(key, seq);
    return new Publication({
      seq,
      previous,
      topic,
      kind,
      settings,
      isSuperseded: false,
      block,
      position,
      bytes,
    });
  }

  /** Drops what exceeds the retention. Age is monotonic: a step of the wall clock drops nothing (P20). */
  trim(now: number): void {
    const { countMax, bytesMax, ageMsMax } = this.settings.retention;
    const oldestAt = now - ageMsMax;
    while (this.#entries.length > 0) {
      if (this.#oldestAt < oldestAt) this.#oldestAt = this.#entries.at(0);
      // The end outlives its age: a terminal state is always delivered (law 14). The TTL takes it.
      const isTooOld = this.#oldestAt < oldestAt && this.#entries.seq(0) !== this.endedAt;
      const isTooMuch = this.#entries.length > countMax || this.#frameBytes > bytesMax;
      // Age may empty a topic; count and bytes leave the newest, or a large event could never be read.
      if (!isTooOld && !(isTooMuch && this.#entries.length > 1)) return;
      this.dropOldest();
    }
  }

  /** Drops the oldest event and raises the floor to it. */
  dropOldest(): void {
    if (this.#entries.length === 0) return;
    const seq = this.#entries.seq(0);
    this.#frameBytes -= this.#entries.bytes(0);
    this.#blocks.release(this.#entries.position(0));
    this.#entries.shift();
    this.floor = seq;
    this.#droppedSeq = seq;
    const key = this.#keys?.get(seq);
    if (key === undefined) return;
    this.#keys?.delete(seq);
    this.#newest?.delete(key);
  }

  /** What pressure on memory leaves of it: the end of a topic that has ended, else nothing. */
  get lengthMin(): number {
    return this.endedAt === undefined ? 0 : 1;
  }

  /** Moves what is left into memory of its own size: one small frame may pin a whole block. */
  compact(): void {
    if (this.#entries.length !== 1) return;
    const from = this.#entries.position(0);
    const old = this.#blocks.at(from);
    const bytes = this.#entries.bytes(0);
    const blocks = new Blocks(this.#account);
    const position = blocks.allocate(bytes);
    const start = from - old.from;
    old.bytes.copy(blocks.at(position).bytes, 0, start, start + bytes);
    this.#entries.moved(0, position);
    this.#blocks.release(from);
    this.#blocks = blocks;
  }

  /** Drops everything. The record must not be used any more. */
  discard(): void {
    while (this.#entries.length > 0) this.dropOldest();
    this.#account.add(-TOPIC_OVERHEAD_BYTES);
  }

  /** The index of the first retained event above `seq`; `length` if there is none. */
  indexAfter(seq: number): number {
    return this.#entries.indexAfter(seq);
  }

  seqAt(index: number): number {
    return this.#entries.seq(index);
  }

  at(index: number): Publication {
    const entries = this.#entries;
    const position = entries.position(index);
    return new Publication({
      seq: entries.seq(index),
      previous: index === 0 ? this.#droppedSeq : entries.seq(index - 1),
      topic: this.name,
      kind: entries.has(index, IS_END) ? "end" : "event",
      settings: this.settings,
      isSuperseded: entries.has(index, IS_SUPERSEDED),
      block: this.#blocks.at(position),
      position,
      bytes: entries.bytes(index),
    });
  }

  #supersede(key: string, seq: number): void {
    this.#newest ??= new Map();
    this.#keys ??= new Map();
    const older = this.#newest.get(key);
    if (older !== undefined) {
      this.#entries.mark(this.#entries.indexAfter(older - 1), IS_SUPERSEDED);
      this.#keys.delete(older);
    }
    this.#newest.set(key, seq);
    this.#keys.set(seq, key);
  }
}
