import { formatCursor } from "../wire/cursor.ts";
import { MemoryAccount } from "../internal/account.ts";
import { MinHeap } from "../internal/heap.ts";
import { TRIMMED_MAX } from "./broker.ts";
import type { EncodedEvent, ReadFrom, ReadRequest, ReadResult, TrimmedTopic } from "./broker.ts";
import { SluiceError } from "./errors.ts";
import { lowerOf } from "./lanes.ts";
import { mergeLogs } from "./merge.ts";
import { PatternIndex } from "./pattern-index.ts";
import type { Publication, PublicationKind } from "./publication.ts";
import type { Selection } from "./selection.ts";
import type { Lane, TopicSettings } from "./settings.ts";
import { TopicLog } from "./topic-log.ts";

/** How far back `last:<n>` reaches at most, in events. */
export const LAST_COUNT_MAX = 10_000;
/** Topics looked at for one that may give way: a refused publish must not cost a walk over all of them. */
const FINISHED_LOOKS_MAX = 1_000;
/** Records that were forgotten and still have a place by age, beside as many as there are topics, at most. */
const FORGOTTEN_MAX = 1_000;
/** What goes at once with the oldest event of a topic, as a share of the numbers that are held. */
const AGE_SLACK = 1 / 64;
/** A topic moves to the end of the order no more often, in milliseconds: to move it at each append would rebuild the map again and again. */
const MOVE_INTERVAL_MS = 1_000;

export interface TenantLogOptions {
  readonly epoch: string;
  /** How many topics the tenant may have. At the limit one that is empty or has ended gives way, else `topics_exhausted`. */
  readonly topicsMax: number;
  /** What all tenants together hold. */
  readonly account: MemoryAccount;
  settingsFor(topic: string): TopicSettings;
}

/** The topics of one tenant and the sequence that orders them: an in-memory log. */
export class TenantLog {
  readonly epoch: string;
  readonly account: MemoryAccount;
  /** The highest sequence number given out. */
  head = 0;
  /** The highest sequence number in a topic whose record was dropped: what an unknown topic may have lost. */
  forgottenFloor = 0;

  readonly #options: TenantLogOptions;
  /** Least recently appended first, to a second: an append moves its topic to the end. */
  readonly #topics = new Map<string, TopicLog>();
  /**
   * Each topic that pressure on memory can take something of, by the number of its oldest event, or of its
   * last one where it is empty. Numbers only rise, so a key may be behind: it is looked at when it is the least.
   */
  readonly #byAge = new MinHeap<TopicLog>();
  readonly #patterns = new PatternIndex(this.#topics);
  /** A map may be changed while it is walked, so a sweep can pause between two topics. */
  #sweeping: Iterator<TopicLog> | undefined;
  #sweepLeft = 0;

  constructor(options: TenantLogOptions) {
    this.epoch = options.epoch;
    this.account = new MemoryAccount(options.account);
    this.#options = options;
  }

  get topicsNow(): number {
    return this.#topics.size;
  }

  /** Places by age, those of records that were forgotten with them. */
  get agedNow(): number {
    return this.#byAge.size;
  }

  find(topic: string): TopicLog | undefined {
    return this.#topics.get(topic);
  }

  /** The record of `topic`, made if there is none. Throws `topics_exhausted`. */
  open(topic: string, now: number): TopicLog {
    const known = this.#topics.get(topic);
    if (known !== undefined) {
      if (!known.isByAge) this.#addByAge(known);
      return known;
    }
    if (this.#topics.size >= this.#options.topicsMax && !this.#forgetAFinishedTopic()) {
      throw new SluiceError(
        "topics_exhausted",
        `the tenant has ${this.#topics.size} topics with events or settings; its limit is ${this.#options.topicsMax}`,
      );
    }
    const settings = this.#options.settingsFor(topic);
    const log = new TopicLog(topic, settings, this.forgottenFloor, now, this.account);
    this.#topics.set(topic, log);
    this.#patterns.onTopic(log);
    this.#addByAge(log);
    return log;
  }

  append(log: TopicLog, event: EncodedEvent, kind: PublicationKind, now: number): Publication {
    const seq = this.head + 1;
    const id = formatCursor(this.epoch, seq);
    const { fields, key } = event;
    const publication = log.append({ seq, id, fields, kind, key, at: now }, now);
    this.head = seq;
    log.trim(now);
    if (now - log.movedAt >= MOVE_INTERVAL_MS) {
      log.movedAt = now;
      this.#topics.delete(log.name);
      this.#topics.set(log.name, log);
    }
    return publication;
  }

  /**
   * Drops the oldest events, of whatever topic, until it holds `bytesMax` or nothing is left to drop: who is
   * behind keeps what is newer than what others lose, to a sixty-fourth of all numbers that are held. Topics
   * that were declared keep their record, and so their settings; topics that have ended keep their end, and
   * lose it only when nothing else is left (law 14).
   */
  shrinkTo(bytesMax: number): void {
    while (this.account.bytes > bytesMax) {
      const log = this.#oldest();
      if (log === undefined) break;
      if (log.length === 0) {
        this.forget(log);
        continue;
      }
      const age = ageOf(log);
      const upTo = age + (this.head - age) * AGE_SLACK;
      do log.dropOldest();
      while (this.account.bytes > bytesMax && log.length > log.lengthMin && ageOf(log) <= upTo);
      if (log.length === log.lengthMin) log.compact();
    }
    for (const log of this.#topics.values()) {
      if (this.account.bytes <= bytesMax) return;
      if (!log.isDeclared) this.forget(log);
    }
  }

  /**
   * Applies age and time-to-live to the next `topicsMax` topics. A round is as long as there were
   * topics when it began: topics that are appended to move to the end, and would keep it from ending.
   */
  sweep(now: number, topicsMax: number): void {
    for (let count = 0; count < topicsMax; count += 1) {
      if (this.#sweeping === undefined) {
        this.#sweeping = this.#topics.values();
        this.#sweepLeft = this.#topics.size;
      }
      const next = this.#sweeping.next();
      this.#sweepLeft -= 1;
      if (this.#sweepLeft <= 0) this.#sweeping = undefined;
      if (next.done === true) return;
      const log = next.value;
      log.trim(now);
      if (now - log.touchedAt >= log.settings.ttlMs) this.forget(log);
    }
  }

  /** Drops the record. What it held can no longer be told from what it never held, so the forgotten floor rises. */
  forget(log: TopicLog): void {
    log.discard();
    this.#topics.delete(log.name);
    this.#patterns.onForgotten(log);
    this.forgottenFloor = Math.max(this.forgottenFloor, log.last);
  }

  /** Events beyond their age are trimmed first, whether a sweep has come by or not. */
  read(request: Omit<ReadRequest, "tenant"> & { readonly now: number }): ReadResult {
    const { selection } = request;
    const logs = this.#logsOf(selection);
    const { floor, floorMin } = this.#floorsOf(selection, logs, request.now);
    const after = this.#placeOf(request.from, logs, floorMin);
    const upTo = Math.min(request.upTo, this.head);
    const { publications, isComplete } = mergeLogs(logs, after, upTo, request.bytesMax);
    return {
      epoch: this.epoch,
      head: this.head,
      after,
      through: isComplete ? Math.max(after, upTo) : (publications.at(-1)?.seq ?? after),
      publications,
      floor,
      floorMin,
      trimmed: floor > after ? this.#trimmedOf(selection, logs, after) : [],
      endedAt: endOf(selection, logs),
      lane: this.#laneOf(selection, logs),
    };
  }

  #addByAge(log: TopicLog): void {
    // Records that were forgotten are still there, until they are the least.
    if (this.#byAge.size > 2 * this.#topics.size + FORGOTTEN_MAX) {
      this.#byAge.clear();
      for (const each of this.#topics.values()) {
        if (each.isByAge) this.#byAge.push(ageOf(each), each);
      }
    }
    log.isByAge = true;
    this.#byAge.push(ageOf(log), log);
  }

  /** The topic with the oldest event that can be dropped, or an empty one that can be forgotten. */
  #oldest(): TopicLog | undefined {
    for (let log = this.#byAge.least(); log !== undefined; log = this.#byAge.least()) {
      const isKept = log.length === 0 ? log.isDeclared : log.length <= log.lengthMin;
      if (isKept || this.#topics.get(log.name) !== log) {
        log.isByAge = false;
        this.#byAge.shift();
        continue;
      }
      const age = ageOf(log);
      if (age <= this.#byAge.leastKey) return log;
      this.#byAge.raise(age);
    }
    return undefined;
  }

  #logsOf(selection: Selection): ReadonlySet<TopicLog> {
    const [only] = selection.patterns;
    // Not copied: one pattern may match a hundred thousand topics, and each read of it comes here.
    if (only !== undefined && selection.patterns.length === 1 && selection.names.length === 0) {
      return this.#patterns.matchesOf(only);
    }
    const logs = new Set<TopicLog>();
    for (const name of selection.names) {
      const log = this.#topics.get(name);
      if (log !== undefined) logs.add(log);
    }
    for (const pattern of selection.patterns) {
      for (const log of this.#patterns.matchesOf(pattern)) logs.add(log);
    }
    return logs;
  }

  #floorsOf(
    selection: Selection,
    logs: ReadonlySet<TopicLog>,
    now: number,
  ): { floor: number; floorMin: number } {
    const isAnyUnknown = selection.patterns.length > 0 || logs.size < selection.names.length;
    let floor = isAnyUnknown ? this.forgottenFloor : 0;
    let floorMin = logs.size === 0 ? this.forgottenFloor : Infinity;
    for (const log of logs) {
      log.trim(now);
      floor = Math.max(floor, log.floor);
      floorMin = Math.min(floorMin, log.floor);
    }
    return { floor, floorMin };
  }

  #laneOf(selection: Selection, logs: ReadonlySet<TopicLog>): Lane {
    let lane: Lane | undefined;
    for (const { settings } of logs) {
      lane = lane === undefined ? settings.lane : lowerOf(lane, settings.lane);
      if (lane === "bulk") return lane;
    }
    if (logs.size >= selection.names.length && selection.patterns.length === 0)
      return lane ?? "normal";
    for (const name of selection.names) {
      if (this.#topics.has(name)) continue;
      const settings = this.#options.settingsFor(name);
      lane = lane === undefined ? settings.lane : lowerOf(lane, settings.lane);
    }
    return lane ?? "normal";
  }

  #placeOf(from: ReadFrom, logs: ReadonlySet<TopicLog>, floorMin: number): number {
    if (typeof from === "number") return from;
    if (from === "latest") return this.head;
    if (from === "earliest") return floorMin;
    const count = Math.min(from.last, LAST_COUNT_MAX);
    if (count === 0) return this.head;
    let seqs: number[] = [];
    for (const log of logs) {
      for (let index = Math.max(0, log.length - count); index < log.length; index += 1) {
        seqs.push(log.seqAt(index));
      }
      // A pattern may match a hundred thousand full topics: only the newest places are kept.
      if (seqs.length > 4 * LAST_COUNT_MAX) seqs = newest(seqs, count);
    }
    return (newest(seqs, count).at(-1) ?? this.head + 1) - 1;
  }

  #trimmedOf(selection: Selection, logs: ReadonlySet<TopicLog>, after: number): TrimmedTopic[] {
    const trimmed: TrimmedTopic[] = [];
    for (const { name, floor } of logs) {
      if (floor <= after) continue;
      trimmed.push({ topic: name, floor });
      if (trimmed.length === TRIMMED_MAX) return trimmed;
    }
    const floor = this.forgottenFloor;
    if (floor <= after) return trimmed;
    for (const topic of selection.names) {
      if (!this.#topics.has(topic)) trimmed.push({ topic, floor });
    }
    for (const { text } of selection.patterns) trimmed.push({ topic: text, floor });
    return trimmed.slice(0, TRIMMED_MAX);
  }

  /** Of the topics that were longest without an event, the first that is empty or has ended. */
  #forgetAFinishedTopic(): boolean {
    let looks = 0;
    for (const log of this.#topics.values()) {
      if (!log.isDeclared && (log.length === 0 || log.endedAt !== undefined)) {
        this.forget(log);
        return true;
      }
      looks += 1;
      if (looks === FINISHED_LOOKS_MAX) return false;
    }
    return false;
  }
}

/** Its place among those that memory is taken from; it only rises. */
function ageOf(log: TopicLog): number {
  return log.length === 0 ? log.last : log.seqAt(0);
}

/** The `count` highest of `seqs`, highest first. Sorts in place. */
function newest(seqs: number[], count: number): number[] {
  return seqs.sort((a, b) => b - a).slice(0, count);
}

function endOf(selection: Selection, logs: ReadonlySet<TopicLog>): number | undefined {
  if (selection.patterns.length > 0 || logs.size < selection.names.length) return undefined;
  let end = 0;
  for (const log of logs) {
    if (log.endedAt === undefined) return undefined;
    end = Math.max(end, log.endedAt);
  }
  return end;
}
