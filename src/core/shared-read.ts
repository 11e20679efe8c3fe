import { batchOf } from "./batch.ts";
import type { Batch } from "./batch.ts";
import { TRIMMED_MAX } from "./broker.ts";
import type { ReadResult } from "./broker.ts";
import type { WireForm } from "./publication.ts";
import type { Selection } from "./selection.ts";

/** What was written of a read in one form: behind `prelude`, which may be empty. */
interface Made {
  readonly prelude: readonly Uint8Array[];
  readonly batch: Batch;
}

/** One read of the log for all readers that stand at the same place, and what is written to them, made once. */
export class SharedRead {
  readonly result: ReadResult;
  readonly #made: Partial<Record<WireForm, Made>> = {};

  constructor(result: ReadResult) {
    this.result = result;
  }

  /**
   * All of its publications behind `prelude`. Who stands at the same place is told the same gap nearly
   * always, so for each form the newest is kept, and made anew only where the prelude is another one.
   */
  batch(form: WireForm, prelude: readonly Uint8Array[] = []): Batch {
    const before = this.#made[form];
    if (before !== undefined && isSame(before.prelude, prelude)) return before.batch;
    const made = { prelude, batch: batchOf(this.result.publications, form, prelude) };
    this.#made[form] = made;
    return made.batch;
  }

  /**
   * The same read for a reader that stands further on, but before all of its events: nothing else is retained
   * there. Undefined where that does not hold, or if the topics to tell were too many to be known.
   */
  at(after: number): SharedRead | undefined {
    const { publications, trimmed } = this.result;
    const first = publications[0];
    if (first === undefined || after >= first.seq || after < this.result.after) return undefined;
    if (trimmed.length >= TRIMMED_MAX) return undefined;
    const untold = trimmed.filter(({ floor }) => floor > after);
    return new SharedRead({ ...this.result, after, trimmed: untold });
  }
}

interface Kept {
  readonly read: SharedRead;
  /** Of the selection. */
  readonly key: string;
  readonly bytes: number;
}

/** Publications of kept reads, in bytes: of 32 full ones. As much again for each form that was asked for. */
export const KEPT_BYTES_MAX = 2 * 1024 * 1024;

/**
 * The newest reads of one lane that were full. Where a batch ends follows from where it begins, so
 * readers that fell behind together stay at the same places, however far apart in time: each batch
 * is read and encoded for the first of them only. What lies in the middle of a log does not change;
 * a read that reached the end does, and is not kept.
 *
 * Where more is published than can be read, the floor overtakes the readers, and moves with every event.
 * A read that began below it serves others who stand below it too; behind it all stand at the same place.
 */
export class SharedReads {
  readonly #kept = new Map<string, Kept>();
  /** By the selection's key: the newest of them that began below a floor. */
  readonly #below = new Map<string, Kept>();
  #bytes = 0;

  /** Bytes of publications that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * What a reader at `from` would get, if somebody has read it. It must not be the reader's last before
   * `upTo`: what else a read tells (which lane, whether all has ended) is of the time when it was made.
   */
  find({ key }: Selection, from: number, upTo: number): SharedRead | undefined {
    if (key === undefined) return undefined;
    const exact = this.#kept.get(placeKey(key, from));
    if (exact !== undefined) return exact.read.result.through < upTo ? exact.read : undefined;
    const below = this.#below.get(key)?.read;
    return below !== undefined && below.result.through < upTo ? below.at(from) : undefined;
  }

  keep({ key }: Selection, from: number, upTo: number, read: SharedRead): void {
    const { result } = read;
    // What the log did not have yet when it was read is no more in the middle of it than its end.
    if (key === undefined || result.through >= Math.min(upTo, result.head)) return;
    const place = placeKey(key, from);
    this.#forget(place);
    let bytes = 0;
    for (const publication of result.publications) bytes += publication.bytes;
    const kept = { read, key, bytes };
    this.#kept.set(place, kept);
    this.#bytes += bytes;
    if (result.after < result.floor) this.#below.set(key, kept);
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= KEPT_BYTES_MAX) return;
      this.#forget(oldest);
    }
  }

  /** Nobody reads, or the log is another one, or what is known of its lanes. */
  clear(): void {
    this.#kept.clear();
    this.#below.clear();
    this.#bytes = 0;
  }

  #forget(place: string): void {
    const kept = this.#kept.get(place);
    if (kept === undefined) return;
    this.#kept.delete(place);
    this.#bytes -= kept.bytes;
    if (this.#below.get(kept.key) === kept) this.#below.delete(kept.key);
  }
}

/** The numbers come first and have no space: no two are alike, whatever the key (law 21). */
export function placeKey(key: string, from: number, upTo = 0): string {
  return `${from} ${upTo} ${key}`;
}

function isSame(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  if (a.length !== b.length) return false;
  return a.every((frame, index) => Buffer.compare(frame, b[index] as Uint8Array) === 0);
}
