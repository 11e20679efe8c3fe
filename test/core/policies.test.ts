import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Bench, seqOf } from "./bench.ts";
import type { Client } from "./bench.ts";

/** About a hundred of these fill two batches. */
const PAD = "x".repeat(1_500);

async function published(bench: Bench, topic: string, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    await bench.publish(topic, PAD);
    await bench.runtime.runTurns();
  }
}

function dropping(bench: Bench, ...topics: readonly string[]): Promise<void[]> {
  return Promise.all(
    topics.map((topic) => bench.hub.declare("t", topic, { policy: "drop-oldest" })),
  );
}

/** Its events and gaps as one list of places: every place is either delivered or told. */
function told(client: Client, topic?: string): Set<number> {
  const places = new Set<number>();
  for (const { from, to, topics } of client.gaps) {
    if (topic !== undefined && topics !== undefined && !topics.includes(topic)) continue;
    for (let seq = seqOf(from ?? "") + 1; seq <= seqOf(to); seq += 1) places.add(seq);
  }
  return places;
}

describe("on a topic that drops the oldest", () => {
  test("F08 a reader that fell behind gets the newest, behind one gap that tells the rest", async () => {
    const bench = new Bench();
    await dropping(bench, "a");
    const client = await bench.join("a");
    await published(bench, "a", 2);
    client.connection.block();
    await published(bench, "a", 300);
    client.connection.release();
    await bench.runtime.runTurns();
    expect(client.gaps).toHaveLength(1);
    const [gap] = client.gaps;
    expect(gap).toMatchObject({ reason: "dropped", topics: ["a"] });
    const [from, to] = [seqOf(gap?.from ?? ""), seqOf(gap?.to ?? "")];
    // What it was written before it was found behind; then the gap, the place, and the rest.
    expect(from).toBe(3);
    const rest = client.seqs.slice(3);
    expect(client.blocks.slice(5, 7)).toEqual(["gap dropped", `primer ${to}`]);
    expect(rest).toEqual(Array.from({ length: 302 - to }, (_, index) => to + 1 + index));
    expect(rest.length).toBeGreaterThan(0);
    expect(rest.length).toBeLessThan(90);
    expect(bench.hub.metrics.get("sluice_gaps_total", "dropped")).toBe(1);
    // And it is live again.
    await published(bench, "a", 1);
    expect(client.seqs.at(-1)).toBe(303);
    expect(client.subscriber.state).toBe("live");
  });

  test("F10 a reader that keeps up gets everything, beside one that does not", async () => {
    const bench = new Bench();
    await dropping(bench, "a");
    const [slow, fast] = [await bench.join("a"), await bench.join("a")];
    slow.connection.block();
    await published(bench, "a", 300);
    expect([fast.seqs.length, fast.gaps]).toEqual([300, []]);
  });

  test("a reader that asks for the past gets all of it, as it was not behind before", async () => {
    const bench = new Bench();
    await dropping(bench, "a");
    await published(bench, "a", 300);
    const late = await bench.join("a", { start: "earliest" });
    late.connection.block();
    await bench.runtime.runTurns();
    await published(bench, "a", 100);
    late.connection.release();
    await bench.runtime.runTurns();
    expect([late.seqs.length, late.gaps]).toEqual([400, []]);
  });

  test("other topics of the connection lose nothing, and the end of a topic is never left out (law 14)", async () => {
    const bench = new Bench();
    await dropping(bench, "a", "c");
    const client = await bench.join(["a", "b", "c"], { form: "enveloped" });
    client.connection.block();
    for (let round = 0; round < 10; round += 1) {
      await published(bench, "a", 40);
      await published(bench, "b", 1);
      if (round === 3) await bench.hub.end("t", "c", "done");
    }
    client.connection.release();
    await bench.runtime.runTurns();
    const ofB = client.events.filter(({ data }) => data.startsWith('{"topic":"b"'));
    expect(ofB).toHaveLength(10);
    expect(client.blocks.some((block) => block.startsWith("end@"))).toBe(true);
    expect(client.gaps.every(({ reason }) => reason === "dropped")).toBe(true);
    expect(client.gaps.flatMap(({ topics }) => topics)).not.toContain("b");
    const seen = new Set([...client.seqs, ...told(client, "a")]);
    expect([...seen].filter((seq) => seq > 0 && seq <= 411)).toHaveLength(411);
    expect(client.seqs).toEqual(client.seqs.toSorted((x, y) => x - y));
  });

  test("a cut while it is skipped loses nothing: the client's place is still before it", async () => {
    const bench = new Bench();
    await dropping(bench, "a");
    const client = await bench.join("a");
    await published(bench, "a", 1);
    client.connection.block();
    await published(bench, "a", 300);
    client.connection.cut("reset", 100);
    const back = await bench.join("a", { start: client.lastEventId });
    await bench.runtime.runTurns();
    expect([back.verdict, back.gaps]).toEqual(["exact", []]);
    expect([...client.seqs, ...back.seqs]).toEqual(
      Array.from({ length: 301 }, (_, index) => index + 1),
    );
  });

  test("a reader gets something now and then also where more is published than it could ever read", async () => {
    const bench = new Bench({ slices: { writesMax: 1 } });
    await dropping(bench, "a");
    const client = await bench.join("a");
    client.connection.block();
    await bench.publish("a", PAD);
    await bench.runtime.runTurns();
    const many = Array.from({ length: 120 }, () => PAD);
    const flood = async (turns: number): Promise<void> => {
      for (let turn = 0; turn < turns; turn += 1) {
        void bench.publish("a", ...many);
        await bench.runtime.runTurn();
      }
    };
    await flood(2);
    client.connection.release();
    await flood(600);
    expect(client.seqs.length).toBeGreaterThan(1);
    await bench.runtime.runTurns();
    expect(client.seqs.at(-1)).toBe(1 + 602 * 120);
    const known = new Set([...client.seqs, ...told(client)]);
    expect(known.size).toBeGreaterThanOrEqual(1 + 602 * 120);
  }, 30_000);

  test("whatever is blocked, published and trimmed: every event is delivered or told, in order", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(
            fc.record({
              do: fc.constant("publish" as const),
              topic: fc.constantFrom("a", "b", "c"),
              count: fc.integer({ min: 1, max: 90 }),
            }),
            fc.record({ do: fc.constantFrom("block" as const, "release" as const) }),
            fc.record({
              do: fc.constant("partly" as const),
              bytes: fc.integer({ min: 1, max: 90_000 }),
            }),
            fc.record({
              do: fc.constant("cut" as const),
              bytes: fc.integer({ min: 0, max: 90_000 }),
            }),
          ),
          { minLength: 4, maxLength: 25 },
        ),
        async (steps) => {
          const bench = new Bench();
          await dropping(bench, "a", "b");
          await bench.hub.declare("t", "b", {
            policy: "drop-oldest",
            retention: { countMax: 100 },
          });
          const topics = ["a", "b", "c"];
          const clients = [await bench.join(topics, { form: "enveloped" })];
          let total = 0;
          for (const step of steps) {
            const { connection, lastEventId } = clients.at(-1)!;
            if (step.do === "publish") {
              await bench.publish(step.topic, ...Array.from({ length: step.count }, () => PAD));
              total += step.count;
              await bench.runtime.runTurns();
            } else if (step.do === "block") connection.block();
            else if (step.do === "release") connection.release();
            else if ("bytes" in step && step.do === "partly") connection.release(step.bytes);
            else if ("bytes" in step) {
              connection.cut("reset", step.bytes);
              await bench.runtime.runTurns();
              const start = clients.at(-1)!.lastEventId;
              expect(start.length).toBeGreaterThanOrEqual(lastEventId.length);
              clients.push(await bench.join(topics, { form: "enveloped", start }));
            }
            await bench.runtime.runTurns();
          }
          clients.at(-1)!.connection.release();
          await bench.runtime.runTurns();
          const seqs = clients.flatMap((client) => client.seqs);
          expect(seqs).toEqual([...new Set(seqs)].sort((x, y) => x - y));
          const known = new Set(seqs);
          for (const client of clients) {
            for (const { from, to } of client.gaps) {
              for (let seq = seqOf(from ?? "") + 1; seq <= seqOf(to); seq += 1) known.add(seq);
            }
            for (const { topics: named } of client.gaps) expect(named).not.toContain("c");
          }
          for (let seq = 1; seq <= total; seq += 1) expect(known.has(seq)).toBe(true);
        },
      ),
      { numRuns: 60 },
    );
  }, 60_000);
});
