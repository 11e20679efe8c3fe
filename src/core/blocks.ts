import type { MemoryAccount } from "../internal/account.ts";
import { assert } from "../internal/assert.ts";
import { Ring } from "../internal/ring.ts";

const BLOCK_BYTES_MIN = 512;
const BLOCK_BYTES_MAX = 64 * 1024;
/** A new block is this share of what the log has: the room not yet used, and what a thousand logs that grow in step take at once, stay small beside it. */
const GROWTH = 1 / 4;

/** A piece of memory that holds several frames, oldest first. */
export interface Block {
  readonly bytes: Buffer;
  /** The position of its first byte. */
  readonly from: number;
  /** Frames in it that are retained. At zero the log lets go of it, and the collector takes it when nobody reads it any more. */
  live: number;
}

/**
 * Where one topic's frames are kept. A frame is copied in once and never moves; live delivery,
 * replay and lagging readers all read it in place. Blocks are never reused while something may still
 * read them: a trimmed block is left to the garbage collector.
 *
 * Copying is what bounds memory: a slice of a request body would pin the whole 64 KiB network read.
 * Blocks grow with the log from 512 B to 64 KiB, so a hundred thousand small topics do not cost 64 KiB each.
 */
export class Blocks {
  readonly #account: MemoryAccount;
  readonly #blocks = new Ring<Block>();
  #newest: Block | undefined;
  /** Where the next frame begins; positions only rise. */
  #next = 0;
  /** The one that was asked for last: reads go from frame to frame. */
  #found: Block | undefined;

  /** Blocks in use are charged to `account`. */
  constructor(account: MemoryAccount) {
    this.#account = account;
  }

  /** The position of `size` bytes in one block. */
  allocate(size: number): number {
    let block = this.#newest;
    if (block === undefined || this.#next + size > endOf(block)) block = this.#open(size);
    block.live += 1;
    const position = this.#next;
    this.#next += size;
    return position;
  }

  /** The block of a retained frame; the frame begins at `position - block.from`. */
  at(position: number): Block {
    const newest = this.#newest;
    if (newest !== undefined && position >= newest.from) return newest;
    const found = this.#found;
    if (found !== undefined && position >= found.from && position < endOf(found)) return found;
    const index = this.#blocks.search(({ from }) => from > position) - 1;
    this.#found = this.#blocks.at(index);
    return this.#found;
  }

  /** The oldest frame, at `position`, is retained no more. */
  release(position: number): void {
    const block = this.#blocks.first() as Block;
    assert(position >= block.from && position < endOf(block), "only the oldest frame is released");
    block.live -= 1;
    if (block.live > 0) return;
    this.#blocks.shift();
    this.#account.add(-block.bytes.length);
    if (this.#found === block) this.#found = undefined;
    if (this.#newest === block) this.#newest = undefined;
  }

  #open(size: number): Block {
    const previous = this.#newest;
    if (previous !== undefined) this.#next = endOf(previous);
    const retained = this.#next - (this.#blocks.first()?.from ?? this.#next);
    const grown = Math.ceil((retained * GROWTH) / BLOCK_BYTES_MIN) * BLOCK_BYTES_MIN;
    const length = Math.max(BLOCK_BYTES_MIN, Math.min(BLOCK_BYTES_MAX, grown), size);
    const block = { bytes: Buffer.allocUnsafeSlow(length), from: this.#next, live: 0 };
    this.#blocks.push(block);
    this.#newest = block;
    this.#account.add(length);
    return block;
  }
}

function endOf({ bytes, from }: Block): number {
  return from + bytes.length;
}
