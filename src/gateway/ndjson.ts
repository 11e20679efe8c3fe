import { isUtf8 } from "node:buffer";
import { SluiceError } from "../core/errors.ts";

/** Events of one batch. A line costs a hundred times its bytes in memory, so bytes alone bound nothing. */
export const BATCH_EVENTS_MAX = 100_000;

/** Throws `body_not_utf8` or `body_not_json`. What is published is the text, byte for byte; it is only checked. */
export function checkJson(body: Uint8Array): void {
  parseJson(decodeUtf8(body), "the body");
}

/**
 * The lines of a batch, each one JSON value, verbatim; blank lines are skipped. All are checked before
 * anything is done. Throws `body_not_utf8`, `body_not_json`, `event_too_large` or `batch_too_large`,
 * and names the line, counted from 1.
 */
export function splitNdjson(body: Uint8Array, eventBytesMax: number): string[] {
  const events: string[] = [];
  for (const [index, raw] of decodeUtf8(body).split("\n").entries()) {
    const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
    if (line.trim() === "") continue;
    if (events.length === BATCH_EVENTS_MAX) {
      throw new SluiceError(
        "batch_too_large",
        `line ${index + 1}: a batch has at most ${BATCH_EVENTS_MAX} events`,
      );
    }
    const bytes = Buffer.byteLength(line);
    if (bytes > eventBytesMax) {
      throw new SluiceError(
        "event_too_large",
        `line ${index + 1} has ${bytes} bytes, more than ${eventBytesMax}`,
      );
    }
    parseJson(line, `line ${index + 1}`);
    events.push(line);
  }
  return events;
}

export function decodeUtf8(body: Uint8Array): string {
  if (!isUtf8(body)) throw new SluiceError("body_not_utf8", "the body is not valid UTF-8");
  return Buffer.from(body.buffer, body.byteOffset, body.length).toString("utf8");
}

/** Throws `body_not_json`; `where` begins the message. */
export function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    // V8 counts lines within `text`: beside the number of a batch's line, its own would contradict it.
    const reason = (error as Error).message.replace(/ \(line \d+ column \d+\)$/, "");
    throw new SluiceError("body_not_json", `${where}: ${reason}`, { cause: error });
  }
}
