import type { MemoryAccount } from "../internal/account.ts";
import { assert } from "../internal/assert.ts";
import { Ring } from "../internal/ring.ts";

/** What one entry takes, in bytes; there is room for up to four times as many, and for two segments. */
export const ENTRY_BYTES = 32;
/** What a topic without events has room for: counted with its record. */
const CAPACITY_MIN = 4;
/**
 * Long logs grow by segments of so many entries, 4 KiB: doubled arrays of a thousand topics that
 * keep step cost 32 MB and a collection all at once (measured: 130 ms).
 */
const SEGMENT_SHIFT = 7;
const SEGMENT_ENTRIES = 1 << SEGMENT_SHIFT;
const COLUMNS = ENTRY_BYTES / Float64Array.BYTES_PER_ELEMENT;
const SEQ = 0;
const AT = 1;
const POSITION = 2;
const SIZE = 3;
/** The last column holds a frame's bytes and, in the units, what is said of it in these bits. */
const FLAGS = 4;

export const IS_END = 1;
export const IS_SUPERSEDED = 2;

/**
 * What is known of each retained event of a topic, oldest first: columns of numbers, not objects. A
 * collector has nothing to visit in them; a million objects held it up for 200 ms (measured).
 */
export class Entries {
  /** All but a lone one are whole. */
  readonly #segments = new Ring<Float64Array<ArrayBuffer>>();
  /** The last of them: an append finds it without a way through the ring, which would be cold. */
  #newest = new Float64Array(0);
  /** Entries that all segments have room for. */
  #capacity = 0;
  /** Entries of the first segment that were dropped. */
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
    if (this.#head + this.#length === this.#capacity) this.#grow();
    const place = this.#head + this.#length;
    const segment = this.#newest;
    const slot = (place % SEGMENT_ENTRIES) * COLUMNS;
    segment[slot + SEQ] = seq;
    segment[slot + AT] = at;
    segment[slot + POSITION] = position;
    segment[slot + SIZE] = bytes * FLAGS + flags;
    this.#length += 1;
  }

  /** Drops the oldest. */
  shift(): void {
    assert(this.#length > 0, "no entry to drop");
    this.#head += 1;
    this.#length -= 1;
    if (this.#head === SEGMENT_ENTRIES) {
      this.#segments.shift();
      this.#head = 0;
      this.#charge(this.#capacity - SEGMENT_ENTRIES);
    }
    // A quarter leaves room, so that push and shift do not thrash.
    if (this.#segments.length === 1 && this.#length < this.#capacity / 4) this.#fit();
  }

  seq(index: number): number {
    return this.#get(index, SEQ);
  }

  at(index: number): number {
    return this.#get(index, AT);
  }

  position(index: number): number {
    return this.#get(index, POSITION);
  }

  bytes(index: number): number {
    return Math.floor(this.#get(index, SIZE) / FLAGS);
  }

  has(index: number, flag: number): boolean {
    return ((this.#get(index, SIZE) % FLAGS) & flag) !== 0;
  }

  /** Says `flag` of the entry. It must not have been said before. */
  mark(index: number, flag: number): void {
    this.#set(index, SIZE, this.#get(index, SIZE) + flag);
  }

  /** The frame of the entry was moved. */
  moved(index: number, position: number): void {
    this.#set(index, POSITION, position);
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

  #get(index: number, column: number): number {
    assert(index >= 0 && index < this.#length, "no entry has this index");
    const place = this.#head + index;
    const segment = this.#segments.at(place >>> SEGMENT_SHIFT);
    return segment[(place % SEGMENT_ENTRIES) * COLUMNS + column] as number;
  }

  #set(index: number, column: number, value: number): void {
    assert(index >= 0 && index < this.#length, "no entry has this index");
    const place = this.#head + index;
    const segment = this.#segments.at(place >>> SEGMENT_SHIFT);
    segment[(place % SEGMENT_ENTRIES) * COLUMNS + column] = value;
  }

  #grow(): void {
    if (this.#segments.length <= 1 && this.#length * 2 <= SEGMENT_ENTRIES) this.#fit();
    else {
      this.#add(new Float64Array(SEGMENT_ENTRIES * COLUMNS));
      this.#charge(this.#capacity + SEGMENT_ENTRIES);
    }
  }

  /** Puts what a lone segment holds at its beginning, and gives it room for as much again. */
  #fit(): void {
    let capacity = CAPACITY_MIN;
    while (capacity < this.#length * 2) capacity *= 2;
    const old = this.#segments.shift();
    const start = this.#head * COLUMNS;
    const held = old?.subarray(start, start + this.#length * COLUMNS) ?? [];
    const fits = old?.length === capacity * COLUMNS;
    const segment = fits ? old : new Float64Array(capacity * COLUMNS);
    segment.set(held);
    this.#add(segment);
    this.#head = 0;
    this.#charge(capacity);
  }

  #add(segment: Float64Array<ArrayBuffer>): void {
    this.#segments.push(segment);
    this.#newest = segment;
  }

  #charge(capacity: number): void {
    const charged = Math.max(CAPACITY_MIN, this.#capacity);
    this.#account.add((Math.max(CAPACITY_MIN, capacity) - charged) * ENTRY_BYTES);
    this.#capacity = capacity;
  }
}
