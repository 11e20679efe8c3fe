import { formatCursor } from "../wire/cursor.ts";
import { TRIMMED_MAX } from "./broker.ts";
import type { ReadResult } from "./broker.ts";
import { gapFrame } from "./control.ts";
import type { Gap, GapReason } from "./control.ts";
import type { Publication } from "./publication.ts";

const TOPICS_NAMED_MAX = 16;

/** The part of a subscriber that decides what a read of the log means for it. */
interface Reader {
  lost: GapReason | undefined;
  /** Up to here a gap of all its topics was told. */
  toldFloor: number;
  /** Up to where a gap of a single topic was told. Only while it reads. */
  toldFloors: Map<string, number> | undefined;
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
 */
export function composeRead(reader: Reader, result: ReadResult): ComposedRead {
  const gaps: Gap[] = [];
  const gap = gapOf(reader, result);
  if (gap !== undefined) gaps.push(gap);
  if (reader.lost !== undefined) reader.toldFloor = Math.max(reader.toldFloor, result.floor);
  reader.lost = undefined;
  markTold(reader, result);

  const skipped = result.publications.filter(isConflatedAway);
  const lastSkipped = skipped.at(-1);
  if (lastSkipped === undefined) {
    return { frames: gaps.map(gapFrame), publications: result.publications, gaps };
  }
  const topics = [...new Set(skipped.map(({ topic }) => topic))];
  gaps.push({
    reason: "conflated",
    from: formatCursor(result.epoch, result.after),
    to: formatCursor(result.epoch, lastSkipped.seq),
    ...(topics.length <= TOPICS_NAMED_MAX ? { topics } : {}),
  });
  const publications = result.publications.filter((publication) => !isConflatedAway(publication));
  return { frames: gaps.map(gapFrame), publications, gaps };
}

function isConflatedAway(publication: Publication): boolean {
  return publication.isSuperseded && publication.settings.policy === "conflate";
}
