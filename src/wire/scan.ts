import { Carry } from "./carry.ts";
import { WireError } from "./errors.ts";

/** An event as WHATWG HTML, 9.2.6 dispatches it. */
export interface ScannedEvent {
  /** `"message"` where the stream names none. */
  readonly event: string;
  readonly data: string;
  /** The id of this event or, where it has none, of the last block that had one. */
  readonly lastEventId: string;
  /** Size on the wire: from the end of the block before up to the first byte of its blank line's end. */
  readonly bytes: number;
}

/** Callbacks run inside `push`, in stream order, and must neither throw nor call `push`. */
export interface ScannerOptions {
  onEvent(event: ScannedEvent): void;
  /** The text behind the colon, without its first space. */
  onComment?(text: string): void;
  /** As soon as the line is complete, which is when it takes effect. */
  onRetry?(retryMs: number): void;
  /** A block that set an id and dispatched nothing: the primer. */
  onId?(id: string): void;
  /** Where the reader stands, when it reconnects. @defaultValue `""` */
  readonly lastEventId?: string;
  /** The longest line, in bytes without its end. @defaultValue 1 MiB + 64 KiB */
  readonly lineBytesMax?: number;
  /** The most data of one event, in bytes, each line's end counted as one. @defaultValue 8 MiB */
  readonly eventBytesMax?: number;
}

/** Reads one event stream. */
export interface Scanner {
  /**
   * Reads the next bytes, however the stream was cut, and has called back for everything that they
   * complete. Keeps no reference to `chunk`.
   *
   * Throws `WireError` `line_too_large` or `event_too_large`, and from then on the same error again.
   */
  push(chunk: Uint8Array): void;
  /** The stream has ended. True if that cut an event off; it is dropped (WHATWG HTML, 9.2.6). */
  end(): boolean;
  /** The place after the last complete block. An event that was cut off has not moved it. */
  readonly lastEventId: string;
}

export const SCAN_LINE_BYTES_MAX_DEFAULT = 1024 * 1024 + 64 * 1024;
export const SCAN_EVENT_BYTES_MAX_DEFAULT = 8 * 1024 * 1024;

/**
 * A scanner at the start of a stream. It holds at most twice `eventBytesMax` (its memory doubles as
 * it grows) and four times `lineBytesMax`, and its time is linear in the bytes of the stream.
 */
export function createScanner(options: ScannerOptions): Scanner {
  return new StreamScanner(options);
}

const encoder = new TextEncoder();
// Invalid UTF-8 becomes U+FFFD. Decoding by line gives what decoding the whole stream would, because
// CR and LF never lie inside a sequence: a decoder in the middle of one ends it and starts afresh.
// Only the stream's first BOM is dropped, and that is done on bytes, hence `ignoreBOM`.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const COLON = 0x3a;
const DIGIT_0 = 0x30;
const DIGIT_9 = 0x39;
const BOM = [0xef, 0xbb, 0xbf] as const;
const DATA = encoder.encode("data");
const EVENT = encoder.encode("event");
const ID = encoder.encode("id");
const RETRY = encoder.encode("retry");

class StreamScanner implements Scanner {
  lastEventId: string;

  readonly #options: ScannerOptions;
  readonly #lineBytesMax: number;
  readonly #eventBytesMax: number;

  /** The start of a line whose end has not come. */
  readonly #line = new Carry();
  /** The first data line of the block, as long as it is the only one and lies in this chunk: then nobody copies it. */
  #only: Uint8Array | undefined;
  #onlyStart = 0;
  #onlyEnd = 0;
  /** The data lines of the block, each with a LF. Bytes: a string built of a million lines is a rope. */
  readonly #data = new Carry();
  #event = "";
  /** The id that this block sets, if it does. */
  #id: string | undefined;
  #isFirstLine = true;
  /** The last byte was a CR: a LF that follows belongs to the same line end. */
  #isAfterCr = false;
  /** Offsets in the stream: of the current chunk, and of the current block. */
  #chunkStart = 0;
  #blockStart = 0;
  #failure: Error | undefined;
  #hasEnded = false;

  constructor(options: ScannerOptions) {
    this.#options = options;
    this.lastEventId = options.lastEventId ?? "";
    this.#lineBytesMax = options.lineBytesMax ?? SCAN_LINE_BYTES_MAX_DEFAULT;
    this.#eventBytesMax = options.eventBytesMax ?? SCAN_EVENT_BYTES_MAX_DEFAULT;
  }

  push(chunk: Uint8Array): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#hasEnded) throw new Error("the scanner has ended");
    try {
      this.#scan(chunk);
      this.#keepOnly();
    } catch (error) {
      this.#failure =
        error instanceof Error ? error : new Error("a callback threw", { cause: error });
      this.#line.clear();
      this.#data.clear();
      this.#only = undefined;
      throw error;
    }
  }

  end(): boolean {
    const isInLine = this.#line.length > 0 && this.#line.bytes[0] !== COLON;
    const isInBlock = this.#data.length > 0 || this.#event !== "" || this.#id !== undefined;
    this.#line.clear();
    this.#data.clear();
    this.#hasEnded = true;
    return isInLine || isInBlock;
  }

  #scan(chunk: Uint8Array): void {
    let position = 0;
    // Each is searched for again only once it lies behind, so both searches pass the chunk once.
    let nextLf = -1;
    let nextCr = -1;
    while (position < chunk.length) {
      if (this.#isAfterCr) {
        this.#isAfterCr = false;
        if (chunk[position] === LF) {
          if (this.#blockStart === this.#chunkStart + position) this.#blockStart += 1;
          position += 1;
          continue;
        }
      }
      if (nextLf < position) nextLf = find(chunk, LF, position);
      if (nextCr < position) nextCr = find(chunk, CR, position);
      const end = Math.min(nextLf, nextCr);
      this.#checkLine(this.#line.length + end - position);
      if (end === chunk.length) {
        this.#line.append(chunk, position, end);
        break;
      }
      this.#isAfterCr = end === nextCr;
      this.#endLine(chunk, position, end);
      position = end + 1;
    }
    this.#chunkStart += chunk.length;
  }

  #endLine(chunk: Uint8Array, start: number, end: number): void {
    const endInStream = this.#chunkStart + end + 1;
    if (this.#line.length === 0) {
      this.#takeLine(chunk, start, end, endInStream);
      return;
    }
    this.#line.append(chunk, start, end);
    this.#takeLine(this.#line.bytes, 0, this.#line.length, endInStream);
    this.#line.clear();
  }

  #takeLine(bytes: Uint8Array, lineStart: number, end: number, endInStream: number): void {
    let start = lineStart;
    if (this.#isFirstLine) {
      this.#isFirstLine = false;
      if (startsWithBom(bytes, start, end)) start += BOM.length;
    }
    if (start === end) {
      this.#endBlock(endInStream - this.#blockStart);
      this.#blockStart = endInStream;
      return;
    }
    if (isField(DATA, bytes, start, end)) {
      this.#takeData(bytes, valueStart(DATA, bytes, start, end), end);
    } else if (isField(ID, bytes, start, end)) {
      const from = valueStart(ID, bytes, start, end);
      // An id with a NUL is ignored as a whole (9.2.6): the id before it stays.
      if (!bytes.subarray(from, end).includes(0)) this.#id = decode(bytes, from, end);
    } else if (isField(EVENT, bytes, start, end)) {
      this.#event = decode(bytes, valueStart(EVENT, bytes, start, end), end);
    } else if (isField(RETRY, bytes, start, end)) {
      this.#takeRetry(bytes, valueStart(RETRY, bytes, start, end), end);
    } else if (bytes[start] === COLON && this.#options.onComment !== undefined) {
      const from = bytes[start + 1] === SPACE && start + 1 < end ? start + 2 : start + 1;
      this.#options.onComment(decode(bytes, from, end));
    }
  }

  #takeData(bytes: Uint8Array, start: number, end: number): void {
    const before =
      this.#only === undefined ? this.#data.length : this.#onlyEnd - this.#onlyStart + 1;
    const size = before + (end - start) + 1;
    if (size > this.#eventBytesMax) {
      throw new WireError(
        "event_too_large",
        `the data of an event is longer than eventBytesMax, ${this.#eventBytesMax} bytes: ${size} or more`,
      );
    }
    if (this.#data.length === 0 && this.#only === undefined && bytes !== this.#line.bytes) {
      this.#only = bytes;
      this.#onlyStart = start;
      this.#onlyEnd = end;
      return;
    }
    this.#keepOnly();
    this.#data.append(bytes, start, end);
    this.#data.appendByte(LF);
  }

  #keepOnly(): void {
    if (this.#only === undefined) return;
    this.#data.append(this.#only, this.#onlyStart, this.#onlyEnd);
    this.#data.appendByte(LF);
    this.#only = undefined;
  }

  #takeRetry(bytes: Uint8Array, start: number, end: number): void {
    if (start === end) return;
    for (let index = start; index < end; index += 1) {
      const byte = bytes[index] as number;
      if (byte < DIGIT_0 || byte > DIGIT_9) return;
    }
    const retryMs = Number(decode(bytes, start, end));
    this.#options.onRetry?.(Math.min(retryMs, Number.MAX_SAFE_INTEGER));
  }

  #endBlock(bytes: number): void {
    const id = this.#id;
    const event = this.#event === "" ? "message" : this.#event;
    this.#id = undefined;
    this.#event = "";
    if (id !== undefined) this.lastEventId = id;
    const only = this.#only;
    if (this.#data.length === 0 && only === undefined) {
      if (id !== undefined) this.#options.onId?.(id);
      return;
    }
    // Without the LF of the last line. One `data:` line without a value leaves "", which is an event.
    const data =
      only === undefined
        ? decode(this.#data.bytes, 0, this.#data.length - 1)
        : decode(only, this.#onlyStart, this.#onlyEnd);
    this.#only = undefined;
    this.#data.clear();
    this.#options.onEvent({ event, data, lastEventId: this.lastEventId, bytes });
  }

  #checkLine(size: number): void {
    if (size <= this.#lineBytesMax) return;
    // Not how much longer: that would depend on where the stream was cut.
    throw new WireError(
      "line_too_large",
      `a line is longer than lineBytesMax, ${this.#lineBytesMax} bytes`,
    );
  }
}

function find(chunk: Uint8Array, byte: number, from: number): number {
  const index = chunk.indexOf(byte, from);
  return index === -1 ? chunk.length : index;
}

function decode(bytes: Uint8Array, start: number, end: number): string {
  return start === end ? "" : decoder.decode(bytes.subarray(start, end));
}

function startsWithBom(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start >= BOM.length && BOM.every((byte, index) => bytes[start + index] === byte);
}

/** A line without a colon is a field whose value is empty. */
function isField(name: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  const nameEnd = start + name.length;
  if (nameEnd > end || (nameEnd < end && bytes[nameEnd] !== COLON)) return false;
  for (let index = 0; index < name.length; index += 1) {
    if (bytes[start + index] !== name[index]) return false;
  }
  return true;
}

function valueStart(name: Uint8Array, bytes: Uint8Array, start: number, end: number): number {
  const colon = start + name.length;
  if (colon >= end) return end;
  return colon + 1 < end && bytes[colon + 1] === SPACE ? colon + 2 : colon + 1;
}
