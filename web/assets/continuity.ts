/** A place in a tenant's order, read from an id: `<epoch>.<seq>`. */
export interface Place {
  readonly epoch: string;
  readonly seq: number;
}

const PUBLISHED_MAX = 5_000;
const SEEN_MAX = 10_000;

/** Reads an id. `undefined` for what is none of ours. */
export function placeOf(id: string): Place | undefined {
  const dot = id.lastIndexOf(".");
  const seq = Number(id.slice(dot + 1));
  if (dot < 1 || !Number.isSafeInteger(seq)) return undefined;
  return { epoch: id.slice(0, dot), seq };
}

function isBehind(place: Place, other: Place): boolean {
  return place.epoch === other.epoch && place.seq > other.seq;
}

/**
 * The ids that this page's own publishing got back. Numbers have holes (other topics, other
 * publishers), so only these tell what a subscriber of the page should have received.
 */
export class Ledger {
  readonly #places: Place[] = [];

  add(id: string): void {
    const place = placeOf(id);
    if (place === undefined) return;
    this.#places.push(place);
    if (this.#places.length > PUBLISHED_MAX) this.#places.shift();
  }

  /** The newest published place. Answers to concurrent requests may come in any order. */
  get head(): Place | undefined {
    return this.#places.reduce<Place | undefined>(
      (head, place) => (head === undefined || !isBehind(head, place) ? place : head),
      undefined,
    );
  }

  /** What was published in (`from`, `to`]. */
  between(from: Place, to: Place): Place[] {
    return this.#places.filter((place) => isBehind(place, from) && !isBehind(place, to));
  }
}

export interface Verdict {
  /** How many events the page published in the stretch that is judged. */
  readonly published: number;
  readonly received: number;
  /** Passed over: a later event has come, and order says that this one never will. */
  readonly lost: number;
  /** Not come yet, and nothing behind it either. */
  readonly awaited: number;
}

/** What one subscriber has received, held against the ledger. */
export class Continuity {
  /** Where it began; ids up to here were never its to receive. */
  origin: Place | undefined;
  last: Place | undefined;
  /** How many ids came at or below one that had already come. */
  repeated = 0;
  readonly #ledger: Ledger;
  readonly #seen = new Set<number>();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** A place without an event: where reading starts, or goes on behind a gap. */
  startAt(id: string): void {
    const place = placeOf(id);
    if (place === undefined) return;
    if (this.origin?.epoch !== place.epoch) this.#begin(place);
  }

  saw(id: string): void {
    const place = placeOf(id);
    if (place === undefined) return;
    // Without a greeting the first event is all that is known of the beginning.
    if (this.origin?.epoch !== place.epoch) this.#begin({ ...place, seq: place.seq - 1 });
    if (this.last !== undefined && place.seq <= this.last.seq) {
      this.repeated += 1;
      return;
    }
    this.last = place;
    this.#seen.add(place.seq);
    if (this.#seen.size > SEEN_MAX) this.#forgetOldest();
  }

  /** What was published here between the beginning and the last event, and did not come. */
  get lost(): number {
    if (this.origin === undefined || this.last === undefined) return 0;
    return this.judge(this.origin, this.last).lost;
  }

  /** Judges the events that this page published in (`from`, `to`]. */
  judge(from: Place, to: Place): Verdict {
    const expected = this.#ledger.between(from, to);
    const last = this.last;
    let received = 0;
    let awaited = 0;
    for (const place of expected) {
      if (this.#seen.has(place.seq)) received += 1;
      else if (last === undefined || isBehind(place, last)) awaited += 1;
    }
    const lost = expected.length - received - awaited;
    return { published: expected.length, received, lost, awaited };
  }

  /** Another epoch is another log: nothing of the old one can follow. */
  #begin(place: Place): void {
    this.origin = place;
    this.last = undefined;
    this.#seen.clear();
  }

  #forgetOldest(): void {
    const [oldest] = this.#seen;
    if (oldest === undefined || this.origin === undefined) return;
    this.#seen.delete(oldest);
    this.origin = { epoch: this.origin.epoch, seq: oldest };
  }
}
