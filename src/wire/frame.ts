import { WireError } from "./errors.ts";

const encoder = new TextEncoder();
// Data may begin with U+FEFF; only the one at the start of a whole stream is no part of it.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

const LF = 0x0a;
const CR = 0x0d;
const NO_BYTES = new Uint8Array(0);
const DATA_PREFIX = encoder.encode("data: ");
const ID_PREFIX = encoder.encode("id: ");
const ID_FRAMING_BYTES = ID_PREFIX.length + 2;
// The three line ends of WHATWG HTML, 9.2.5. U+2028, U+2029 and U+0085 are none.
const LINE_END = /\r\n|\r|\n/g;
// oxlint-disable-next-line no-control-regex -- NUL is one of the three
const NOT_ONE_LINE = /[\r\n\0]/;

/** The fields of a whole frame. `retry` is in milliseconds. */
export interface FrameFields {
  readonly id?: string | undefined;
  readonly event?: string | undefined;
  readonly data?: string | undefined;
  readonly retry?: number | undefined;
}

/**
 * The lines of a frame that are known before its id is: `event:` (left out if undefined) and one
 * `data:` line for each line of `data`, which may end in CRLF, LF or CR. Empty data is one empty
 * line, which dispatches an event whose data is "" (WHATWG HTML, 9.2.6).
 *
 * There is always one space behind the colon, since parsers remove one: leading spaces survive. Lone
 * surrogates become U+FFFD. Bytes are taken as valid UTF-8 and copied.
 *
 * Throws `WireError` `field_invalid` if `event` is empty or holds CR, LF or NUL. They are never
 * stripped: what is left would be another event than the publisher meant.
 */
export function encodeFields(event: string | undefined, data: string | Uint8Array): Uint8Array {
  const eventLine = event === undefined ? "" : fieldLine("event", event);
  if (typeof data === "string") return encodePooled(eventLine + dataLines(data));
  return encodeDataBytes(eventLine === "" ? NO_BYTES : encoder.encode(eventLine), data);
}

/** Short texts are encoded side by side into arrays of this size. */
const POOL_BYTES = 64 * 1024;
let pool = NO_BYTES;
let poolUsed = 0;

/**
 * What `TextEncoder.encode` gives, without an array buffer of its own: to make one takes six times
 * as long as to encode 1 KB, and keeps the garbage collector busy (measured under a flood).
 */
function encodePooled(text: string): Uint8Array {
  // A UTF-16 code unit becomes three bytes at most.
  const bytesMax = text.length * 3;
  if (bytesMax > POOL_BYTES / 4) return encoder.encode(text);
  if (poolUsed + bytesMax > pool.length) {
    pool = new Uint8Array(POOL_BYTES);
    poolUsed = 0;
  }
  const { written } = encoder.encodeInto(text, pool.subarray(poolUsed));
  poolUsed += written;
  return pool.subarray(poolUsed - written, poolUsed);
}

/** `id: <id>\n`. Throws `WireError` `field_invalid` if it is empty or holds CR, LF or NUL. */
export function idLine(id: string): Uint8Array {
  return encoder.encode(fieldLine("id", id));
}

/** How many bytes {@link writeFrame} will write. */
export function frameBytes(fields: Uint8Array, id: string): number {
  return fields.length + ID_FRAMING_BYTES + id.length;
}

/**
 * Writes `fields`, the id and the blank line to `target`; returns the offset behind them. The id is
 * visible ASCII, as cursors are; anything else throws `WireError` `field_invalid`.
 *
 * Hot: once per published event. It makes no array and no string.
 */
export function writeFrame(
  target: Uint8Array,
  offset: number,
  fields: Uint8Array,
  id: string,
): number {
  target.set(fields, offset);
  let end = offset + fields.length;
  target.set(ID_PREFIX, end);
  end += ID_PREFIX.length;
  for (let index = 0; index < id.length; index += 1) {
    const code = id.charCodeAt(index);
    if (code < 0x21 || code > 0x7e) throw fieldInvalid("id", id);
    target[end] = code;
    end += 1;
  }
  target[end] = LF;
  target[end + 1] = LF;
  return end + 2;
}

/**
 * A whole frame, blank line included: `retry` first, `id` last, so that a parser that stops early
 * has not yet moved its place. With `id` alone it is the primer, which dispatches nothing.
 *
 * Throws `WireError` `field_invalid` if `event` or `id` is empty or holds CR, LF or NUL, or if
 * `retry` is not an integer from 0.
 */
export function encodeEvent(fields: FrameFields): Uint8Array {
  const { id, event, data, retry } = fields;
  let text = "";
  if (retry !== undefined) text += retryLine(retry);
  if (event !== undefined) text += fieldLine("event", event);
  if (data !== undefined) text += dataLines(data);
  if (id !== undefined) text += fieldLine("id", id);
  return encoder.encode(`${text}\n`);
}

/** `: <text>\n\n`, which dispatches nothing. Throws `WireError` `field_invalid` on CR, LF or NUL. */
export function encodeComment(text: string): Uint8Array {
  if (NOT_ONE_LINE.test(text)) throw fieldInvalid("comment", text);
  return encoder.encode(`: ${text}\n\n`);
}

/**
 * The second wire form, for connections of many topics: of a whole frame made here, `event:` and
 * `id:` are kept and the data becomes one line, `{"topic": ..., "data": <the data as a string>}`.
 */
export function envelope(frame: Uint8Array, topic: string): Uint8Array {
  let dataStart = 0;
  while (!isDataLine(frame, dataStart)) {
    dataStart = frame.indexOf(LF, dataStart) + 1;
    if (dataStart === 0) throw new RangeError("a frame without data has no enveloped form");
  }
  // The blank line is one LF; the line before it is the id's or, in a frame without id, data.
  const blank = frame.length - 1;
  const lastLine = frame.lastIndexOf(LF, blank - 2) + 1;
  const dataEnd = isDataLine(frame, lastLine) ? blank : lastLine;
  // One decode and one search, because a body may be a million line ends. Each LF between the data
  // lines is followed by a prefix of ours, so none of the data itself can match.
  const data = decoder
    .decode(frame.subarray(dataStart + DATA_PREFIX.length, dataEnd - 1))
    .replaceAll("\ndata: ", "\n");
  // JSON escapes CR and LF, so this is one line whatever the data holds.
  const body = encoder.encode(`data: ${JSON.stringify({ topic, data })}\n`);
  const enveloped = new Uint8Array(dataStart + body.length + (frame.length - dataEnd));
  enveloped.set(frame.subarray(0, dataStart));
  enveloped.set(body, dataStart);
  enveloped.set(frame.subarray(dataEnd), dataStart + body.length);
  return enveloped;
}

/**
 * The same frame said in a comment, for clients that parse every `data:`: of a frame made here whose data
 * is one line, `event: end`, `data: {...}` become `: end {...}`. The id stays, as a block of its own it
 * moves the client's place and dispatches nothing (WHATWG HTML, 9.2.6).
 */
export function hush(frame: Uint8Array): Uint8Array {
  const [event = "", data = "", ...rest] = decoder.decode(frame).split("\n");
  const name = event.slice("event: ".length);
  return encoder.encode([`: ${name} ${data.slice("data: ".length)}`, ...rest].join("\n"));
}

function fieldLine(name: "event" | "id", value: string): string {
  if (value === "" || NOT_ONE_LINE.test(value)) throw fieldInvalid(name, value);
  return `${name}: ${value}\n`;
}

function dataLines(data: string): string {
  return `data: ${data.replace(LINE_END, "\ndata: ")}\n`;
}

function retryLine(retry: number): string {
  if (!Number.isSafeInteger(retry) || retry < 0) {
    throw new WireError("field_invalid", `retry must be an integer from 0 (ms), not ${retry}`);
  }
  return `retry: ${retry}\n`;
}

function fieldInvalid(name: string, value: string): WireError {
  const shown = JSON.stringify(value.length > 64 ? `${value.slice(0, 64)}…` : value);
  const rule =
    name === "comment" ? "may not hold CR, LF or NUL" : "may not be empty or hold CR, LF or NUL";
  return new WireError("field_invalid", `${name} ${rule}: ${shown}`);
}

/** Data that came as bytes (a request's body) stays bytes: decoding it to encode it again costs both. */
function encodeDataBytes(eventLine: Uint8Array, data: Uint8Array): Uint8Array {
  const lineEnds = countLineEnds(data);
  const framing = (lineEnds.count + 1) * (DATA_PREFIX.length + 1) - lineEnds.bytes;
  const target = new Uint8Array(eventLine.length + data.length + framing);
  target.set(eventLine);
  let offset = eventLine.length;
  target.set(DATA_PREFIX, offset);
  offset += DATA_PREFIX.length;
  if (lineEnds.count === 0) {
    target.set(data, offset);
  } else {
    writeDataLines(target, offset, data);
  }
  target[target.length - 1] = LF;
  return target;
}

/** Byte by byte: a body may be a million line ends, and a copy call for each took 72 ms a MiB, this 26. */
function writeDataLines(target: Uint8Array, start: number, data: Uint8Array): void {
  let offset = start;
  for (let index = 0; index < data.length; index += 1) {
    const byte = data[index] as number;
    if (byte !== LF && byte !== CR) {
      target[offset] = byte;
      offset += 1;
      continue;
    }
    if (byte === CR && data[index + 1] === LF) index += 1;
    target[offset] = LF;
    offset += 1;
    for (let at = 0; at < DATA_PREFIX.length; at += 1) {
      target[offset + at] = DATA_PREFIX[at] as number;
    }
    offset += DATA_PREFIX.length;
  }
}

/** How many line ends there are, and how many bytes they take; a CRLF is one of two bytes. */
function countLineEnds(data: Uint8Array): { count: number; bytes: number } {
  let count = 0;
  let bytes = 0;
  // Most bodies are one line, and a native search is many times faster than this loop.
  if (data.indexOf(LF) === -1 && data.indexOf(CR) === -1) return { count, bytes };
  for (let index = 0; index < data.length; index += 1) {
    const byte = data[index];
    if (byte !== LF && byte !== CR) continue;
    count += 1;
    bytes += 1;
    if (byte === CR && data[index + 1] === LF) {
      bytes += 1;
      index += 1;
    }
  }
  return { count, bytes };
}

function isDataLine(frame: Uint8Array, start: number): boolean {
  for (let index = 0; index < DATA_PREFIX.length; index += 1) {
    if (frame[start + index] !== DATA_PREFIX[index]) return false;
  }
  return true;
}
