import { encodeFields } from "../wire/frame.ts";
import type {
  Attachment,
  Broker,
  EncodedEvent,
  ReadFrom,
  ReadResult,
  Receipt,
} from "../core/broker.ts";
import type { Publication } from "../core/publication.ts";
import { selectTopics } from "../core/selection.ts";
import type { Lane } from "../core/settings.ts";
import { expect, expectEqual, expectRefusal } from "./conformance-case.ts";
import type { ConformanceCase } from "./conformance-case.ts";

export interface BrokerConformanceOptions {
  /** A broker with an empty log and default settings, for one case; the case closes it. */
  create(): Promise<Broker> | Broker;
  /**
   * Waits for `promise`; a broker in virtual time moves its clock here. Without `promise`, until
   * every entry that was appended so far has reached the tails. @defaultValue 200 ms of real time
   */
  settle?<T>(promise?: Promise<T>): Promise<T | undefined>;
}

/** The promises of `core/broker.ts`, as cases for any test runner. */
export function brokerConformance(options: BrokerConformanceOptions): ConformanceCase[] {
  return CASES.map(([name, run]) => ({
    name,
    run: async () => {
      const bench = new Bench(await options.create(), options);
      try {
        await run(bench);
      } finally {
        await bench.broker.close();
      }
    },
  }));
}

/** A broker under test, and words for what the cases do with it. */
class Bench {
  readonly broker: Broker;
  readonly #options: BrokerConformanceOptions;

  constructor(broker: Broker, options: BrokerConformanceOptions) {
    this.broker = broker;
    this.#options = options;
  }

  async wait<T>(promise: Promise<T>): Promise<T> {
    if (this.#options.settle === undefined) return promise;
    return (await this.#options.settle(promise)) as T;
  }

  async tailsSettle(): Promise<void> {
    if (this.#options.settle !== undefined) return void (await this.#options.settle());
    await new Promise((resolve) => {
      setTimeout(resolve, 200);
    });
  }

  publish(topic: string, texts: readonly string[], key?: string, tenant = "t"): Promise<Receipt> {
    const events: EncodedEvent[] = texts.map((text) => ({ fields: encodeFields(undefined, text) }));
    const idempotency = key === undefined ? undefined : { key, fingerprint: texts.join("\n") };
    return this.wait(this.broker.publish({ tenant, topic, events, idempotency }));
  }

  read(topics: readonly string[], from: ReadFrom, more: Partial<Limits> = {}): Promise<ReadResult> {
    const { tenant = "t", upTo = Number.MAX_SAFE_INTEGER, bytesMax = 1_000_000 } = more;
    const selection = selectTopics(topics);
    return this.wait(this.broker.read({ tenant, selection, from, upTo, bytesMax }));
  }

  async attach(tenant = "t"): Promise<Attachment & { readonly seen: Publication[] }> {
    const seen: Publication[] = [];
    const tail = {
      onAppended: (publication: Publication) => void seen.push(publication),
      onEpoch: () => {
        throw new Error("not conforming: a new epoch without cause");
      },
    };
    const attachment = await this.wait(this.broker.attach(tenant, tail));
    const { epoch, head } = attachment;
    return { epoch, head, detach: () => attachment.detach(), seen };
  }
}

interface Limits {
  readonly tenant: string;
  readonly upTo: number;
  readonly bytesMax: number;
}

const seqs = (publications: readonly Publication[]): number[] => publications.map(({ seq }) => seq);

function frameOf(publication: Publication): string {
  const bytes = Buffer.alloc(publication.bytes);
  publication.copyTo(bytes, 0, "plain");
  return bytes.toString();
}

const CASES: readonly (readonly [string, (bench: Bench) => Promise<void>])[] = [
  [
    "law 2: numbers rise strictly within a tenant, over all its topics and inside a batch",
    async (bench) => {
      const a = await bench.publish("a", ["1", "2", "3"]);
      const b = await bench.publish("b", ["4"]);
      const { publications } = await bench.read(["a", "b"], "earliest");
      expectEqual(publications.length, 4, "every event is read");
      const numbers = seqs(publications);
      expect(
        numbers.every((seq, index) => index === 0 || seq > (numbers[index - 1] as number)),
        "numbers rise",
      );
      expectEqual([a.count, a.first.seq, a.last.seq], [3, numbers[0], numbers[2]], "the receipt");
      expectEqual([b.first, b.last], [b.last, b.first], "a single event has one place");
    },
  ],
  [
    "a frame carries the fields as published and the id of its place",
    async (bench) => {
      const { first } = await bench.publish("a", ["hello\nworld"]);
      const { publications } = await bench.read(["a"], "earliest");
      const frame = `data: hello\ndata: world\nid: ${first.epoch}.${first.seq}\n\n`;
      expectEqual(publications.map(frameOf), [frame], "the frame");
    },
  ],
  [
    "law 3: an acknowledged event is in the next read",
    async (bench) => {
      for (let round = 0; round < 20; round += 1) {
        const { last } = await bench.publish("a", [`${round}`]);
        const { publications, head } = await bench.read(["a"], last.seq - 1);
        expect(seqs(publications).includes(last.seq) && head >= last.seq, `event ${last.seq}`);
      }
    },
  ],
  [
    "every entry above the attachment's head reaches the tail, once, in order, with its predecessor",
    async (bench) => {
      await bench.publish("a", ["before"]);
      const { head, seen } = await bench.attach();
      const receipts = [await bench.publish("a", ["1", "2"]), await bench.publish("b", ["3"])];
      receipts.push(await bench.publish("a", ["4"]));
      await bench.tailsSettle();
      const { publications } = await bench.read(["a", "b"], head);
      const above = seen.filter(({ seq }) => seq > head);
      expectEqual(seqs(above), seqs(publications), "the tail is the log");
      expectEqual(
        above.at(-1)?.previous,
        receipts[0]?.last.seq,
        "the event before it in its topic",
      );
    },
  ],
  [
    "nothing reaches a tail that was detached, and nothing of another tenant",
    async (bench) => {
      const other = await bench.attach("other");
      const mine = await bench.attach();
      mine.detach();
      await bench.publish("a", ["1"]);
      await bench.tailsSettle();
      expectEqual([mine.seen.length, other.seen.length], [0, 0], "entries");
    },
  ],
  [
    "tenants have epochs of their own",
    async (bench) => {
      const mine = await bench.publish("a", ["1"], undefined, "t");
      const other = await bench.publish("a", ["1"], undefined, "other");
      expect(mine.first.epoch !== other.first.epoch, "epochs differ");
      const { publications } = await bench.read(["a"], "earliest", { tenant: "other" });
      expectEqual(publications.length, 1, "events of the other tenant");
    },
  ],
  [
    "topics are read as one log, in order, from any place, up to any place",
    async (bench) => {
      for (const topic of ["a", "b/x", "c", "a", "b/y", "b/x"]) await bench.publish(topic, [topic]);
      const all = await bench.read(["**"], "earliest");
      expectEqual(all.publications.map(({ topic }) => topic).join(), "a,b/x,c,a,b/y,b/x", "topics");
      const [, second, , , fifth] = seqs(all.publications) as [number, number, 0, 0, number];
      const part = await bench.read(["a", "b/*"], second, { upTo: fifth });
      expectEqual(part.publications.map(({ topic }) => topic).join(), "a,b/y", "topics of a part");
      expectEqual([part.after, part.through], [second, fifth], "what the part covers");
    },
  ],
  [
    "a read ends with the event that reaches its bytes, and says how far it came",
    async (bench) => {
      await bench.publish("a", ["1", "2", "3"]);
      const all = await bench.read(["a"], "earliest");
      const [first, second] = all.publications as [Publication, Publication];
      const one = await bench.read(["a"], "earliest", { bytesMax: 1 });
      expectEqual(seqs(one.publications), [first.seq], "at least one event");
      expectEqual(one.through, first.seq, "through");
      const two = await bench.read(["a"], "earliest", { bytesMax: first.bytes + 1 });
      expectEqual(two.through, second.seq, "through the event that reaches it");
    },
  ],
  [
    "earliest, latest and last:n begin where they say",
    async (bench) => {
      const { first, last } = await bench.publish("a", ["1", "2", "3"]);
      await bench.publish("b", ["4"]);
      expectEqual((await bench.read(["a"], "latest")).publications.length, 0, "latest has nothing");
      const two = await bench.read(["a"], { last: 2 });
      expectEqual(seqs(two.publications).at(-1), last.seq, "last:2 ends at the newest");
      expectEqual(two.publications.length, 2, "last:2");
      expectEqual((await bench.read(["a"], { last: 9 })).publications.length, 3, "last:9 of three");
      expectEqual((await bench.read(["a"], { last: 0 })).publications.length, 0, "last:0");
      const earliest = await bench.read(["a"], "earliest");
      expectEqual(seqs(earliest.publications)[0], first.seq, "earliest");
    },
  ],
  [
    "what was trimmed raises the floor, and the floor is told with its topic",
    async (bench) => {
      await bench.wait(bench.broker.declare("t", "a", { retention: { countMax: 2 } }));
      await bench.publish("b", ["0"]);
      const { first } = await bench.publish("a", ["1", "2", "3", "4"]);
      const result = await bench.read(["a", "b"], 0);
      expectEqual(result.floor, first.seq + 1, "the floor is the highest that was dropped");
      expectEqual(result.floorMin, 0, "b has lost nothing");
      expectEqual(result.trimmed, [{ topic: "a", floor: result.floor }], "the topic that has");
      expectEqual(result.publications.length, 3, "what is left of both");
    },
  ],
  [
    "law 14: an end is an entry, is given once, is told to readers, and refuses what follows",
    async (bench) => {
      await bench.publish("a", ["1"]);
      const end = await bench.wait(bench.broker.end("t", "a", "done"));
      const again = await bench.wait(bench.broker.end("t", "a", "again"));
      expectEqual([again.last, again.isDuplicate], [end.last, true], "the existing end");
      await expectRefusal(bench.publish("a", ["2"]), "topic_ended");
      const { publications, endedAt } = await bench.read(["a"], "earliest");
      expectEqual(publications.map(({ kind }) => kind).join(), "event,end", "the log");
      expectEqual(endedAt, end.last.seq, "endedAt");
      expectEqual((await bench.read(["a", "b"], 0)).endedAt, undefined, "b has not ended");
      expectEqual((await bench.read(["*"], 0)).endedAt, undefined, "a pattern never ends");
    },
  ],
  [
    "a read names the lowest lane of its topics, as their publications do from then on",
    async (bench) => {
      const lanes = { h: "high", b: "bulk" } as const;
      for (const [topic, lane] of Object.entries(lanes)) {
        await bench.wait(bench.broker.declare("t", topic, { lane }));
        await bench.publish(topic, ["1"]);
      }
      const expected: readonly (readonly [string[], Lane])[] = [
        [["h"], "high"],
        [["h", "b"], "bulk"],
        [["h", "unknown"], "normal"],
        [["unknown"], "normal"],
        [["*"], "bulk"],
        [["none/*"], "normal"],
        [["none/*", "h"], "high"],
      ];
      for (const [topics, lane] of expected) {
        expectEqual((await bench.read(topics, 0)).lane, lane, `the lane of ${topics.join()}`);
      }
      await bench.wait(bench.broker.declare("t", "b", { lane: "high" }));
      await bench.publish("b", ["2"]);
      const { lane, publications } = await bench.read(["b"], 0);
      expectEqual([lane, publications.at(-1)?.settings.lane], ["high", "high"], "the new lane");
    },
  ],
  [
    "declaring a topic that has ended reopens it",
    async (bench) => {
      await bench.wait(bench.broker.end("t", "a", "done"));
      await bench.wait(bench.broker.declare("t", "a", {}));
      await bench.publish("a", ["1"]);
      const { publications, endedAt } = await bench.read(["a"], "earliest");
      expectEqual(publications.map(({ kind }) => kind).join(), "end,event", "the log");
      expectEqual(endedAt, undefined, "endedAt");
    },
  ],
  [
    "an idempotency key is appended once, and refuses another event",
    async (bench) => {
      const first = await bench.publish("a", ["1"], "k");
      const again = await bench.publish("a", ["1"], "k");
      expectEqual([again.first, again.isDuplicate], [first.first, true], "the earlier receipt");
      await expectRefusal(bench.publish("a", ["2"], "k"), "idempotency_conflict");
      const other = await bench.publish("b", ["1"], "k");
      expectEqual(other.isDuplicate, false, "the key of another topic is another key");
      expectEqual(
        (await bench.read(["**"], "earliest")).publications.length,
        2,
        "events in the log",
      );
    },
  ],
  [
    "a closed broker refuses everything",
    async (bench) => {
      await bench.broker.close();
      await expectRefusal(bench.publish("a", ["1"]), "broker_unavailable");
      await expectRefusal(bench.read(["a"], 0), "broker_unavailable");
      await expectRefusal(bench.attach(), "broker_unavailable");
      await expectRefusal(bench.wait(bench.broker.end("t", "a", "")), "broker_unavailable");
    },
  ],
];
