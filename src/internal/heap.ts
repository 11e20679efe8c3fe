/** Items by a number, the smallest first; equal ones in any order. `push`, `shift` and `raise` are logarithmic. */
export class MinHeap<T> {
  readonly #keys: number[] = [];
  readonly #items: T[] = [];

  get size(): number {
    return this.#items.length;
  }

  /** The item with the smallest key. */
  least(): T | undefined {
    return this.#items[0];
  }

  /** Of that item; infinite where there is none. */
  get leastKey(): number {
    return this.#keys[0] ?? Number.POSITIVE_INFINITY;
  }

  push(key: number, item: T): void {
    let at = this.#items.length;
    this.#keys.push(key);
    this.#items.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#key(parent) <= key) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#put(at, key, item);
  }

  /** Takes the least one away. */
  shift(): void {
    const key = this.#keys.pop();
    const item = this.#items.pop();
    if (key !== undefined && this.#items.length > 0) this.#sink(key, item as T);
  }

  /** The least one has another key now, which is not smaller. */
  raise(key: number): void {
    this.#sink(key, this.#items[0] as T);
  }

  clear(): void {
    this.#keys.length = 0;
    this.#items.length = 0;
  }

  /** Puts an item where it belongs, from the top, whose place is free. */
  #sink(key: number, item: T): void {
    const { length } = this.#items;
    let at = 0;
    for (let child = 1; child < length; child = 2 * at + 1) {
      if (child + 1 < length && this.#key(child + 1) < this.#key(child)) child += 1;
      if (this.#key(child) >= key) break;
      this.#move(child, at);
      at = child;
    }
    this.#put(at, key, item);
  }

  #key(at: number): number {
    return this.#keys[at] as number;
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#key(from), this.#items[from] as T);
  }

  #put(at: number, key: number, item: T): void {
    this.#keys[at] = key;
    this.#items[at] = item;
  }
}
