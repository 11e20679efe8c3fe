import { formatCursor } from "../wire/cursor.ts";
import type { ReadResult } from "./broker.ts";
import { gapFrame } from "./control.ts";
import type { Gap, GapReason } from "./control.ts";
import type { Publication } from "./publication.ts";

const TOPICS_NAMED_MAX = 16;

/** The part of a subscriber that decides what a read of the log means for it. */
interface Reader {
  lost: GapReason | undefined;
  toldFloor: number;
}

/**
 * What a read means for a reader: the gap that must be told first, if any. A floor is told once on a
 * connection: a later read of the same connection does not repeat it.
 */
export function gapOf(reader: Reader, result: ReadResult): Gap | undefined {
  const { epoch, after, floor, trimmed } = result;
  if (reader.lost !== undefined) {
    // To the highest floor: of the topics whose floor is lower some events follow below it, but what
    // the others have lost there is told.
    return { reason: reader.lost, from: null, to: formatCursor(epoch, Math.max(after, floor)) };
  }
  if (floor <= Math.max(after, reader.toldFloor)) return undefined;
  return {
    reason: "trimmed",
    from: formatCursor(epoch, after),
    to: formatCursor(epoch, floor),
    topics: trimmed,
  };
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
  reader.lost = undefined;
  reader.toldFloor = Math.max(reader.toldFloor, result.floor);

  const skipped = result.publications.filter(isConflatedAway);
  const lastSkipped = skipped.at(-1);
  if (lastSkipped === undefined) {
    return { frames: gaps.map(gapFrame), publications: result.publications, gaps };
  }
  gaps.push({
    reason: "conflated",
    from: formatCursor(result.epoch, result.after),
    to: formatCursor(result.epoch, lastSkipped.seq),
    topics: [...new Set(skipped.map(({ topic }) => topic))].slice(0, TOPICS_NAMED_MAX),
  });
  const publications = result.publications.filter((publication) => !isConflatedAway(publication));
  return { frames: gaps.map(gapFrame), publications, gaps };
}

function isConflatedAway(publication: Publication): boolean {
  return publication.isSuperseded && publication.settings.policy === "conflate";
}
