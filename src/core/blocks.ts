import type { MemoryAccount } from "../internal/account.ts";

const BLOCK_BYTES_MIN = 512;
const BLOCK_BYTES_MAX = 64 * 1024;

/** A piece of memory that holds the frames of several publications, oldest first. */
export interface Block {
  readonly bytes: Buffer;
  /** Publications that still point into it. At zero it is unreachable and the collector takes it. */
  live: number;
}

/**
 * Where one topic's frames are kept. A frame is copied in once and never moves; live delivery,
 * replay and lagging readers all read it in place. Blocks are never reused while something may still
 * read them: a trimmed block is left to the garbage collector.
 *
 * Copying is what bounds memory: a slice of a request body would pin the whole 64 KiB network read.
 * Blocks grow from 512 B to 64 KiB, so a hundred thousand small topics do not cost 64 KiB each.
 */
export class Blocks {
  readonly #account: MemoryAccount;
  #current: Block | undefined;
  #used = 0;

  /** Blocks in use are charged to `account`. */
  constructor(account: MemoryAccount) {
    this.#account = account;
  }

  /** Room for `size` bytes in one block; write them at `offset` before the next call. */
  allocate(size: number): { block: Block; offset: number } {
    if (this.#current === undefined || this.#used + size > this.#current.bytes.length) {
      this.#open(size);
    }
    const block = this.#current as Block;
    const offset = this.#used;
    this.#used += size;
    block.live += 1;
    return { block, offset };
  }

  /** Counts memory that belongs to these frames but lies outside the blocks. May be negative. */
  charge(bytes: number): void {
    this.#account.add(bytes);
  }

  release(block: Block): void {
    block.live -= 1;
    if (block.live > 0) return;
    this.#account.add(-block.bytes.length);
    if (block === this.#current) this.#current = undefined;
  }

  #open(size: number): void {
    const previous = this.#current?.bytes.length ?? 0;
    const grown = Math.min(BLOCK_BYTES_MAX, Math.max(BLOCK_BYTES_MIN, previous * 2));
    this.#current = { bytes: Buffer.allocUnsafeSlow(Math.max(grown, size)), live: 0 };
    this.#used = 0;
    this.#account.add(this.#current.bytes.length);
  }
}
