import { isUtf8 } from "node:buffer";
import { encodeFields } from "../wire/frame.ts";
import type { EncodedEvent } from "./broker.ts";
import { SluiceError } from "./errors.ts";

/** Spoken by Sluice itself, or dispatched by EventSource of its own accord. */
export const RESERVED_EVENTS = ["open", "error", "hello", "close", "gap", "end"] as const;

/** Data of one event, in bytes. @defaultValue 1 MiB */
export const EVENT_BYTES_MAX_DEFAULT = 1024 * 1024;
const NAME_BYTES_MAX = 255;
const KEY_LENGTH_MAX = 255;

/** What is published. */
export interface EventInput {
  /** `event:` name; EventSource dispatches `message` without one. 1-255 bytes, no CR, LF or NUL. */
  readonly event?: string | undefined;
  /** Text, or its UTF-8 bytes, of at most `eventBytesMax`. Line ends reach the client as LF. */
  readonly data: string | Uint8Array;
  /** Conflation key: of the events of one key, readers that fall behind need only the newest. */
  readonly key?: string | undefined;
}

/**
 * Checks `input` and frames it, but for the id. Throws `parameter_invalid`, `event_name_invalid`,
 * `event_name_reserved`, `event_key_invalid`, `event_too_large` or `body_not_utf8`.
 */
export function encodeInput(input: EventInput, eventBytesMax: number): EncodedEvent {
  checkTypes(input);
  const { event, data, key } = input;
  if (event !== undefined) checkEventName(event);
  if (key !== undefined && (key.length === 0 || key.length > KEY_LENGTH_MAX)) {
    throw new SluiceError(
      "event_key_invalid",
      `the key has ${key.length} characters, not 1 to ${KEY_LENGTH_MAX}`,
    );
  }
  const bytes = typeof data === "string" ? Buffer.byteLength(data) : data.length;
  if (bytes > eventBytesMax) {
    throw new SluiceError(
      "event_too_large",
      `the event has ${bytes} bytes of data, more than ${eventBytesMax}`,
    );
  }
  if (typeof data !== "string" && !isUtf8(data)) {
    throw new SluiceError("body_not_utf8", "the data is not valid UTF-8");
  }
  return { fields: encodeFields(event, data), key };
}

/** For callers without types. Throws `parameter_invalid`. */
export function checkTypes({ event, data, key }: EventInput): void {
  if (typeof data !== "string" && !(data instanceof Uint8Array)) {
    throw new SluiceError("parameter_invalid", `data is ${typeOf(data)}, not text or bytes`);
  }
  for (const [name, value] of [
    ["event", event],
    ["key", key],
  ] as const) {
    if (value === undefined || typeof value === "string") continue;
    throw new SluiceError("parameter_invalid", `${name} is ${typeOf(value)}, not text`);
  }
}

function typeOf(value: unknown): string {
  return value === null ? "null" : `of type ${typeof value}`;
}

function checkEventName(name: string): void {
  if ((RESERVED_EVENTS as readonly string[]).includes(name)) {
    throw new SluiceError("event_name_reserved", `"${name}" is a reserved event name`);
  }
  const bytes = Buffer.byteLength(name);
  // Refused, never stripped: a stripped line end still changes what the publisher said (S01).
  if (bytes === 0 || bytes > NAME_BYTES_MAX || /[\r\n\0]/.test(name)) {
    throw new SluiceError(
      "event_name_invalid",
      `the event name must have 1 to ${NAME_BYTES_MAX} bytes without CR, LF or NUL; it has ${bytes}`,
    );
  }
}
