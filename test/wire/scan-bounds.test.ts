import { describe, expect, test } from "vitest";
import { createScanner } from "../../src/wire/scan.ts";
import { cutInto, everyByte, utf8 } from "./streams.ts";

const MIB = 1024 * 1024;

interface Outcome {
  readonly events: number;
  readonly error: unknown;
}

function outcomeOf(
  chunks: Iterable<Uint8Array>,
  limits: { lineBytesMax?: number; eventBytesMax?: number },
): Outcome {
  let events = 0;
  const scanner = createScanner({ ...limits, onEvent: () => (events += 1) });
  try {
    for (const chunk of chunks) scanner.push(chunk);
  } catch (error) {
    expect(() => scanner.push(utf8("data: more\n\n"))).toThrow(
      expect.objectContaining({ message: (error as Error).message }),
    );
    return { events, error };
  }
  return { events, error: undefined };
}

describe("a bound", () => {
  test.each([
    ["a line of the bound", "data: a\n\ndata: 1234\n\n", 2, undefined],
    ["a line above it", "data: a\n\ndata: 12345\n\n", 1, "line_too_large"],
    ["a line above it that has no end", "data: a\n\ndata: 12345", 1, "line_too_large"],
    ["a comment above it", "data: a\n\n: 123456789\n\n", 1, "line_too_large"],
    ["an unknown field above it", "data: a\n\nfoofoofoofoo", 1, "line_too_large"],
  ])("of 10 bytes a line, in %s", (_name, stream, events, code) => {
    const bytes = utf8(stream);
    const whole = outcomeOf([bytes], { lineBytesMax: 10 });
    expect(whole.events).toBe(events);
    expect((whole.error as { code?: string } | undefined)?.code).toBe(code);
    expect(outcomeOf(everyByte(bytes), { lineBytesMax: 10 })).toEqual(whole);
  });

  test.each([
    ["data of the bound", "data: a\n\ndata: 123\ndata: 456\n\n", 2, undefined],
    ["data above it", "data: a\n\ndata: 123\ndata: 4567\n\n", 1, "event_too_large"],
    [
      "many empty lines",
      "data: a\n\ndata\ndata\ndata\ndata\ndata\ndata\ndata\ndata\ndata\n",
      1,
      "event_too_large",
    ],
    ["comments without end, which are not kept", `data: a\n\n${":\n".repeat(99)}`, 1, undefined],
    ["events one after another", "data: 1234567\n\n".repeat(99), 99, undefined],
  ])("of 8 bytes an event, in %s", (_name, stream, events, code) => {
    const bytes = utf8(stream);
    const whole = outcomeOf([bytes], { eventBytesMax: 8 });
    expect(whole.events).toBe(events);
    expect((whole.error as { code?: string } | undefined)?.code).toBe(code);
    expect(outcomeOf(everyByte(bytes), { eventBytesMax: 8 })).toEqual(whole);
  });

  test("is by default enough for 1 MiB of data in a line, and reached soon after", () => {
    const line = (size: number) => utf8(`data: ${"x".repeat(size)}\n\n`);
    expect(outcomeOf([line(MIB)], {})).toEqual({ events: 1, error: undefined });
    expect(outcomeOf([line(MIB + 65 * 1024)], {}).error).toMatchObject({ code: "line_too_large" });
    const lines = cutInto(utf8(`data: ${"x".repeat(1018)}\n`.repeat(8300)), [65_536]);
    expect(outcomeOf(lines, {}).error).toMatchObject({ code: "event_too_large" });
  });

  test("names itself and its value", () => {
    const { error } = outcomeOf([utf8("data: 12345")], { lineBytesMax: 10 });
    expect(error).toMatchObject({ message: "a line is longer than lineBytesMax, 10 bytes" });
  });

  test("stays passed: the same error again, also after a callback threw", () => {
    const scanner = createScanner({
      onEvent: () => {
        throw new TypeError("mine");
      },
    });
    expect(() => scanner.push(utf8("data: a\n\n"))).toThrow("mine");
    expect(() => scanner.push(utf8("data: b\n\n"))).toThrow("mine");
  });
});

interface Work {
  copied: number;
  searched: number;
  decoded: number;
}

/** Counts the bytes that the scanner's only three bulk operations touch while `run` runs. */
function workOf(run: () => void): Work {
  const work: Work = { copied: 0, searched: 0, decoded: 0 };
  const arrays = Object.getPrototypeOf(Uint8Array.prototype) as Uint8Array;
  const decoders = TextDecoder.prototype;
  // oxlint-disable-next-line typescript/unbound-method -- called with their receivers below
  const [set, indexOf, decode] = [arrays.set, arrays.indexOf, decoders.decode];
  arrays.set = function (this: Uint8Array, source, offset) {
    work.copied += source.length;
    set.call(this, source, offset);
  };
  arrays.indexOf = function (this: Uint8Array, byte, from = 0) {
    const found = indexOf.call(this, byte, from);
    work.searched += (found === -1 ? this.length : found + 1) - from;
    return found;
  };
  decoders.decode = function (this: TextDecoder, input, options) {
    work.decoded += (input as Uint8Array).length;
    return decode.call(this, input, options);
  };
  try {
    run();
  } finally {
    Object.assign(arrays, { set, indexOf });
    decoders.decode = decode;
  }
  return work;
}

describe("the work is linear in the stream, counted in bytes", () => {
  const line = utf8(`data: ${"x".repeat(MIB - 8)}\n\n`);
  const crs = new Uint8Array(MIB).fill(0x0d);
  const lfsAndOneCr = new Uint8Array(MIB).fill(0x0a).fill(0x0d, MIB - 1);

  test.each<[string, Uint8Array, number[]]>([
    ["a 1 MiB line byte by byte", line, [1]],
    ["a 1 MiB line in segments", line, [1448]],
    ["a 1 MiB line at once", line, [MIB]],
    ["1 MiB of empty data lines at once", utf8("data\n".repeat(MIB / 5)), [MIB]],
    ["1 MiB of empty data lines byte by byte", utf8("data\n".repeat(MIB / 5)), [1]],
    ["1 MiB of ids", utf8("id: 1\n".repeat(MIB / 6)), [MIB]],
    ["1 MiB of short events at once", utf8("data: a\n\n".repeat(MIB / 9)), [MIB]],
    ["1 MiB of CR", crs, [MIB]],
    ["1 MiB of LF with one CR behind", lfsAndOneCr, [MIB]],
  ])("%s", (_name, bytes, sizes) => {
    const scanner = createScanner({ onEvent: () => {} });
    const work = workOf(() => {
      for (const chunk of cutInto(bytes, sizes)) scanner.push(chunk);
    });
    // Into the line's carry, its doublings, and from there into the event's data and its doublings.
    expect(work.copied).toBeLessThanOrEqual(7 * bytes.length);
    // Once for LF and once for CR.
    expect(work.searched).toBeGreaterThanOrEqual(bytes.length);
    expect(work.searched).toBeLessThanOrEqual(2 * bytes.length);
    expect(work.decoded).toBeLessThanOrEqual(bytes.length);
  });

  test("the count sees work: the same line, joined anew for every byte, would cost half its square", () => {
    const work = workOf(() => {
      let joined = new Uint8Array(0);
      for (const chunk of cutInto(line.subarray(0, 2048), [1])) {
        const grown = new Uint8Array(joined.length + chunk.length);
        grown.set(joined);
        grown.set(chunk, joined.length);
        joined = grown;
      }
    });
    expect(work.copied).toBeGreaterThan(2048 * 1000);
  });
});
