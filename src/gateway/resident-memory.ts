/** Bytes of what was thought to be free that no longer count for each byte by which a peak is exceeded. */
const PEAK_PENALTY = 4;

/**
 * How much of the resident memory is in use. The C library seldom gives back what was freed: after
 * 92 MiB of buffers were dropped, the resident set was the same to the byte (measured, glibc 2.36). To
 * judge by that alone would refuse clients for ever after one peak, although what they need is there,
 * free, inside this process. So what has become free since the peak counts as free. Where a new peak
 * shows that it did not do, much less of it counts: the estimate then rises faster than the memory.
 */
export class ResidentMemory {
  #peakBytes = 0;
  /** What was live at the peak, less the penalties. */
  #peakLiveBytes = 0;

  /** `liveBytes` is what JavaScript holds: heap in use, and memory outside of it. */
  inUse(residentBytes: number, liveBytes: number): number {
    const growth = residentBytes - this.#peakBytes;
    if (growth > 0) {
      this.#peakBytes = residentBytes;
      this.#peakLiveBytes = Math.max(liveBytes, this.#peakLiveBytes - PEAK_PENALTY * growth);
    }
    const freed = this.#peakLiveBytes - liveBytes;
    const returned = this.#peakBytes - residentBytes;
    if (freed > returned) return residentBytes - (freed - returned);
    this.#peakBytes = residentBytes;
    this.#peakLiveBytes = liveBytes;
    return residentBytes;
  }
}
