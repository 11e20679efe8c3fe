import { totalmem } from "node:os";
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { LoadSample } from "../core/admission.ts";
import type { Runtime, Timer } from "../internal/clock.ts";
import { descriptorsNow } from "./descriptors.ts";
import { ResidentMemory } from "./resident-memory.ts";

/** Between two samples, in milliseconds. */
const SAMPLE_MS = 500;
/** Node's own clock for it. What it reports includes this, so it is taken off. */
const RESOLUTION_MS = 10;
/** Between two looks at the descriptors, in milliseconds: where the kernel has their count, and where they are listed. */
const COUNT_MS = 1_000;
const LIST_MS = 10_000;
/** Of the memory that the control group allows. The kernel's buffers for sockets count there too. */
const RESIDENT_SHARE = 0.85;

export interface LoadWatchOptions {
  readonly runtime: Runtime;
  readonly onSample: (sample: LoadSample) => void;
  /** Descriptors open in this process, counted now. */
  readonly onDescriptors: (count: number) => void;
  /** It has been stopped: what it said last says nothing now. */
  readonly onStopped: () => void;
}

/** Looks at what the process is like, twice a second, while it runs: event loop, memory, descriptors. */
export class LoadWatch {
  readonly #options: LoadWatchOptions;
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  readonly #memory = new ResidentMemory();
  #timer: Timer | undefined;
  #nextLookAt = 0;
  /** When the next sample should be taken. */
  #dueAt = 0;

  constructor(options: LoadWatchOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#timer !== undefined) return;
    this.#delay.reset();
    this.#delay.enable();
    this.#sampleLater();
    // What was taken when it was stopped may have been given back: whoever comes now must not be refused for it.
    this.#lookAtDescriptors();
  }

  stop(): void {
    if (this.#timer === undefined) return;
    this.#timer.cancel();
    this.#timer = undefined;
    this.#delay.disable();
    this.#options.onStopped();
  }

  #sampleLater(): void {
    this.#dueAt = this.#options.runtime.now() + SAMPLE_MS;
    this.#timer = this.#options.runtime.after(SAMPLE_MS, () => {
      const lateMs = this.#options.runtime.now() - this.#dueAt;
      this.#sampleLater();
      this.#sample(lateMs);
    });
  }

  /** The sample itself is `lateMs` late: Node records nothing of the first interval behind a reset (measured). */
  #sample(lateMs: number): void {
    const delayMs = this.#delay.count === 0 ? 0 : this.#delay.max / 1e6 - RESOLUTION_MS;
    this.#delay.reset();
    const { rss, heapUsed, external } = process.memoryUsage();
    this.#options.onSample({
      loopDelayMs: Math.max(0, delayMs, lateMs),
      residentBytes: this.#memory.inUse(rss, heapUsed + external),
    });
    this.#lookAtDescriptors();
  }

  #lookAtDescriptors(): void {
    const now = this.#options.runtime.now();
    if (now < this.#nextLookAt) return;
    const descriptors = descriptorsNow();
    // A little less than the interval: timers are not exact.
    this.#nextLookAt = now + (descriptors?.isCheap === true ? COUNT_MS : LIST_MS) - SAMPLE_MS / 2;
    if (descriptors !== undefined) this.#options.onDescriptors(descriptors.count);
  }
}

/** Resident memory from which on nobody is let in, in bytes: what is configured, or by the control group; 0 is never. */
export function residentBytesMaxOf(configured: number): number {
  if (configured > 0) return configured;
  const limit = process.constrainedMemory();
  // Without a limit the kernel says a number that no machine has.
  return limit > 0 && limit < totalmem() ? Math.floor(limit * RESIDENT_SHARE) : 0;
}
