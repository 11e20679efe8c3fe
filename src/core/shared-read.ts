import { batchOf } from "./batch.ts";
import type { Batch } from "./batch.ts";
import type { ReadResult } from "./broker.ts";
import type { WireForm } from "./publication.ts";
import type { Selection } from "./selection.ts";

/** One read of the log for all readers that stand at the same place, and what is written to them, made once. */
export class SharedRead {
  readonly result: ReadResult;
  #plain: Batch | undefined;
  #enveloped: Batch | undefined;

  constructor(result: ReadResult) {
    this.result = result;
  }

  /** All of its publications. Encoded at the first call for each form. */
  batch(form: WireForm): Batch {
    const { publications } = this.result;
    if (form === "plain") return (this.#plain ??= batchOf(publications, "plain"));
    return (this.#enveloped ??= batchOf(publications, "enveloped"));
  }
}

/** Reads kept at most: 4 MiB of publications, and as much for each form that was asked for. */
const READS_MAX = 64;

/**
 * The newest reads of one lane that were full. Where a batch ends follows from where it begins, so
 * readers that fell behind together stay at the same places, however far apart in time: each batch
 * is read and encoded for the first of them only. What lies in the middle of a log does not change;
 * a read that reached the end does, and is not kept.
 */
export class SharedReads {
  readonly #reads = new Map<string, SharedRead>();

  /**
   * What a reader at `from` would get, if somebody has read it. It must not be the reader's last before
   * `upTo`: what else a read tells (which lane, whether all has ended) is of the time when it was made.
   */
  find(selection: Selection, from: number, upTo: number): SharedRead | undefined {
    const read = this.#reads.get(keyOf(selection, from));
    return read !== undefined && read.result.through < upTo ? read : undefined;
  }

  keep(selection: Selection, from: number, upTo: number, read: SharedRead): void {
    if (selection.key === undefined || read.result.through >= upTo) return;
    const key = keyOf(selection, from);
    this.#reads.delete(key);
    this.#reads.set(key, read);
    if (this.#reads.size <= READS_MAX) return;
    for (const oldest of this.#reads.keys()) return void this.#reads.delete(oldest);
  }

  /** Nobody reads, or the log is another one. */
  clear(): void {
    this.#reads.clear();
  }
}

/** The key has no space, and the number comes first: no two are alike (law 21). */
function keyOf({ key }: Selection, from: number): string {
  return key === undefined ? "" : `${from} ${key}`;
}
