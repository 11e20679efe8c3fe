import type { Runtime } from "../internal/clock.ts";

/** Memory that even the smallest event costs in the log, in bytes; its bound counts what was written only. */
export const EVENT_BYTES_MIN = 128;
/** How often it is looked whether readers have come on, in milliseconds. */
const LOOK_MS = 20;
/** Places that are remembered in one window. */
const MARKS = 32;

/** A place in it, and how much had been appended up to there, in bytes. */
interface Mark {
  readonly seq: number;
  readonly bytes: number;
}

/**
 * How much of a feed or run nobody has read yet. Half of the window may be: the other half is for readers that
 * come back. Beyond it the upstream has to wait (U11). What counts is who reads fastest: one slow reader
 * must not hold up the others, and is told a gap when the window has passed it.
 */
export class FeedWindow {
  readonly #runtime: Runtime;
  readonly #bytesMax: number;
  /** Rising; the first is at or below the place of the fastest reader. */
  #marks: Mark[];
  #bytes = 0;
  /** Of the last mark. */
  #markedBytes = 0;
  #readBytes = 0;
  #waiting: Promise<void> | undefined;
  #isClosed = false;

  constructor(runtime: Runtime, windowBytes: number, begin: number) {
    this.#runtime = runtime;
    this.#bytesMax = windowBytes / 2;
    this.#marks = [{ seq: begin, bytes: 0 }];
  }

  /** An event of `bytes` was appended. */
  add(bytes: number): void {
    this.#bytes += Math.max(bytes, EVENT_BYTES_MIN);
  }

  /** The newest event is `seq`, and everything that was added is at or below it. */
  mark(seq: number): void {
    if (this.#bytes - this.#markedBytes < (2 * this.#bytesMax) / MARKS) return;
    this.#markedBytes = this.#bytes;
    this.#marks.push({ seq, bytes: this.#bytes });
  }

  /**
   * Undefined if more may be appended now; else a promise of it. `fastest` tells the place of the fastest
   * reader, and is asked until it has come on, or `close` is called.
   */
  room(fastest: () => number): Promise<void> | undefined {
    if (this.#isClosed || this.#bytes - this.#readBytes <= this.#bytesMax) return undefined;
    if (!this.#isFull(fastest())) return undefined;
    return (this.#waiting ??= this.#wait(fastest));
  }

  close(): void {
    this.#isClosed = true;
  }

  #isFull(place: number): boolean {
    let [first] = this.#marks as [Mark, ...Mark[]];
    for (
      let next = this.#marks[1];
      next !== undefined && next.seq <= place;
      next = this.#marks[1]
    ) {
      this.#marks.shift();
      first = next;
    }
    this.#readBytes = Math.max(this.#readBytes, first.bytes);
    return this.#bytes - this.#readBytes > this.#bytesMax;
  }

  async #wait(fastest: () => number): Promise<void> {
    while (!this.#isClosed && this.#isFull(fastest())) {
      await new Promise<void>((resolve) => void this.#runtime.after(LOOK_MS, resolve));
    }
    this.#waiting = undefined;
  }
}
