import {
  CHUNK_HEAD_BYTES_MAX,
  CHUNK_TAIL_BYTES,
  writeChunkHead,
  writeChunkTail,
} from "../wire/chunk.ts";
import type { Publication, WireForm } from "./publication.ts";

/** What one write carries at most, in bytes, unless a single frame is larger (R07). */
export const BATCH_BYTES_MAX = 64 * 1024;

/**
 * Whole frames, concatenated once and written to many connections. The room around the frames holds
 * the HTTP/1.1 chunk framing, so that chunked and unchunked connections share one buffer and a
 * delivery is a single write without a copy. Never changed after it was made, and never reused.
 */
export class Batch {
  /** The frames as one HTTP/1.1 chunk (RFC 9112, 7.1). */
  readonly chunk: Buffer;
  /** Of the frames alone. */
  readonly bytes: number;
  readonly count: number;
  readonly #start: number;

  constructor(chunk: Buffer, start: number, bytes: number, count: number) {
    this.chunk = chunk;
    this.bytes = bytes;
    this.count = count;
    this.#start = start;
  }

  /** The frames alone: the same memory. */
  get frames(): Buffer {
    return this.chunk.subarray(this.#start, this.#start + this.bytes);
  }
}

/** A batch of `publications`, in `form`, behind the frames `prelude` if any. */
export function batchOf(
  publications: readonly Publication[],
  form: WireForm,
  prelude: readonly Uint8Array[] = [],
): Batch {
  let size = 0;
  for (const frame of prelude) size += frame.length;
  for (const publication of publications) size += publication.bytesIn(form);
  // Not from Node's shared pool: a pooled slice would pin its 8 KiB slab in a slow connection's queue.
  const buffer = Buffer.allocUnsafeSlow(CHUNK_HEAD_BYTES_MAX + size + CHUNK_TAIL_BYTES);
  let offset = CHUNK_HEAD_BYTES_MAX;
  for (const frame of prelude) {
    buffer.set(frame, offset);
    offset += frame.length;
  }
  for (const publication of publications) offset = publication.copyTo(buffer, offset, form);
  const start = writeChunkHead(buffer, CHUNK_HEAD_BYTES_MAX, size);
  const end = writeChunkTail(buffer, offset);
  const chunk = buffer.subarray(start, end);
  return new Batch(chunk, CHUNK_HEAD_BYTES_MAX - start, size, publications.length);
}

/** A batch of frames that are no log entries: heartbeats, `close`, the primer. */
export function controlBatch(...frames: readonly Uint8Array[]): Batch {
  return batchOf([], "plain", frames);
}
