import { readdirSync, readFileSync } from "node:fs";
import { getPriority, setPriority, totalmem } from "node:os";
import { setFlagsFromString } from "node:v8";

/**
 * How much garbage there may be before a major collection, in % of what was in use after the last one.
 * V8 would let its heap double and more: of 10,000 connections that are cut and come back at once the
 * old ones then stay beside the new, and resident memory peaks at 1.47 times what it was; with 85 at
 * 1.23 times, with 150 at 1.31 (measured, `npm run bench -- reconnect-10000`).
 */
const GARBAGE_PERCENT = 85;
/** Of the log there may be as much, but at least so much, where the memory of the process is limited. */
const LOG_GARBAGE_PERCENT_MIN = 10;
/** Of the limit the log and its garbage may take so much, beside what the process needs in any case. */
const LIMIT_PERCENT = 70;
const BASE_BYTES = 150 * 1024 ** 2;
/** V8's helper threads give way to the event loop by so much, as nice(1) says; weights are one to nine then. */
const HELPERS_NICE = 10;
const NICE_MAX = 19;
/** As Node names them from version 24 on; the threads of libuv, which work for the event loop, have another name. */
const HELPER = /^(?:node-)?V8Worker$/;

/**
 * Collects garbage as suits a process whose memory is mostly its log, of at most `logBytesMax`, from now on.
 *
 * V8 counts the log, which lies outside its heap, apart: a major collection for every 64 MiB that it grows,
 * however large it is, for most of which the event loop marks objects itself. As a part of all that is in
 * use it is collected when that has grown by the share, and marking is left to the helper threads, which take
 * nothing from the event loop. Together: of a thousand streams one event in a hundred came after
 * 10 ms instead of 31, the slowest after 33 instead of 103 (measured, `npm run bench -- runs-1000`).
 */
export function tuneGarbageCollection(logBytesMax: number): void {
  const limit = process.constrainedMemory();
  // Without a limit it is 0, or says more than there is.
  const limitBytes = limit > 0 ? Math.min(limit, totalmem()) : totalmem();
  const logPercent = logGarbagePercent(logBytesMax, limitBytes);
  for (const flag of flagsFor(process.versions.v8, logPercent)) setFlagsFromString(flag);
  if (process.platform === "linux") putHelpersBehind();
}

/** How much garbage of a log of `logBytesMax` a process of `limitBytes` has room for, in whole % of the log. */
export function logGarbagePercent(logBytesMax: number, limitBytes: number): number {
  const room = (limitBytes * LIMIT_PERCENT) / 100 - BASE_BYTES - logBytesMax;
  const percent = Math.floor((100 * room) / logBytesMax);
  return Math.max(LOG_GARBAGE_PERCENT_MIN, Math.min(GARBAGE_PERCENT, percent));
}

/** The flags that this version of V8 has: it would complain about others on standard error. */
export function flagsFor(v8Version: string, logPercent: number): string[] {
  const [major = 0, minor = 0] = v8Version.split(".").map(Number);
  const isAtLeast = (a: number, b: number): boolean => major > a || (major === a && minor >= b);
  const flags = [`--heap-growing-percent=${GARBAGE_PERCENT}`, "--no-incremental-marking-task"];
  const outside = "--external-memory-accounted-in-global-limit";
  if (isAtLeast(14, 6)) {
    flags.push(outside, `--external-memory-max-growing-factor=${(100 + logPercent) / 100}`);
  } else if (isAtLeast(13, 6) && logPercent === GARBAGE_PERCENT) {
    // It has one share for both.
    flags.push(outside);
  }
  return flags;
}

/** Where there are no spare cores they held up the event loop for as long as they marked. */
function putHelpersBehind(): void {
  const tasks = "/proc/self/task";
  try {
    const nice = Math.min(NICE_MAX, getPriority() + HELPERS_NICE);
    for (const task of readdirSync(tasks)) {
      const name = readFileSync(`${tasks}/${task}/comm`, "utf8").trim();
      if (HELPER.test(name)) setPriority(Number(task), nice);
    }
  } catch {
    // A sandbox may forbid it; everything works without, in bad moments a little later.
  }
}
