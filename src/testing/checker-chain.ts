import { parseCursor } from "../wire/cursor.ts";
import { Pattern } from "../core/pattern.ts";
import { addTo, union } from "./checker-log.ts";
import type { SeenLog, Span, Tally } from "./checker-log.ts";
import type { EventRecord, GapRecord, NumberedData, OpenRecord } from "./history.ts";
import { hashOf } from "./history.ts";

const TOPICS_NAMED_MAX = 16;

/** Reasons that void the place as a whole: what follows is a new stretch. */
const LOST = new Set(["epoch", "malformed", "future"]);
/** Reasons that name the topics of the very events that were left out; another names patterns too. */
const SKIPPED = new Set(["conflated", "dropped"]);

/** Where a chain reports what is wrong, and what it has seen of the log. */
export interface ChainContext {
  /** Nothing was trimmed or forgotten in this run. */
  readonly isAllRetained: boolean;
  fail(rule: number, what: string): void;
  log(epoch: string, topic: string): SeenLog;
  /** Numbers of a publisher between two that were seen in a row; illegal if one of them was appended. */
  skip(publisher: string, after: number, before: number, where: string): void;
  see(id: string, topic: string, body: NumberedData): void;
}

/** An unbroken stretch of delivery: everything of the chain's topics in (`from`, `to`], but for the gaps told. */
interface Stretch {
  readonly epoch: string;
  readonly from: number;
  to: number;
  readonly seen: Map<string, Tally>;
  /** Told lost; by topic, or "" for all of them. */
  readonly gaps: Map<string, Span[]>;
  /** It began at the oldest event of several topics: what each had lost before its first is not told. */
  readonly hasRaggedStart: boolean;
  readonly firsts: Map<string, number>;
}

/** One reader, over all its connections. */
export class Chain {
  readonly #name: string;
  readonly #context: ChainContext;
  #topics: ReadonlySet<string> = new Set();
  #patterns: readonly Pattern[] = [];
  #isFromOldest = false;
  readonly #stretches: Stretch[] = [];
  #now: Stretch | undefined;
  /** The last id that the reader's parser received. */
  #lastId = "";
  /** A gap said that the old place is void and that up to here not everything follows; the next primer or event begins a stretch. */
  #lostTo: number | undefined;
  readonly #publishers = new Map<string, { n: number; hash: number }>();

  constructor(name: string, context: ChainContext) {
    this.#name = name;
    this.#context = context;
  }

  open(record: OpenRecord): void {
    const patterns = record.topics.filter((text) => Pattern.isPattern(text));
    this.#topics = new Set(record.topics.filter((text) => !Pattern.isPattern(text)));
    this.#patterns = patterns.map((text) => Pattern.parse(text));
    const isResume = this.#lastId !== "" && record.cursor === this.#lastId;
    if (isResume) return;
    this.#forget();
    const { cursor, topics } = record;
    const isWord = cursor === "earliest" || cursor?.startsWith("last:") === true;
    this.#isFromOldest = isWord && (topics.length > 1 || this.#patterns.length > 0);
    // Whoever names a place is owed what follows it, wherever the primer then says that it begins.
    const place = parseCursor(record.cursor ?? "");
    if (place !== undefined) this.#begin(place.epoch, place.seq);
  }

  primer(id: string): void {
    const place = this.#parse(id);
    if (place === undefined) return;
    this.#lastId = id;
    const stretch = this.#now;
    if (stretch === undefined) return this.#begin(place.epoch, place.seq);
    if (stretch.epoch !== place.epoch)
      return this.#fail(2, `primer ${id} in another epoch, no gap`);
    if (place.seq < stretch.to) this.#fail(2, `primer ${id} lies before ${stretch.to}`);
    // Claims that nothing is missing up to here; the verdict holds it to that.
    stretch.to = Math.max(stretch.to, place.seq);
  }

  gap({ gap }: GapRecord): void {
    const to = this.#parse(gap.to);
    if (to === undefined) return;
    if (LOST.has(gap.reason)) {
      this.#forget();
      this.#lostTo = to.seq;
      return;
    }
    const from = gap.from === null ? undefined : this.#parse(gap.from);
    if (from === undefined) return this.#fail(7, `gap ${gap.reason} does not say from where`);
    if (this.#now === undefined) this.#begin(from.epoch, from.seq);
    const stretch = this.#now as Stretch;
    if (stretch.epoch !== to.epoch) return this.#fail(7, `gap to ${gap.to} in another epoch`);
    const isNamed =
      gap.topics !== undefined &&
      gap.topics.length <= TOPICS_NAMED_MAX &&
      (this.#patterns.length === 0 || SKIPPED.has(gap.reason));
    for (const topic of isNamed ? (gap.topics ?? []) : [""]) {
      const spans = stretch.gaps.get(topic) ?? [];
      spans.push({ from: from.seq, to: to.seq });
      stretch.gaps.set(topic, spans);
    }
  }

  event(record: EventRecord): void {
    const { topic, id } = record;
    const place = this.#parse(id);
    if (place === undefined) return;
    if (!this.#follows(topic))
      this.#fail(8, `event ${id} is of ${topic}, which it does not follow`);
    if (this.#now === undefined) this.#begin(place.epoch, place.seq - 1);
    const stretch = this.#now as Stretch;
    this.#lastId = id;
    if (place.epoch !== stretch.epoch) {
      return this.#fail(2, `event ${id} is of another epoch than ${stretch.epoch}, without a gap`);
    }
    if (place.seq <= stretch.to) this.#fail(2, `event ${id} comes at or before ${stretch.to}`);
    stretch.to = Math.max(stretch.to, place.seq);
    if (!stretch.firsts.has(topic)) stretch.firsts.set(topic, place.seq);
    const hash = hashOf(`${topic}\n${record.data}`);
    if (!this.#context.log(place.epoch, topic).see(place.seq, hash)) {
      this.#fail(1, `event ${id} has another payload than elsewhere`);
    }
    if (!isIn(stretch, topic, place.seq)) addTo(tallyOf(stretch, topic), hash);
    if (record.isEnd !== true) this.#number(record, place.seq, stretch);
  }

  /** The reader is at the head: what follows its place in the log was lost. */
  settle(): void {
    if (this.#now !== undefined) this.#now.to = Infinity;
  }

  /** Compares every stretch with the log, which is complete now. */
  judge(logs: ReadonlyMap<string, ReadonlyMap<string, SeenLog>>): void {
    for (const stretch of this.#stretches) {
      for (const [topic, log] of logs.get(stretch.epoch) ?? []) {
        if (this.#follows(topic)) this.#compare(stretch, topic, log);
      }
    }
  }

  #compare(stretch: Stretch, topic: string, log: SeenLog): void {
    const { to } = stretch;
    const from = stretch.hasRaggedStart ? (stretch.firsts.get(topic) ?? to + 1) - 1 : stretch.from;
    const expected = log.tally(from, to);
    for (const gap of union([
      ...(stretch.gaps.get("") ?? []),
      ...(stretch.gaps.get(topic) ?? []),
    ])) {
      const lost = log.tally(Math.max(gap.from, from), Math.min(gap.to, to));
      expected.count -= lost.count;
      expected.sum = (expected.sum - lost.sum + 2 ** 52) % 2 ** 52;
    }
    const seen = stretch.seen.get(topic) ?? { count: 0, sum: 0 };
    const where = `of ${topic} in (${from}, ${to}]`;
    if (seen.count < expected.count) {
      this.#fail(2, `lost ${expected.count - seen.count} of ${expected.count} events ${where}`);
    } else if (seen.count > expected.count) {
      this.#fail(4, `has ${seen.count - expected.count} events too many ${where}`);
    } else if (seen.sum !== expected.sum) {
      this.#fail(7, `has other events than the log ${where}`);
    }
  }

  #number({ data, topic, id }: EventRecord, seq: number, stretch: Stretch): void {
    const body = parse(data);
    if (body === undefined) return this.#fail(8, `event ${id} was published by nobody we know`);
    this.#context.see(id, topic, body);
    const known = this.#publishers.get(body.p);
    if (known !== undefined) {
      const isNext = body.n === known.n + 1;
      if (body.n <= known.n) this.#fail(2, `event ${id} is ${body.p} ${body.n} after ${known.n}`);
      else if (isNext && body.h !== known.hash)
        this.#fail(1, `event ${id} follows another payload`);
      else if (!isNext && !isIn(stretch, topic, seq) && !wasGap(stretch, topic)) {
        this.#context.skip(body.p, known.n, body.n, `${this.#name} before ${id}`);
      }
    }
    this.#publishers.set(body.p, { n: body.n, hash: hashOf(data) });
  }

  #follows(topic: string): boolean {
    return this.#topics.has(topic) || this.#patterns.some((pattern) => pattern.matches(topic));
  }

  #begin(epoch: string, seq: number): void {
    const gaps = new Map<string, Span[]>();
    if (this.#lostTo !== undefined) gaps.set("", [{ from: 0, to: this.#lostTo }]);
    const hasRaggedStart =
      this.#isFromOldest && !this.#context.isAllRetained && this.#lostTo === undefined;
    this.#now = {
      epoch,
      from: seq,
      to: seq,
      seen: new Map(),
      gaps,
      hasRaggedStart,
      firsts: new Map(),
    };
    this.#stretches.push(this.#now);
  }

  #forget(): void {
    this.#now = undefined;
    this.#lostTo = undefined;
    this.#publishers.clear();
  }

  #parse(id: string): { epoch: string; seq: number } | undefined {
    const cursor = parseCursor(id);
    if (cursor === undefined) this.#fail(1, `${JSON.stringify(id)} is no cursor`);
    return cursor;
  }

  #fail(rule: number, what: string): void {
    this.#context.fail(rule, `${this.#name}: ${what}`);
  }
}

function tallyOf(stretch: Stretch, topic: string): Tally {
  let tally = stretch.seen.get(topic);
  if (tally === undefined) stretch.seen.set(topic, (tally = { count: 0, sum: 0 }));
  return tally;
}

/** Inside a gap that was told, so that it may come or not. */
function isIn({ gaps }: Stretch, topic: string, seq: number): boolean {
  if (gaps.size === 0) return false;
  const spans = [...(gaps.get("") ?? []), ...(gaps.get(topic) ?? [])];
  return spans.some(({ from, to }) => seq > from && seq <= to);
}

/** The log is the judge of what a gap cost; the publisher's numbers only tell that something went. */
function wasGap({ gaps }: Stretch, topic: string): boolean {
  return gaps.has("") || gaps.has(topic);
}

function parse(data: string): NumberedData | undefined {
  try {
    const body = JSON.parse(data) as Partial<NumberedData>;
    const isNumbered = typeof body.p === "string" && Number.isSafeInteger(body.n);
    return isNumbered ? (body as NumberedData) : undefined;
  } catch {
    return undefined;
  }
}
