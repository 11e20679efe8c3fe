import { encodeComment, encodeEvent } from "../wire/frame.ts";
import { formatCursor } from "../wire/cursor.ts";
import type { WireForm } from "./publication.ts";

/** Why a cursor cannot be continued exactly. Foreign cursors and those of an earlier epoch look alike on purpose (S08). */
export const GAP_REASONS = {
  malformed: "The cursor is not one that Sluice makes",
  epoch: "The cursor is of another tenant or of an earlier incarnation of the log",
  trimmed: "Events after the cursor are no longer retained",
  future: "The cursor is beyond the newest event",
  conflated: "Older events of a key were skipped because a newer one follows",
  dropped: "The oldest events were left out because the reader fell behind",
  upstream: "The origin of a proxied stream began anew; what it sent meanwhile is unknown",
} as const;

export type GapReason = keyof typeof GAP_REASONS;

/** What lies in (`from`, `to`] cannot be delivered. `from` is null where the cursor says nothing about this log. */
export interface Gap {
  readonly reason: GapReason;
  readonly from: string | null;
  readonly to: string;
  /** The topics concerned (at most 16), where not all are. */
  readonly topics?: readonly string[];
}

/** `event: gap`. It never carries an id (law 1). */
export function gapFrame(gap: Gap, form: WireForm): Uint8Array {
  return said("gap", JSON.stringify(gap), form);
}

/** `id:` alone: EventSource takes it as the place to resume from and dispatches nothing (WHATWG 9.2.6). */
export function primerFrame(epoch: string, seq: number): Uint8Array {
  return encodeEvent({ id: formatCursor(epoch, seq) });
}

/** `event: close` with the reason as bare data. It never carries an id (law 1). */
export function closeFrame(reason: string, form: WireForm): Uint8Array {
  return said("close", reason, form);
}

export function helloFrame(
  connection: string,
  topics: readonly string[],
  form: WireForm,
): Uint8Array {
  return said("hello", JSON.stringify({ connection, topics }), form);
}

/** What Sluice says itself, which has one line. */
function said(event: string, data: string, form: WireForm): Uint8Array {
  return form === "quiet" ? encodeComment(`${event} ${data}`) : encodeEvent({ event, data });
}

export function retryFrame(retryMs: number): Uint8Array {
  return encodeEvent({ retry: Math.round(retryMs) });
}

export const HEARTBEAT_FRAME = encodeComment("heartbeat");

/** For clients that cannot see comments. It has data, or EventSource would not dispatch it (WHATWG 9.2.6), and no id (law 1). */
export const HEARTBEAT_EVENT_FRAME = encodeEvent({ event: "heartbeat", data: "" });
