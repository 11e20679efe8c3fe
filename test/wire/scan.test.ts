import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createScanner } from "../../src/wire/scan.ts";
import type { ScannedEvent } from "../../src/wire/scan.ts";
import {
  anySizes,
  anyStream,
  concat,
  cutInto,
  decodeAll,
  everyByte,
  readByParser,
  readBySpec,
  scan,
  utf8,
} from "./streams.ts";

const told = (stream: string) => scan([utf8(stream)]);
const message = (data: string, lastEventId = "", event = "message") => ({
  event,
  data,
  lastEventId,
});

describe("the scanner, law 18", () => {
  test.each([
    ["one event", "data: a\n\n", [message("a")]],
    ["no space behind the colon", "data:a\n\n", [message("a")]],
    ["one space of two removed", "data:  a\n\n", [message(" a")]],
    ["a tab kept", "data:\ta\n\n", [message("\ta")]],
    ["empty data, which is an event", "data:\n\n", [message("")]],
    ["a field without a colon", "data\n\n", [message("")]],
    ["two empty lines of data", "data\ndata\n\n", [message("\n")]],
    ["several lines", "data: a\ndata: b\n\n", [message("a\nb")]],
    ["CR", "data: a\rdata: b\r\r", [message("a\nb")]],
    ["CRLF", "data: a\r\ndata: b\r\n\r\n", [message("a\nb")]],
    ["LF CR, two line ends", "data: a\n\rdata: b\n\n", [message("a"), message("b")]],
    ["an event name", "event: e\ndata: a\n\n", [message("a", "", "e")]],
    ["an empty event name, back to message", "event: e\nevent:\ndata: a\n\n", [message("a")]],
    ["a name that ends with its block", "event: e\n\ndata: a\n\n", [message("a")]],
    [
      "the id kept by later events",
      "id: 1\ndata: a\n\ndata: b\n\n",
      [message("a", "1"), message("b", "1")],
    ],
    [
      "an empty id, which resets",
      "id: 1\ndata: a\n\nid\ndata: b\n\n",
      [message("a", "1"), message("b")],
    ],
    [
      "an id with NUL, ignored",
      "id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n",
      [message("a", "1"), message("b", "1")],
    ],
    ["the primer", "id: 1\n\n", [{ id: "1" }]],
    ["an empty primer", "id\n\n", [{ id: "" }]],
    ["retry", "retry: 15\n\n", [{ retryMs: 15 }]],
    ["retry without a blank line", "retry: 15\n", [{ retryMs: 15 }]],
    [
      "retries that are none",
      "retry: 1x\nretry: -1\nretry: 1.5\nretry:\nretry:  1\nretry: ١\n\n",
      [],
    ],
    [
      "a retry beyond all numbers",
      `retry: ${"9".repeat(400)}\n`,
      [{ retryMs: Number.MAX_SAFE_INTEGER }],
    ],
    ["a comment", ": hi\n\n", [{ comment: "hi" }]],
    ["an empty comment", ":\n\n", [{ comment: "" }]],
    ["a comment inside an event", "data: a\n:\ndata: b\n\n", [{ comment: "" }, message("a\nb")]],
    ["unknown fields and capitals", "foo: a\nData: b\ndatas: c\nevents: d\ni: e\ndata : f\n\n", []],
    ["a leading BOM", "\ufeffdata: a\n\n", [message("a")]],
    ["a second BOM, part of the name", "\ufeff\ufeffdata: a\n\ndata: b\n\n", [message("b")]],
    ["a BOM later on", "data: a\n\n\ufeffdata: b\n\n", [message("a")]],
    ["a BOM in data", "data: \ufeffa\n\n", [message("\ufeffa")]],
    [
      "what are no line ends",
      "data: a\u2028\u2029\u0085\v\fb\n\n",
      [message("a\u2028\u2029\u0085\v\fb")],
    ],
    ["NUL in data and event", "event: a\0\ndata: \0\n\n", [message("\0", "", "a\0")]],
    ["blank lines alone", "\n\r\r\n\n", []],
    ["an event that is cut off", "data: a\n\ndata: b\n", [message("a")]],
  ])("reads %s", (_name, stream, expected) => {
    const bytes = utf8(stream);
    expect(scan([bytes])).toEqual(expected);
    expect(scan(everyByte(bytes))).toEqual(expected);
    expect(readBySpec(bytes)).toEqual(expected);
  });

  test("replaces invalid UTF-8 as a decoder of the whole stream does, even at a line's end", () => {
    const bytes = concat(utf8("data: "), Uint8Array.of(0xe2, 0x82), utf8("\ndata: "));
    const rest = concat(Uint8Array.of(0xac, 0xc0, 0x80), utf8("\n\n"));
    expect(scan([bytes, rest])).toEqual([message("\ufffd\n\ufffd\ufffd\ufffd")]);
  });

  test("agrees with WHATWG's text and with eventsource-parser on arbitrary bytes", () => {
    fc.assert(
      fc.property(anyStream, (bytes) => {
        const expected = scan([bytes]);
        expect(expected).toEqual(readBySpec(bytes));
        const text = decodeAll(bytes);
        // It takes these three letters for a BOM that was decoded as Latin-1; see the next test.
        fc.pre(!text.startsWith("\u00ef\u00bb\u00bf"));
        expect(expected).toEqual(readByParser([text]));
      }),
      { numRuns: 2000 },
    );
  });

  test("departs from eventsource-parser where that departs from WHATWG: only U+FEFF is a BOM", () => {
    const stream = "\u00ef\u00bb\u00bfdata: a\n\n";
    expect(readByParser([stream])).toEqual([message("a")]);
    expect(readBySpec(utf8(stream))).toEqual([]);
    expect(told(stream)).toEqual([]);
  });

  test("tells the same however the stream is cut", () => {
    fc.assert(
      fc.property(anyStream, anySizes, (bytes, sizes) => {
        const whole = scan([bytes]);
        expect(scan(cutInto(bytes, sizes))).toEqual(whole);
        expect(scan(everyByte(bytes))).toEqual(whole);
        const empty = new Uint8Array(0);
        expect(scan([empty, ...cutInto(bytes, sizes)].flatMap((c) => [c, empty]))).toEqual(whole);
      }),
      { numRuns: 1000 },
    );
  });

  test("tells the same at every single cut of a stream that has everything", () => {
    const bytes = utf8(
      "\ufeffretry: 5\r\n\r\nid: 1\r\r: ♥\n\nevent: é\r\ndata: 🎉\rdata\ndata: \ufeff\r\nid: ü\r\n\r\ndata: x",
    );
    const whole = scan([bytes]);
    expect(whole).toHaveLength(4);
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      expect(scan([bytes.subarray(0, cut), bytes.subarray(cut)])).toEqual(whole);
    }
  });
});

describe("an event's size on the wire", () => {
  const sizes = (chunks: Iterable<Uint8Array>) => {
    const found: number[] = [];
    const scanner = createScanner({ onEvent: (event: ScannedEvent) => found.push(event.bytes) });
    for (const chunk of chunks) scanner.push(chunk);
    return found;
  };

  test("is that of its frame, without the comments and primers before it", () => {
    const last = utf8("event: é\ndata: bc\nid: 2\n\n");
    const stream = concat(utf8("data: a\n\n: c\n\nid: 1\n\n"), last);
    expect(sizes([stream])).toEqual([9, last.length]);
  });

  test("does not depend on how the stream is cut, whatever its line ends", () => {
    const bytes = utf8("data: a\r\n\r\ndata: b\r\rdata: c\n\ndata: d\r\n\r\n");
    expect(sizes([bytes])).toEqual([10, 9, 9, 10]);
    expect(sizes(everyByte(bytes))).toEqual([10, 9, 9, 10]);
  });
});

describe("the place", () => {
  test("is that of the last complete block; a cut event does not move it", () => {
    const scanner = createScanner({ onEvent: () => {} });
    scanner.push(utf8("id: 1\ndata: a\n\nid: 2\ndata: b\n"));
    expect(scanner.lastEventId).toBe("1");
    expect(scanner.end()).toBe(true);
    expect(scanner.lastEventId).toBe("1");
  });

  test("is moved by a primer", () => {
    const scanner = createScanner({ onEvent: () => {} });
    scanner.push(utf8("id: 1\n\n"));
    expect(scanner.lastEventId).toBe("1");
  });

  test("begins where the reader stood before it reconnected", () => {
    const events: ScannedEvent[] = [];
    const scanner = createScanner({ lastEventId: "7", onEvent: (event) => events.push(event) });
    scanner.push(utf8("data: a\n\n"));
    expect(events[0]?.lastEventId).toBe("7");
  });
});

describe("the end of a stream", () => {
  test.each([
    ["after nothing", "", false],
    ["after a whole event", "data: a\n\n", false],
    ["after a whole event of CR", "data: a\r\r", false],
    ["after a comment", ": a\n", false],
    ["inside a comment", ": a", false],
    ["after retry", "retry: 1\n", false],
    ["inside a line", "dat", true],
    ["before the blank line", "data: a\n", true],
    ["before the primer's blank line", "id: 1\n", true],
  ])("%s", (_name, stream, isCut) => {
    const scanner = createScanner({ onEvent: () => {} });
    scanner.push(utf8(stream));
    expect(scanner.end()).toBe(isCut);
    expect(() => scanner.push(utf8("\n"))).toThrow("the scanner has ended");
  });
});
