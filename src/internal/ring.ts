import { assert } from "./assert.ts";

const CAPACITY_MIN = 8;

/**
 * A double-ended queue with constant-time `at`, `push` and `shift`, for logs that grow at one end
 * and are trimmed at the other. `Array.shift` moves every element on large arrays; this does not.
 */
export class Ring<T> {
  readonly #capacityKept: number;
  #slots: (T | undefined)[] = [];
  #head = 0;
  #length = 0;

  /**
   * Room for `capacityKept` elements is not given back: what is drained in each turn of the event loop
   * would be made anew in each.
   */
  constructor(capacityKept = CAPACITY_MIN) {
    this.#capacityKept = capacityKept;
  }

  get length(): number {
    return this.#length;
  }

  /** The element `index` places behind the oldest one. `index` must be in [0, length). */
  at(index: number): T {
    assert(index >= 0 && index < this.#length, "ring index out of bounds");
    return this.#slots[(this.#head + index) & (this.#slots.length - 1)] as T;
  }

  first(): T | undefined {
    return this.#length === 0 ? undefined : this.at(0);
  }

  last(): T | undefined {
    return this.#length === 0 ? undefined : this.at(this.#length - 1);
  }

  push(element: T): void {
    if (this.#length === this.#slots.length) this.#resize(Math.max(CAPACITY_MIN, this.#length * 2));
    this.#slots[(this.#head + this.#length) & (this.#slots.length - 1)] = element;
    this.#length += 1;
  }

  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const element = this.#slots[this.#head] as T;
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#slots.length - 1);
    this.#length -= 1;
    // Gives memory back after a burst; a quarter leaves room, so that push and shift do not thrash.
    if (this.#slots.length > this.#capacityKept && this.#length < this.#slots.length / 4) {
      this.#resize(this.#slots.length / 2);
    }
    return element;
  }

  /** The first index whose element satisfies `isAfter`, or `length`. The ring must be sorted by it. */
  search(isAfter: (element: T) => boolean): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isAfter(this.at(middle))) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #resize(capacity: number): void {
    const slots: (T | undefined)[] = Array.from({ length: capacity });
    for (let index = 0; index < this.#length; index += 1) slots[index] = this.at(index);
    this.#slots = slots;
    this.#head = 0;
  }
}
