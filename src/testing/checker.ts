import { parseCursor } from "../wire/cursor.ts";
import { Chain } from "./checker-chain.ts";
import { SeenLog } from "./checker-log.ts";
import type { HistoryRecord, NumberedData, PublishRecord } from "./history.ts";

/**
 * The checker: from what publishers and readers recorded, whether anything was lost, doubled, put out
 * of order or made up. It trusts no order of the gateway's: publishers put
 * `{"p": publisher, "n": counter from 1, "h": hash of its event before}` into their data (`Numbering`
 * does), and each publisher publishes to one topic.
 *
 * Rules (a failure carries the number):
 * 1. One id, one payload, and one payload, one id.
 * 2. In a chain of connections ids rise and no event of its topics is missing, but inside gaps that were told.
 * 3. Each acknowledged event is in the log that readers saw: have a reader replay it in the end, and settle.
 * 4. No event twice.
 * 5. Nothing of a refused publish is ever seen.
 * 6. What was acknowledged before another publish began comes before it.
 * 7. All chains are stretches of one log for each topic and epoch.
 * 8. Nothing foreign.
 * 9. A `settled` reader has everything that the log has.
 *
 * Time and memory are linear in what was *published*; a delivery costs one update of a hash.
 */
export interface Verdict {
  readonly isSound: boolean;
  /** `rule <n>: ...`, at most 100. */
  readonly failures: readonly string[];
  readonly published: number;
  readonly delivered: number;
  readonly gapsTold: number;
}

const FAILURES_MAX = 100;

export interface CheckOptions {
  /**
   * Nothing was trimmed or forgotten in this run. Whoever starts several topics at the oldest event is
   * not told what each of them had lost by then, so only then is the start held to the log. @defaultValue false
   */
  readonly isAllRetained?: boolean;
}

/** What a finished run was worth. */
export function check(history: Iterable<HistoryRecord>, options?: CheckOptions): Verdict {
  const checker = new Checker(options);
  for (const record of history) checker.add(record);
  return checker.verdict();
}

/** `check` for records that are too many to keep: add each as it comes. */
export class Checker {
  readonly #isAllRetained: boolean;
  readonly #failures: string[] = [];
  readonly #chains = new Map<string, Chain>();
  readonly #logs = new Map<string, Map<string, SeenLog>>();
  readonly #publishers = new Map<string, Publisher>();
  readonly #skips: Skip[] = [];
  readonly #acknowledged: PublishRecord[] = [];
  #published = 0;
  #delivered = 0;
  #gapsTold = 0;

  constructor(options: CheckOptions = {}) {
    this.#isAllRetained = options.isAllRetained ?? false;
  }

  add(record: HistoryRecord): void {
    if (record.type === "publish") return this.#publish(record);
    if (record.type === "ended") return;
    const chain = this.#chain(record.reader);
    switch (record.type) {
      case "open":
        return chain.open(record);
      case "primer":
        return chain.primer(record.id);
      case "gap":
        this.#gapsTold += 1;
        return chain.gap(record);
      case "event":
        this.#delivered += 1;
        return chain.event(record);
      case "settled":
        return chain.settle();
    }
  }

  /** Call it once, when nothing more is added. */
  verdict(): Verdict {
    for (const publisher of this.#publishers.values()) this.#seeAcknowledged(publisher);
    for (const topics of this.#logs.values()) for (const log of topics.values()) log.close();
    for (const chain of this.#chains.values()) chain.judge(this.#logs);
    for (const skip of this.#skips) this.#judgeSkip(skip);
    for (const [name, publisher] of this.#publishers) this.#judgePublisher(name, publisher);
    this.#judgeOrder();
    return {
      isSound: this.#failures.length === 0,
      failures: this.#failures,
      published: this.#published,
      delivered: this.#delivered,
      gapsTold: this.#gapsTold,
    };
  }

  #publish(record: PublishRecord): void {
    const publisher = this.#publisher(record.publisher);
    publisher.topic ??= record.topic;
    for (let n = record.from; n <= record.to; n += 1) publisher.outcomes[n] = record.outcome;
    if (record.outcome !== "ok") return;
    this.#published += record.to - record.from + 1;
    if (record.first === undefined || record.last === undefined) return;
    this.#acknowledged.push(record);
    publisher.acknowledge(record.from, record.first);
    publisher.acknowledge(record.to, record.last);
  }

  /** What was acknowledged is in the log even if nobody saw it; whoever read past it will miss it. */
  #seeAcknowledged({ topic, promised, places }: Publisher): void {
    for (const [n, id] of promised) {
      const place = places[n] === undefined ? parseCursor(id) : undefined;
      if (place !== undefined && topic !== undefined) {
        this.#log(place.epoch, topic).see(place.seq, 0);
      }
    }
  }

  #judgeSkip({ publisher, after, before, where }: Skip): void {
    const { outcomes, places } = this.#publisher(publisher);
    for (let n = after + 1; n < before; n += 1) {
      if (outcomes[n] !== "ok" && places[n] === undefined) continue;
      return this.#fail(2, `${where}: ${publisher} ${n} was appended and is missing`);
    }
  }

  #judgePublisher(name: string, publisher: Publisher): void {
    if (publisher.outcomes.length === 0) {
      return this.#fail(8, `${name}, of ${publisher.topic}, is no publisher of ours`);
    }
    let [epoch, seq] = ["", 0];
    for (const [n, id] of publisher.places.entries()) {
      if (id === undefined) continue;
      if (publisher.outcomes[n] === "failed") this.#fail(5, `${name} ${n} was refused, yet seen`);
      if (publisher.outcomes[n] === undefined) this.#fail(8, `${name} ${n} was never published`);
      const promised = publisher.promised.get(n);
      if (promised !== undefined && promised !== id) {
        this.#fail(1, `${name} ${n} was acknowledged as ${promised} and seen as ${id}`);
      }
      const place = parseCursor(id);
      if (place === undefined) continue;
      if (place.epoch === epoch && place.seq <= seq) this.#fail(6, `${name} ${n} is out of order`);
      ({ epoch, seq } = place);
    }
  }

  #judgeOrder(): void {
    const byEnd = this.#acknowledged.toSorted((a, b) => a.endedAt - b.endedAt);
    const newest = new Map<string, number>();
    let finished = 0;
    for (const record of this.#acknowledged.toSorted((a, b) => a.startedAt - b.startedAt)) {
      for (let done = byEnd[finished]; done !== undefined; done = byEnd[finished]) {
        if (done.endedAt >= record.startedAt) break;
        const last = parseCursor(done.last ?? "");
        if (last !== undefined) {
          newest.set(last.epoch, Math.max(newest.get(last.epoch) ?? 0, last.seq));
        }
        finished += 1;
      }
      const first = parseCursor(record.first ?? "");
      if (first !== undefined && first.seq <= (newest.get(first.epoch) ?? 0)) {
        this.#fail(6, `${record.publisher} ${record.from} comes before what was there before it`);
      }
    }
  }

  #chain(name: string): Chain {
    let chain = this.#chains.get(name);
    if (chain === undefined) {
      chain = new Chain(name, {
        isAllRetained: this.#isAllRetained,
        fail: (rule, what) => this.#fail(rule, what),
        log: (epoch, topic) => this.#log(epoch, topic),
        skip: (publisher, after, before, where) =>
          void this.#skips.push({ publisher, after, before, where }),
        see: (id, topic, body) => this.#see(id, topic, body),
      });
      this.#chains.set(name, chain);
    }
    return chain;
  }

  #log(epoch: string, topic: string): SeenLog {
    let topics = this.#logs.get(epoch);
    if (topics === undefined) this.#logs.set(epoch, (topics = new Map()));
    let log = topics.get(topic);
    if (log === undefined) topics.set(topic, (log = new SeenLog()));
    return log;
  }

  #see(id: string, topic: string, body: NumberedData): void {
    const publisher = this.#publisher(body.p);
    const known = publisher.places[body.n];
    if (known === undefined) publisher.places[body.n] = id;
    else if (known !== id) this.#fail(1, `${body.p} ${body.n} is both ${known} and ${id}`);
    publisher.topic ??= topic;
    if (publisher.topic !== topic)
      this.#fail(8, `${body.p} publishes to ${publisher.topic}, not ${topic}`);
  }

  #publisher(name: string): Publisher {
    let publisher = this.#publishers.get(name);
    if (publisher === undefined) this.#publishers.set(name, (publisher = new Publisher()));
    return publisher;
  }

  #fail(rule: number, what: string): void {
    if (this.#failures.length < FAILURES_MAX) this.#failures.push(`rule ${rule}: ${what}`);
  }
}

/** Numbers of a publisher that a chain went without, between two that came in a row. */
interface Skip {
  readonly publisher: string;
  readonly after: number;
  readonly before: number;
  readonly where: string;
}

/** By its own numbers: how each attempt went, and under which id it was seen. */
class Publisher {
  topic: string | undefined;
  readonly outcomes: PublishRecord["outcome"][] = [];
  readonly places: (string | undefined)[] = [];
  readonly promised = new Map<number, string>();

  acknowledge(n: number, id: string): void {
    this.promised.set(n, id);
  }
}
