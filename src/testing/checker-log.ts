/** Sums stay exact integers below 2^53: every hash is 32 bits wide, so two million of them fit, and then wrap. */
const SUM_MODULUS = 2 ** 52;

/** What was seen in a stretch of one topic: how much, and a sum of hashes that does not depend on order. */
export interface Tally {
  count: number;
  sum: number;
}

export function addTo(tally: Tally, hash: number): void {
  tally.count += 1;
  tally.sum = (tally.sum + hash) % SUM_MODULUS;
}

/** One topic's log in one epoch, as all records together show it. One number of memory an event, however many read it. */
export class SeenLog {
  readonly #hashes = new Map<number, number>();
  #seqs: number[] = [];
  #sums: number[] = [];

  /** False if `seq` holds another payload. */
  see(seq: number, hash: number): boolean {
    const known = this.#hashes.get(seq);
    if (known !== undefined) return known === hash;
    this.#hashes.set(seq, hash);
    return true;
  }

  /** Call it once, when everything was seen; ranges can be asked for from then on. */
  close(): void {
    this.#seqs = [...this.#hashes.keys()].sort((a, b) => a - b);
    let sum = 0;
    this.#sums = this.#seqs.map((seq) => {
      sum = (sum + (this.#hashes.get(seq) as number)) % SUM_MODULUS;
      return sum;
    });
  }

  /** What lies in (`after`, `upTo`]. */
  tally(after: number, upTo: number): Tally {
    const low = this.#countUpTo(after);
    const high = this.#countUpTo(upTo);
    if (high <= low) return { count: 0, sum: 0 };
    const below = low === 0 ? 0 : (this.#sums[low - 1] as number);
    const sum = ((this.#sums[high - 1] as number) - below + SUM_MODULUS) % SUM_MODULUS;
    return { count: high - low, sum };
  }

  #countUpTo(seq: number): number {
    let low = 0;
    let high = this.#seqs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#seqs[middle] as number) <= seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** (`from`, `to`]. */
export interface Span {
  from: number;
  to: number;
}

/** Sorted, overlaps joined. */
export function union(spans: readonly Span[]): Span[] {
  const joined: Span[] = [];
  for (const span of spans.toSorted((a, b) => a.from - b.from)) {
    const last = joined.at(-1);
    if (last !== undefined && span.from <= last.to) last.to = Math.max(last.to, span.to);
    else if (span.to > span.from) joined.push({ ...span });
  }
  return joined;
}
