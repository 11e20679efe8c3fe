// HTTP/1.1 chunked coding (RFC 9112, 7.1), written around bytes that are already in place, so that a
// batch and its framing are one buffer and one write.

/** Room for the head of any chunk below 4 GiB: eight hex digits and CRLF. */
export const CHUNK_HEAD_BYTES_MAX = 10;
/** The CRLF behind a chunk's data. */
export const CHUNK_TAIL_BYTES = 2;

const CR = 0x0d;
const LF = 0x0a;
const SIZE_MAX = 0xffff_ffff;
const HEX_DIGITS = new TextEncoder().encode("0123456789abcdef");

/**
 * Writes `<size in hex>\r\n` so that it ends just before `end`; returns where it starts, at most
 * {@link CHUNK_HEAD_BYTES_MAX} earlier. `size` is in bytes, from 1: a chunk of size 0 ends the body.
 */
export function writeChunkHead(target: Uint8Array, end: number, size: number): number {
  if (!(size >= 1 && size <= SIZE_MAX)) {
    throw new RangeError(`chunk size must be from 1 to ${SIZE_MAX} bytes, not ${size}`);
  }
  let start = end - 2;
  target[start] = CR;
  target[start + 1] = LF;
  for (let rest = size; rest > 0; rest = rest >>> 4) {
    start -= 1;
    target[start] = HEX_DIGITS[rest & 15] as number;
  }
  if (start < 0) throw new RangeError(`no room for a chunk head before offset ${end}`);
  return start;
}

/** Writes the CRLF that ends a chunk; returns the offset behind it. */
export function writeChunkTail(target: Uint8Array, offset: number): number {
  target[offset] = CR;
  target[offset + 1] = LF;
  return offset + CHUNK_TAIL_BYTES;
}
