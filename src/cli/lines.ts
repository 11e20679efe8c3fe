import { UsageError } from "./exit.ts";

const LF = 0x0a;
const CR = 0x0d;

/** The lines that one chunk of a stream completes, as one piece; `first` is the number of its first line, from 1. */
export interface LineBlock {
  readonly first: number;
  readonly lines: readonly Buffer<ArrayBuffer>[];
}

/**
 * The lines of a stream, in blocks as they come: all that a chunk completes, so that a slow source is
 * passed on at once and a fast one in large blocks. Holds one chunk and one line. LF or CRLF ends a
 * line; the last may lack it. Throws `UsageError` for a line longer than `lineBytesMax`.
 */
export async function* lineBlocks(
  stream: AsyncIterable<Buffer>,
  lineBytesMax: number,
): AsyncGenerator<LineBlock, void, void> {
  let first = 1;
  // In pieces: to join them at every chunk would copy a long line once for each.
  let unfinished: Buffer[] = [];
  let unfinishedBytes = 0;
  for await (const chunk of stream) {
    const lines: Buffer<ArrayBuffer>[] = [];
    let start = 0;
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
      lines.push(withoutCr(Buffer.concat([...unfinished, chunk.subarray(start, end)])));
      unfinished = [];
      unfinishedBytes = 0;
      start = end + 1;
    }
    unfinishedBytes += chunk.length - start;
    if (unfinishedBytes > lineBytesMax) {
      const at = first + lines.length;
      throw new UsageError(`line ${at} of the input is longer than ${lineBytesMax} bytes`);
    }
    if (start < chunk.length) unfinished.push(chunk.subarray(start));
    if (lines.length > 0) yield { first, lines };
    first += lines.length;
  }
  if (unfinishedBytes > 0) yield { first, lines: [withoutCr(Buffer.concat(unfinished))] };
}

/** All of a stream, without one line end at its end, which `echo` and editors add. */
export async function wholeInput(
  stream: AsyncIterable<Buffer>,
  bytesMax: number,
): Promise<Buffer<ArrayBuffer>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > bytesMax) {
      throw new UsageError(
        `the input is longer than ${bytesMax} bytes, too long for one event; publish it by --lines or --ndjson`,
      );
    }
    chunks.push(chunk);
  }
  const all = Buffer.concat(chunks);
  return all.at(-1) === LF ? withoutCr(all.subarray(0, -1)) : all;
}

function withoutCr(line: Buffer<ArrayBuffer>): Buffer<ArrayBuffer> {
  return line.at(-1) === CR ? line.subarray(0, -1) : line;
}
