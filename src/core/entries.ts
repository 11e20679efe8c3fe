import type { MemoryAccount } from "../internal/account.ts";
import { assert } from "../internal/assert.ts";

/** What one entry takes, in bytes; a ring that grows or shrinks by halves has room for up to four times as many. */
export const ENTRY_BYTES = 32;
/** What a topic without events has room for: counted with its record. */
const CAPACITY_MIN = 4;
const COLUMNS = ENTRY_BYTES / Float64Array.BYTES_PER_ELEMENT;
const SEQ = 0;
const AT = 1;
const POSITION = 2;
const SIZE = 3;
/** The last column holds a frame's bytes and, in the units, what is said of it in these bits. */
const FLAGS = 4;

export const IS_END = 1;
export const IS_SUPERSEDED = 2;

const NONE = new Float64Array(0);

/**
 * What is known of each retained event of a topic, oldest first: columns of numbers, not objects. A
 * collector has nothing to visit in them; a million objects held it up for 200 ms (measured).
 */
export class Entries {
  #slots = NONE;
  #capacity = 0;
  #head = 0;
  #length = 0;
  readonly #account: MemoryAccount;

  /** Room beyond the first four entries is charged to `account`. */
  constructor(account: MemoryAccount) {
    this.#account = account;
  }

  get length(): number {
    return this.#length;
  }

  /** `at` in milliseconds; `position` and `bytes` of the frame; `flags` a sum of `IS_...`. */
  push(seq: number, at: number, position: number, bytes: number, flags: number): void {
    if (this.#length === this.#capacity) this.#resize(Math.max(CAPACITY_MIN, this.#capacity * 2));
    this.#length += 1;
    const slot = this.#slotOf(this.#length - 1);
    this.#slots[slot + SEQ] = seq;
    this.#slots[slot + AT] = at;
    this.#slots[slot + POSITION] = position;
    this.#slots[slot + SIZE] = bytes * FLAGS + flags;
  }

  /** Drops the oldest. */
  shift(): void {
    assert(this.#length > 0, "no entry to drop");
    this.#head = (this.#head + 1) & (this.#capacity - 1);
    this.#length -= 1;
    // A quarter leaves room, so that push and shift do not thrash.
    if (this.#capacity > CAPACITY_MIN && this.#length < this.#capacity / 4) {
      this.#resize(this.#capacity / 2);
    }
  }

  seq(index: number): number {
    return this.#slots[this.#slotOf(index) + SEQ] as number;
  }

  at(index: number): number {
    return this.#slots[this.#slotOf(index) + AT] as number;
  }

  position(index: number): number {
    return this.#slots[this.#slotOf(index) + POSITION] as number;
  }

  bytes(index: number): number {
    return Math.floor((this.#slots[this.#slotOf(index) + SIZE] as number) / FLAGS);
  }

  has(index: number, flag: number): boolean {
    return (((this.#slots[this.#slotOf(index) + SIZE] as number) % FLAGS) & flag) !== 0;
  }

  /** Says `flag` of the entry. It must not have been said before. */
  mark(index: number, flag: number): void {
    const slot = this.#slotOf(index) + SIZE;
    this.#slots[slot] = (this.#slots[slot] as number) + flag;
  }

  /** The frame of the entry was moved. */
  moved(index: number, position: number): void {
    this.#slots[this.#slotOf(index) + POSITION] = position;
  }

  /** The index of the first entry above `seq`; `length` if there is none. */
  indexAfter(seq: number): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.seq(middle) > seq) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #slotOf(index: number): number {
    assert(index >= 0 && index < this.#length, "no entry has this index");
    return ((this.#head + index) & (this.#capacity - 1)) * COLUMNS;
  }

  #resize(capacity: number): void {
    const slots = new Float64Array(capacity * COLUMNS);
    const start = this.#head * COLUMNS;
    const beforeWrap = Math.min(this.#length, this.#capacity - this.#head) * COLUMNS;
    slots.set(this.#slots.subarray(start, start + beforeWrap));
    slots.set(this.#slots.subarray(0, this.#length * COLUMNS - beforeWrap), beforeWrap);
    const known = Math.max(CAPACITY_MIN, this.#capacity);
    this.#account.add((capacity - known) * ENTRY_BYTES);
    this.#slots = slots;
    this.#capacity = capacity;
    this.#head = 0;
  }
}
