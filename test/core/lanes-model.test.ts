import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isBelow } from "../../src/core/lanes.ts";
import type { Opening } from "../../src/core/opening.ts";
import { selectTopics } from "../../src/core/selection.ts";
import { LANES } from "../../src/core/settings.ts";
import type { Lane } from "../../src/core/settings.ts";
import { Bench } from "./bench.ts";
import type { Client } from "./bench.ts";

const TOPICS = ["a", "b", "c/x", "c/y", "d"];
const SELECTIONS = [["a"], ["b"], ["a", "b"], ["c/*"], ["c/x", "a"], ["**"], ["d", "c/**"], ["*"]];

interface Step {
  readonly act:
    | "publish"
    | "put"
    | "subscribe"
    | "attach"
    | "turn"
    | "rest"
    | "leave"
    | "block"
    | "release";
  readonly topic: string;
  readonly lane: Lane;
  readonly topics: string[];
  readonly start: string;
  /** How many events, or which client. */
  readonly number: number;
}

const stepArbitrary: fc.Arbitrary<Step> = fc.record({
  // As often as it stands here.
  act: fc.constantFrom(
    ...(["publish", "publish", "publish", "put", "subscribe", "attach", "turn", "turn"] as const),
    ...(["turn", "rest", "leave", "block", "release"] as const),
  ),
  topic: fc.constantFrom(...TOPICS),
  lane: fc.constantFrom(...LANES),
  topics: fc.constantFrom(...SELECTIONS),
  start: fc.constantFrom("earliest", "latest", "last:2"),
  number: fc.integer({ min: 1, max: 5 }),
});
const schedule = fc.array(stepArbitrary, { maxLength: 80, size: "max" });

/** Topics that change their lanes, and who follows them. */
class LaneWorld {
  readonly #bench: Bench;
  readonly #log: { readonly topic: string; readonly seq: number }[] = [];
  readonly #lanes = new Map<string, Lane>();
  readonly #openings: { readonly topics: string[]; readonly opening: Promise<Opening> }[] = [];
  readonly #clients: { readonly topics: string[]; readonly client: Client }[] = [];

  constructor(writesMax: number) {
    this.#bench = new Bench({ slices: { writesMax } });
  }

  async take({ act, topic, lane, topics, start, number }: Step): Promise<void> {
    const { runtime, hub } = this.#bench;
    if (act === "publish") this.#publish(topic, number);
    else if (act === "turn") await runtime.runTurn();
    else if (act === "rest") await runtime.runTurns();
    else if (act === "attach") await this.#attach();
    else if (act === "put") {
      await hub.declare("t", topic, { lane });
      this.#lanes.set(topic, lane);
    } else if (act === "subscribe") {
      this.#openings.push({ topics, opening: this.#bench.subscribe(topics, { start }) });
    } else {
      const connection = this.#clients[number]?.client.connection;
      if (act === "leave") connection?.cut();
      else if (act === "block") connection?.block();
      else connection?.release();
    }
  }

  async check(): Promise<void> {
    const { runtime } = this.#bench;
    while (this.#openings.length > 0) await this.#attach();
    // The last word of every topic: nobody may ride above its lowest lane after that.
    for (const topic of TOPICS) this.#publish(topic, 1);
    for (const { client } of this.#clients) client.connection.release();
    await runtime.runTurns();
    for (const { topics, client } of this.#clients) {
      const { names, patterns } = selectTopics(topics);
      const isMine = (topic: string): boolean =>
        names.includes(topic) || patterns.some((pattern) => pattern.matches(topic));
      const from = Number(client.blocks[1]?.split(" ")[1]);
      const mine = this.#log.filter(({ topic, seq }) => seq > from && isMine(topic));
      const seqs = mine.map(({ seq }) => seq);
      expect(client.gaps).toEqual([]);
      if (!client.connection.isOpen) {
        expect(client.seqs).toEqual(seqs.slice(0, client.seqs.length));
        continue;
      }
      expect(client.seqs).toEqual(seqs);
      expect(client.subscriber.state).toBe("live");
      for (const topic of TOPICS.filter(isMine)) {
        expect(isBelow(this.#lanes.get(topic) ?? "normal", client.subscriber.lane)).toBe(false);
      }
      client.connection.cut();
    }
    await runtime.runTurns();
    this.#bench.hub.measure();
    expect(this.#bench.hub.subscribersNow).toBe(0);
    expect(this.#bench.hub.metrics.plain.sluice_routes).toBe(0);
    await this.#bench.hub.close();
  }

  #publish(topic: string, count: number): void {
    for (let each = 0; each < count; each += 1) {
      this.#log.push({ topic, seq: this.#log.length + 1 });
      void this.#bench.publish(topic, `${this.#log.length}`);
    }
  }

  async #attach(): Promise<void> {
    const next = this.#openings.shift();
    if (next === undefined) return;
    const client = this.#bench.attach(await this.#bench.runtime.resolve(next.opening));
    this.#clients.push({ topics: next.topics, client });
  }
}

describe("whatever is published, joined, left and moved between lanes", () => {
  test("law 5: every subscriber gets exactly its topics' events, in order", async () => {
    await fc.assert(
      fc.asyncProperty(schedule, fc.integer({ min: 1, max: 3 }), async (steps, writesMax) => {
        const world = new LaneWorld(writesMax);
        for (const step of steps) await world.take(step);
        await world.check();
      }),
      { numRuns: 400 },
    );
  });
});
