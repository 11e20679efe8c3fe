import { getHeapStatistics, setFlagsFromString } from "node:v8";

/**
 * How much garbage there may be before a major collection, in % of what was in use after the last one.
 * V8 would let its heap double and more: of 10,000 connections that are cut and come back at once the
 * old ones then stay beside the new, and resident memory peaks at 1.47 times what it was; with 85 at
 * 1.23 times, with 150 at 1.31 (measured, `npm run bench -- reconnect-10000`).
 */
const GARBAGE_PERCENT = 85;
/** A share of a heap of its own is not worth a flag that changes all the time, in %. */
const STEP_PERCENT = 10;
const LOOK_MS = 1_000;

/**
 * Bounds the garbage of this process, from now on. V8 counts what lies outside its heap, which is mostly
 * the log, as growth, but takes the share of the heap alone: a log of the heap's size would be collected
 * over twice as often as without it, for nothing. So the share is stated anew as the log grows.
 */
export function boundGarbage(): void {
  let stated = 0;
  const look = (): void => {
    const percent = garbagePercent(getHeapStatistics());
    if (Math.abs(percent - stated) < STEP_PERCENT) return;
    stated = percent;
    setFlagsFromString(`--heap-growing-percent=${percent}`);
  };
  look();
  setInterval(look, LOOK_MS).unref();
}

/** The share of the heap that is {@link GARBAGE_PERCENT} of all that is in use, in whole %. */
export function garbagePercent(used: {
  readonly used_heap_size: number;
  readonly external_memory: number;
}): number {
  const { used_heap_size: heap, external_memory: outside } = used;
  return Math.round((GARBAGE_PERCENT * (heap + outside)) / heap);
}
