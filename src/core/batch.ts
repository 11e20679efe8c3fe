import {
  CHUNK_HEAD_BYTES_MAX,
  CHUNK_TAIL_BYTES,
  writeChunkHead,
  writeChunkTail,
} from "../wire/chunk.ts";
import type { Publication, WireForm } from "./publication.ts";

/** What one write carries at most, in bytes, unless a single frame is larger (R07). */
export const BATCH_BYTES_MAX = 64 * 1024;

/** So large a batch, in bytes, refers to the log's memory; below it a copy costs less than more pieces. */
const REFERENCE_BYTES_MIN = 16 * 1024;
/** Larger ones are one piece, which transports cut as they like. */
const REFERENCE_BYTES_MAX = 128 * 1024;
/** A block that is referred to is not freed: a batch that waits holds at most so many times its bytes. */
const HELD_MAX = 2;
const SLICES_MAX = 4;
/**
 * Batches up to the first size share memory of the second. An array buffer for each took a twentieth of
 * what an event costs (measured); Node's own pool is 64 KiB, which a slow connection's queue would hold
 * for one event.
 */
const SHARED_BATCH_BYTES_MAX = 1024;
const SHARED_BYTES = 4 * 1024;
const CHUNK_TAIL = Buffer.from("\r\n");

/**
 * Whole frames, encoded once and written to many connections. The room around the frames holds the
 * HTTP/1.1 chunk framing, so that chunked and unchunked connections share one buffer and a delivery is
 * a single write without a copy. Never changed after it was made, and never reused.
 *
 * A large one is made of pieces of the log itself: readers that lag get one each, and their copies
 * were 2 GiB of garbage a second (measured under a flood).
 */
export class Batch {
  /** The frames as one HTTP/1.1 chunk (RFC 9112, 7.1): these pieces, one behind the other. Nearly always it is one. */
  readonly chunk: readonly Buffer[];
  /** Of the frames alone. */
  readonly bytes: number;
  readonly count: number;
  readonly #headBytes: number;

  constructor(chunk: readonly Buffer[], headBytes: number, bytes: number, count: number) {
    this.chunk = chunk;
    this.bytes = bytes;
    this.count = count;
    this.#headBytes = headBytes;
  }

  /** The frames alone. Where the chunk is one piece, the same memory. */
  get frames(): Buffer {
    const [first = CHUNK_TAIL] = this.chunk;
    const whole = this.chunk.length === 1 ? first : Buffer.concat(this.chunk);
    return whole.subarray(this.#headBytes, this.#headBytes + this.bytes);
  }
}

/** A batch of `publications`, in `form`, behind the frames `prelude` if any. */
export function batchOf(
  publications: readonly Publication[],
  form: WireForm,
  prelude: readonly Uint8Array[] = [],
): Batch {
  const slices = slicesOf(publications, form);
  let size = 0;
  for (const frame of prelude) size += frame.length;
  const preludeBytes = size;
  if (slices === undefined) for (const each of publications) size += each.bytesIn(form);
  else for (const slice of slices) size += slice.length;
  const ownBytes = slices === undefined ? size + CHUNK_TAIL_BYTES : preludeBytes;
  const room = CHUNK_HEAD_BYTES_MAX + ownBytes;
  const isShared = room <= SHARED_BATCH_BYTES_MAX;
  const buffer = isShared ? sharedMemory(room) : Buffer.allocUnsafeSlow(room);
  const beginOfFrames = (isShared ? sharedUsed : 0) + CHUNK_HEAD_BYTES_MAX;
  if (isShared) sharedUsed += room;
  let offset = beginOfFrames;
  for (const frame of prelude) {
    buffer.set(frame, offset);
    offset += frame.length;
  }
  const start = writeChunkHead(buffer, beginOfFrames, size);
  const headBytes = beginOfFrames - start;
  const count = publications.length;
  if (slices !== undefined) {
    const chunk = [buffer.subarray(start, offset), ...slices, CHUNK_TAIL];
    return new Batch(chunk, headBytes, size, count);
  }
  for (const publication of publications) offset = publication.copyTo(buffer, offset, form);
  const end = writeChunkTail(buffer, offset);
  return new Batch([buffer.subarray(start, end)], headBytes, size, count);
}

let shared = Buffer.alloc(0);
/** From there on nothing has it yet. */
let sharedUsed = 0;

/** Memory in which `bytes` from {@link sharedUsed} on are free. */
function sharedMemory(bytes: number): Buffer {
  if (sharedUsed + bytes > shared.length) {
    shared = Buffer.allocUnsafeSlow(SHARED_BYTES);
    sharedUsed = 0;
  }
  return shared;
}

/** Their frames where they lie in the log, if those are few long slices. */
function slicesOf(publications: readonly Publication[], form: WireForm): Buffer[] | undefined {
  let bytes = 0;
  for (const publication of publications) bytes += publication.bytes;
  if (bytes < REFERENCE_BYTES_MIN || bytes > REFERENCE_BYTES_MAX) return undefined;
  const slices: Buffer[] = [];
  let heldBytes = 0;
  let memory: Buffer | undefined;
  let start = 0;
  let end = 0;
  for (const publication of publications) {
    if (!publication.isAsPublished(form)) return undefined;
    if (publication.memory !== memory || publication.start !== end) {
      if (memory !== undefined) slices.push(memory.subarray(start, end));
      if (publication.memory !== memory) heldBytes += publication.memory.length;
      if (slices.length === SLICES_MAX || heldBytes > HELD_MAX * bytes) return undefined;
      memory = publication.memory;
      start = publication.start;
    }
    end = publication.start + publication.bytes;
  }
  if (memory !== undefined) slices.push(memory.subarray(start, end));
  return slices;
}

/** A batch of frames that are no log entries: heartbeats, `close`, the primer. */
export function controlBatch(...frames: readonly Uint8Array[]): Batch {
  return batchOf([], "plain", frames);
}
