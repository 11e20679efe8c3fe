import type { Publication } from "./publication.ts";
import type { TopicLog } from "./topic-log.ts";

/** A place in one topic's log while several are merged. */
interface Reader {
  readonly log: TopicLog;
  index: number;
  nextSeq: number;
}

/**
 * Reads several topic logs as one, in sequence order: everything in (`after`, `upTo`], until
 * `bytesMax` bytes of frames are reached. A binary heap keyed by the next sequence number, so a
 * step costs the logarithm of the number of topics that have something to say.
 */
export function mergeLogs(
  logs: Iterable<TopicLog>,
  after: number,
  upTo: number,
  bytesMax: number,
): { publications: Publication[]; isComplete: boolean } {
  const heap: Reader[] = [];
  for (const log of logs) {
    if (log.last <= after) continue;
    const index = log.indexAfter(after);
    if (index === log.length) continue;
    const nextSeq = log.seqAt(index);
    if (nextSeq > upTo) continue;
    heap.push({ log, index, nextSeq });
    siftUp(heap);
  }
  const publications: Publication[] = [];
  let bytes = 0;
  for (let reader = heap[0]; reader !== undefined; reader = heap[0]) {
    if (bytes >= bytesMax) return { publications, isComplete: false };
    const publication = reader.log.at(reader.index);
    publications.push(publication);
    bytes += publication.bytes;
    advance(heap, reader, upTo);
  }
  return { publications, isComplete: true };
}

function advance(heap: Reader[], top: Reader, upTo: number): void {
  top.index += 1;
  const nextSeq = top.index < top.log.length ? top.log.seqAt(top.index) : Infinity;
  if (nextSeq <= upTo) {
    top.nextSeq = nextSeq;
  } else {
    const last = heap.pop();
    if (last === undefined || last === top) return;
    heap[0] = last;
  }
  siftDown(heap);
}

function siftUp(heap: Reader[]): void {
  let child = heap.length - 1;
  while (child > 0) {
    const parent = (child - 1) >>> 1;
    if (seqAt(heap, parent) <= seqAt(heap, child)) return;
    swap(heap, parent, child);
    child = parent;
  }
}

function siftDown(heap: Reader[]): void {
  let parent = 0;
  for (;;) {
    const left = parent * 2 + 1;
    let least = parent;
    if (left < heap.length && seqAt(heap, left) < seqAt(heap, least)) least = left;
    if (left + 1 < heap.length && seqAt(heap, left + 1) < seqAt(heap, least)) least = left + 1;
    if (least === parent) return;
    swap(heap, parent, least);
    parent = least;
  }
}

function seqAt(heap: readonly Reader[], index: number): number {
  return (heap[index] as Reader).nextSeq;
}

function swap(heap: Reader[], a: number, b: number): void {
  const held = heap[a] as Reader;
  heap[a] = heap[b] as Reader;
  heap[b] = held;
}
