import { formatCursor } from "../wire/cursor.ts";
import { BATCH_BYTES_MAX } from "./batch.ts";
import { TRIMMED_MAX } from "./broker.ts";
import type { ReadResult } from "./broker.ts";
import { gapFrame } from "./control.ts";
import type { Gap, GapReason } from "./control.ts";
import type { Publication, WireForm } from "./publication.ts";

const TOPICS_NAMED_MAX = 16;
/**
 * A reader that skips the oldest reads so many batches in a row at most without being written one:
 * where more is published than can be read, it would never get anything.
 */
const SKIPPED_READS_MAX = 256;

/** What was left out for a reader and not told it yet: the events of `topics` in (`from`, `to`]. */
export interface Dropped {
  readonly from: number;
  to: number;
  readonly topics: Set<string>;
}

/** The part of a subscriber that decides what a read of the log means for it. */
interface Reader {
  readonly form: WireForm;
  lost: GapReason | undefined;
  /** Up to here a gap of all its topics was told. */
  toldFloor: number;
  /** Up to where a gap of a single topic was told. Only while it reads. */
  toldFloors: Map<string, number> | undefined;
  /** It fell behind while live: of topics with the policy `drop-oldest` it gets what is left at the end. */
  skipsOldest: boolean;
  dropped: Dropped | undefined;
  /** Reads in a row that brought it nothing because all was skipped. */
  skippedReads: number;
}

/**
 * What a read means for a reader: the gap that must be told first, if any. A floor is told once on a
 * connection: a later read of the same connection does not repeat it. Told floors are kept by topic,
 * or the high floor of one would hide what another loses below it while the reader is slow.
 */
export function gapOf(reader: Reader, result: ReadResult): Gap | undefined {
  const { epoch, after, floor, trimmed } = result;
  if (reader.lost !== undefined) {
    // To the highest floor: of the topics whose floor is lower some events follow below it, but what
    // the others have lost there is told.
    return { reason: reader.lost, from: null, to: formatCursor(epoch, Math.max(after, floor)) };
  }
  if (floor <= Math.max(after, reader.toldFloor)) return undefined;
  const from = formatCursor(epoch, after);
  // Too many to name one by one: all are told.
  if (isCutShort(result)) return { reason: "trimmed", from, to: formatCursor(epoch, floor) };
  const untold = trimmed.filter((topic) => topic.floor > toldFloorOf(reader, topic.topic));
  if (untold.length === 0) return undefined;
  const to = formatCursor(epoch, Math.max(...untold.map((topic) => topic.floor)));
  const isNamed = untold.length <= TOPICS_NAMED_MAX;
  const topics = untold.map(({ topic }) => topic);
  return { reason: "trimmed", from, to, ...(isNamed ? { topics } : {}) };
}

/** The floors of `result` are known to the reader, and were told where they had to be. */
export function markTold(reader: Reader, result: ReadResult): void {
  if (result.floor <= Math.max(result.after, reader.toldFloor)) return;
  if (isCutShort(result)) {
    reader.toldFloor = result.floor;
    return;
  }
  reader.toldFloors ??= new Map();
  for (const { topic, floor } of result.trimmed) {
    reader.toldFloors.set(topic, Math.max(floor, toldFloorOf(reader, topic)));
  }
  if (reader.toldFloors.size > 2 * TRIMMED_MAX) forgetPassed(reader.toldFloors, result.after);
}

/** No read names a floor below its place: topics come and go, and a slow reader's list would keep them all. */
function forgetPassed(toldFloors: Map<string, number>, after: number): void {
  for (const [topic, floor] of toldFloors) if (floor <= after) toldFloors.delete(topic);
}

function toldFloorOf(reader: Reader, topic: string): number {
  return Math.max(reader.toldFloor, reader.toldFloors?.get(topic) ?? 0);
}

function isCutShort(result: ReadResult): boolean {
  return result.trimmed.length >= TRIMMED_MAX;
}

export interface ComposedRead {
  /** One for each of `gaps`; they precede the publications. */
  readonly frames: readonly Uint8Array[];
  readonly publications: readonly Publication[];
  readonly gaps: readonly Gap[];
}

/**
 * Turns a read into what is written: gaps first, then the publications that this reader still needs.
 * From the first replay or lagging read on, a conflated event is skipped if a newer one of its key follows.
 * While a lagging reader has more to read than this, up to `frozenTo`, events of topics that drop the
 * oldest are skipped. They are told before anything else is written, so that a client that is cut off
 * meanwhile comes back with a place before them.
 */
export function composeRead(reader: Reader, result: ReadResult, frozenTo: number): ComposedRead {
  const gaps: Gap[] = [];
  const gap = gapOf(reader, result);
  if (gap !== undefined) gaps.push(gap);
  if (reader.lost !== undefined) reader.toldFloor = Math.max(reader.toldFloor, result.floor);
  reader.lost = undefined;
  markTold(reader, result);

  const isSkipping = hasMoreToSkip(reader, result, frozenTo);
  if (isSkipping) skip(reader, result);
  // The very list of the read where nothing is left out: then what is written of it is shared.
  const wanted =
    isSkipping && result.publications.some(isDroppable)
      ? result.publications.filter((publication) => !isDroppable(publication))
      : result.publications;
  const conflated = wanted.filter(isConflatedAway);
  const publications =
    conflated.length === 0 ? wanted : wanted.filter((publication) => !isConflatedAway(publication));
  const lastConflated = conflated.at(-1);
  if (lastConflated !== undefined) {
    gaps.push({
      reason: "conflated",
      from: formatCursor(result.epoch, result.after),
      to: formatCursor(result.epoch, lastConflated.seq),
      ...named(new Set(conflated.map(({ topic }) => topic))),
    });
  }
  reader.skippedReads = publications.length > 0 ? 0 : reader.skippedReads + 1;
  const { dropped } = reader;
  const isSilent = isSkipping && gaps.length === 0 && publications.length === 0;
  if (dropped !== undefined && !isSilent) {
    reader.dropped = undefined;
    gaps.unshift({
      reason: "dropped",
      from: formatCursor(result.epoch, dropped.from),
      to: formatCursor(result.epoch, dropped.to),
      ...named(dropped.topics),
    });
  }
  return { frames: gaps.map((each) => gapFrame(each, reader.form)), publications, gaps };
}

/** A read that is not full has reached the end, as it was when it began. */
function hasMoreToSkip(reader: Reader, result: ReadResult, frozenTo: number): boolean {
  if (!reader.skipsOldest || result.through >= frozenTo) return false;
  if (reader.skippedReads >= SKIPPED_READS_MAX) return false;
  let bytes = 0;
  for (const publication of result.publications) bytes += publication.bytes;
  return bytes >= BATCH_BYTES_MAX;
}

function skip(reader: Reader, result: ReadResult): void {
  for (const publication of result.publications) {
    if (!isDroppable(publication)) continue;
    reader.dropped ??= { from: result.after, to: 0, topics: new Set() };
    reader.dropped.to = publication.seq;
    // One more than are named says that they are too many.
    if (reader.dropped.topics.size <= TOPICS_NAMED_MAX)
      reader.dropped.topics.add(publication.topic);
  }
}

/** How a topic ended is never left out (law 14). */
function isDroppable(publication: Publication): boolean {
  return publication.settings.policy === "drop-oldest" && publication.kind === "event";
}

function isConflatedAway(publication: Publication): boolean {
  return publication.isSuperseded && publication.settings.policy === "conflate";
}

function named(topics: ReadonlySet<string>): { topics?: readonly string[] } {
  return topics.size <= TOPICS_NAMED_MAX ? { topics: [...topics] } : {};
}
