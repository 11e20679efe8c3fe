import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CURSOR_BYTES_MAX, formatCursor, parseCursor } from "../../src/wire/cursor.ts";

const epochs = fc.stringMatching(/^[A-Za-z0-9_~-]{1,64}$/);

describe("a cursor", () => {
  test("is read back as it was written, and fits its bound", () => {
    fc.assert(
      fc.property(epochs, fc.maxSafeNat(), (epoch, seq) => {
        const text = formatCursor(epoch, seq);
        expect(parseCursor(text)).toEqual({ epoch, seq });
        expect(text.length).toBeLessThanOrEqual(CURSOR_BYTES_MAX);
        expect(text).toMatch(/^[A-Za-z0-9._~-]+$/);
      }),
    );
  });

  test("has one text: what parses is exactly what would be written", () => {
    const almost = fc
      .tuple(fc.oneof(epochs, fc.string()), fc.constantFrom(".", "", ".0", ".-"), fc.nat())
      .map(([epoch, dot, seq]) => `${epoch}${dot}${seq}`);
    fc.assert(
      fc.property(fc.oneof(almost, fc.string({ unit: "binary", maxLength: 200 })), (text) => {
        const cursor = parseCursor(text);
        if (cursor !== undefined) expect(formatCursor(cursor.epoch, cursor.seq)).toBe(text);
      }),
    );
  });

  test.each([
    ["the first place", "e.0", 0],
    ["the last place, 2^53 - 1", "e.9007199254740991", Number.MAX_SAFE_INTEGER],
    ["the longest epoch", `${"e".repeat(64)}.1`, 1],
  ])("is accepted at its bounds: %s", (_name, text, seq) => {
    expect(parseCursor(text)?.seq).toBe(seq);
  });

  test.each([
    ["empty", ""],
    ["128 bytes", `${"a".repeat(126)}.1`],
    ["129 bytes", `${"a".repeat(127)}.1`],
    ["8 KiB", `${"a".repeat(8190)}.1`],
    ["8 KiB of digits", `e.${"1".repeat(8190)}`],
    ["8 KiB of dots", ".".repeat(8192)],
    ["NUL", "e\0.1"],
    ["NUL at the end", "e.1\0"],
    ["Latin-1", "\u00e9.1"],
    ["UTF-8 read as Latin-1", "\u00c3\u00a9.1"],
    ["digits of another script", "e.\u0661"],
    ["full-width dot", "e\uff0e1"],
    ["two headers joined", "e.1, e.2"],
    ["negative", "e.-1"],
    ["signed", "e.+1"],
    ["fraction", "e.1.5"],
    ["exponent", "e.1e3"],
    ["hexadecimal", "e.0x10"],
    ["leading zero", "e.01"],
    ["two zeros", "e.00"],
    ["2^53", "e.9007199254740992"],
    ["2^53 + 1", "e.9007199254740993"],
    ["2^64", "e.18446744073709551616"],
    ["no number", "e."],
    ["no epoch", ".1"],
    ["no dot", "e1"],
    ["an epoch of 65", `${"e".repeat(65)}.1`],
    ["$", "$"],
    ["*", "*"],
    ["+", "+"],
    ["-", "-"],
    ["0-0", "0-0"],
    ["glob *", "*.1"],
    ["glob ?", "?.1"],
    ["glob [a-z]", "[a-z].1"],
    ["glob {a,b}", "{a,b}.1"],
    ["space before", " e.1"],
    ["space behind", "e.1 "],
    ["LF behind", "e.1\n"],
    ["CRLF and a header", "e.1\r\nX: y"],
    ["path", "../e.1"],
    ["percent", "e%2e1"],
  ])("is refused and nothing thrown, S09: %s", (_name, text) => {
    expect(parseCursor(text)).toBeUndefined();
  });

  test.each([
    ["", 1],
    ["a.b", 1],
    ["a\n", 1],
    ["e".repeat(65), 1],
    ["e", -1],
    ["e", 1.5],
    ["e", NaN],
    ["e", 2 ** 53],
  ])("is not written from what would not be read back: %j, %d", (epoch, seq) => {
    expect(() => formatCursor(epoch, seq)).toThrow(RangeError);
  });
});
