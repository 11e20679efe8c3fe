// What the tests of wire/ share: hostile strings and streams, and two readers to hold against our own.
import * as fc from "fast-check";
import { createParser } from "eventsource-parser";
import { createScanner } from "../../src/wire/scan.ts";
import type { ScannerOptions } from "../../src/wire/scan.ts";

/** Everything that a stream tells, in order; what any two readers must agree on. */
export type Told =
  | { event: string; data: string; lastEventId: string }
  | { comment: string }
  | { retryMs: number }
  | { id: string };

type ScanLimits = Pick<ScannerOptions, "lineBytesMax" | "eventBytesMax">;

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** What our scanner tells of the stream that `chunks` make up. */
export function scan(chunks: Iterable<Uint8Array>, limits: ScanLimits = {}): Told[] {
  const told: Told[] = [];
  const scanner = createScanner({
    ...limits,
    onEvent: ({ event, data, lastEventId }) => told.push({ event, data, lastEventId }),
    onComment: (comment) => told.push({ comment }),
    onRetry: (retryMs) => told.push({ retryMs }),
    onId: (id) => told.push({ id }),
  });
  for (const chunk of chunks) {
    // A copy that is wiped after the push: a scanner that kept a view of it would read zeros.
    const copy = chunk.slice();
    scanner.push(copy);
    copy.fill(0);
  }
  scanner.end();
  return told;
}

/** The same by WHATWG HTML, 9.2.5 and 9.2.6, step by step on the decoded whole; slow and plain. */
export function readBySpec(bytes: Uint8Array): Told[] {
  const told: Told[] = [];
  let text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  if (text.startsWith("\ufeff")) text = text.slice(1);
  const lines = text.split(/\r\n|\r|\n/);
  // Behind the last line end: a line that was cut off. Its block is never dispatched.
  lines.pop();
  let data = "";
  let type = "";
  let lastEventId = "";
  let isIdSet = false;
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (line === "") {
      if (data !== "") {
        told.push({ event: type === "" ? "message" : type, data: data.slice(0, -1), lastEventId });
      } else if (isIdSet) {
        told.push({ id: lastEventId });
      }
      data = "";
      type = "";
      isIdSet = false;
      continue;
    }
    const rest = line.slice(colon + 1);
    const afterColon = rest.startsWith(" ") ? rest.slice(1) : rest;
    if (colon === 0) {
      told.push({ comment: afterColon });
      continue;
    }
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : afterColon;
    if (field === "event") type = value;
    if (field === "data") data += `${value}\n`;
    if (field === "id" && !value.includes("\0")) {
      lastEventId = value;
      isIdSet = true;
    }
    if (field === "retry" && /^[0-9]+$/.test(value)) told.push({ retryMs: cappedMs(value) });
  }
  return told;
}

/** The same by the package eventsource-parser, which takes decoded text. */
export function readByParser(texts: Iterable<string>): Told[] {
  const told: Told[] = [];
  let lastEventId = "";
  // It tells an id before the event that carries it; one without an event is a primer.
  let primer: Told | undefined;
  const flushPrimer = () => {
    if (primer !== undefined) told.push(primer);
    primer = undefined;
  };
  const parser = createParser({
    onId: (id) => {
      flushPrimer();
      lastEventId = id;
      primer = { id };
    },
    onEvent: ({ id, event, data }) => {
      if (id === undefined) flushPrimer();
      primer = undefined;
      told.push({ event: event ?? "message", data, lastEventId });
    },
    onComment: (comment) => {
      flushPrimer();
      told.push({ comment });
    },
    onRetry: (retryMs) => {
      flushPrimer();
      told.push({ retryMs: cappedMs(retryMs) });
    },
  });
  for (const text of texts) parser.feed(text);
  flushPrimer();
  return told;
}

export function decodeAll(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

export function* everyByte(bytes: Uint8Array): Generator<Uint8Array> {
  for (let index = 0; index < bytes.length; index += 1) yield bytes.subarray(index, index + 1);
}

/** `bytes` cut after each of `sizes`, which are used in turn, again and again. */
export function* cutInto(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  let start = 0;
  for (let turn = 0; start < bytes.length; turn += 1) {
    const end = start + (sizes[turn % sizes.length] ?? bytes.length);
    yield bytes.subarray(start, end);
    start = end;
  }
}

/** What arrives of data that was sent: line ends become LF, lone surrogates U+FFFD. */
export function asReceived(data: string): string {
  return data.replace(/\r\n?/g, "\n").toWellFormed();
}

// Split, not spread: a spread would join the two lone surrogates into a pair.
const HOSTILE = "\r \n \0 \u0085 \u2028 \u2029 \ufeff \ud800 \udc00 : \t \x1a \x7f 🎉 é \r\n \n\n"
  .split(" ")
  .concat([" ", "data: x\n", "\nid: 1", "\revent: y", "retry: 1", "\n\n\n"]);

const unit = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...HOSTILE) },
  { weight: 2, arbitrary: fc.string({ unit: "grapheme", maxLength: 3 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff }).map((c) => String.fromCharCode(c)) },
);

/** Any string at all, lone surrogates included. */
export const anyText = fc
  .array(unit, { maxLength: 24, size: "max" })
  .map((units) => units.join(""));

/** Any string that may stand in `event` and `id`. */
export const anyLine = anyText
  .map((text) => text.replace(/[\r\n\0]/g, ""))
  .filter((line) => line !== "");

export const anyEvent = fc.record(
  { event: anyLine, id: anyLine, data: anyText },
  { requiredKeys: ["data"] },
);

const PIECES =
  "data|id|event|retry|:|: | |\r|\n|\r\n|\n\n|\r\r|\0|data: a|data:|id: 7|event: e|retry: 15|datax|dat|12|x|é€🎉".split(
    "|",
  );

// Cut-off, overlong and surrogate sequences, and what is nearly a BOM.
const BROKEN_UTF8 = "c3 e282 f09f8e c080 eda080 ff ef efbb bf"
  .split(" ")
  .map((hex) => new Uint8Array(Buffer.from(hex, "hex")));

const piece = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...PIECES).map(utf8) },
  { weight: 1, arbitrary: fc.constant(Uint8Array.of(0xef, 0xbb, 0xbf)) },
  { weight: 2, arbitrary: fc.constantFrom(...BROKEN_UTF8) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 4 }) },
);

/** Arbitrary bytes that look enough like an event stream to reach every branch of a reader. */
export const anyStream = fc
  .array(piece, { maxLength: 60, size: "max" })
  .map((pieces) => concat(...pieces));

export const anySizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 8 });

function cappedMs(value: string | number): number {
  return Math.min(Number(value), Number.MAX_SAFE_INTEGER);
}
