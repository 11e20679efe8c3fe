import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  CHUNK_HEAD_BYTES_MAX,
  CHUNK_TAIL_BYTES,
  writeChunkHead,
  writeChunkTail,
} from "../../src/wire/chunk.ts";

function headOf(size: number): string {
  const target = new Uint8Array(CHUNK_HEAD_BYTES_MAX);
  const start = writeChunkHead(target, CHUNK_HEAD_BYTES_MAX, size);
  return Buffer.from(target.subarray(start)).toString("latin1");
}

test("the head is the size in hexadecimal and CRLF, and ends where the data begins", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 0xffff_ffff }), (size) => {
      expect(headOf(size)).toBe(`${size.toString(16)}\r\n`);
    }),
  );
  expect(headOf(0xffff_ffff)).toHaveLength(CHUNK_HEAD_BYTES_MAX);
});

test("head, data and tail share one buffer", () => {
  const target = new Uint8Array(CHUNK_HEAD_BYTES_MAX + 26 + CHUNK_TAIL_BYTES);
  target.fill(0x61, CHUNK_HEAD_BYTES_MAX, CHUNK_HEAD_BYTES_MAX + 26);
  const start = writeChunkHead(target, CHUNK_HEAD_BYTES_MAX, 26);
  const end = writeChunkTail(target, CHUNK_HEAD_BYTES_MAX + 26);
  expect(Buffer.from(target.subarray(start, end)).toString()).toBe(`1a\r\n${"a".repeat(26)}\r\n`);
});

test("a chunk of size 0, which would end the body, is not written", () => {
  for (const size of [0, -1, 2 ** 32, NaN]) expect(() => headOf(size)).toThrow(RangeError);
});

test("a head that does not fit before the data is told", () => {
  expect(() => writeChunkHead(new Uint8Array(3), 3, 16)).toThrow(RangeError);
});
