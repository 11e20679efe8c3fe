import { parseCursor } from "../wire/cursor.ts";
import type { ReadFrom } from "./broker.ts";
import type { GapReason } from "./control.ts";
import { LAST_COUNT_MAX } from "./tenant-log.ts";

/** Where a subscription begins, as asked for: a `Last-Event-ID`, or `earliest`, `latest`, `last:<n>`. */
export type Start = string | undefined;

export interface Place {
  readonly from: ReadFrom;
  /** Why what was asked for cannot be continued, as far as the words alone tell. */
  readonly lost: GapReason | undefined;
  /** The client claims to have read up to here. */
  readonly isResume: boolean;
}

/**
 * Reads `start` in the light of the log's `epoch`. Whatever a client sends is hostile input; nothing
 * of it is refused silently: what is no cursor of this log starts at the oldest event, behind a gap (law 7).
 */
export function placeOf(start: Start, epoch: string): Place {
  if (start === undefined || start === "" || start === "latest") {
    return { from: "latest", lost: undefined, isResume: false };
  }
  if (start === "earliest") return { from: "earliest", lost: undefined, isResume: false };
  const last = /^last:(0|[1-9][0-9]{0,8})$/.exec(start)?.[1];
  if (last !== undefined) {
    const from = { last: Math.min(Number(last), LAST_COUNT_MAX) };
    return { from, lost: undefined, isResume: false };
  }
  const cursor = parseCursor(start);
  if (cursor === undefined) return { from: "earliest", lost: "malformed", isResume: true };
  if (cursor.epoch !== epoch) return { from: "earliest", lost: "epoch", isResume: true };
  return { from: cursor.seq, lost: undefined, isResume: true };
}
