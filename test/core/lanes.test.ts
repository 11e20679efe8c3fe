import { describe, expect, test } from "vitest";
import { LANE_SHARES, nextLane } from "../../src/core/lanes.ts";
import type { Opening } from "../../src/core/opening.ts";
import { LANES } from "../../src/core/settings.ts";
import type { Lane } from "../../src/core/settings.ts";
import { FakeConnection } from "../../src/testing/index.ts";
import { Bench, rule, texts } from "./bench.ts";
import type { Client } from "./bench.ts";

const KIB = 1024;
const RULES = LANES.map((lane) => rule(`${lane}/**`, { lane }));

describe("lanes", () => {
  test("a high event is the next thing written to each of its subscribers while bulk has a backlog of many slices", async () => {
    const bench = new Bench({ slices: { writesMax: 4 }, memory: { rules: RULES } });
    const order: string[] = [];
    const join = (topic: string): Promise<Client> =>
      bench.join(topic, { onBytes: () => void order.push(topic) });
    // A pattern that matches nothing yet rides in the normal lane.
    await bench.publish("bulk/a", "0");
    const bulk = await many(40, () => join("bulk/a"));
    const late = await bench.join("bulk/**", { start: "earliest" });
    const normal = await many(2, () => join("normal"));
    const high = await many(3, () => join("high/a"));
    // With the first event of a topic that they named they read the log, which says where they ride.
    await bench.publish("normal", "0");
    await bench.publish("high/a", "0");
    await bench.runtime.runTurns();
    for (const text of texts(200)) await bench.publish("bulk/a", text.padEnd(2 * KIB, "."));
    late.connection.block();
    await bench.runtime.runTurn();
    for (const round of texts(10)) {
      await bench.publish("normal", round);
      await bench.publish("high/a", round);
      order.length = 0;
      await bench.runtime.runTurn();
      expect(order).toEqual(["high/a", "high/a", "high/a", "normal"]);
      await bench.runtime.runTurn();
      expect(order.slice(4)).toEqual(["normal", "bulk/a", "bulk/a", "bulk/a"]);
      expect(high.map(({ data }) => data.at(-1))).toEqual([round, round, round]);
    }
    const { plain } = bench.hub.metrics;
    expect(plain.sluice_flush_slices_total).toBeGreaterThan(20);
    // The backlog is still there, and nobody was let wait for ever.
    expect(bulk.every(({ seqs }) => seqs.length < 200)).toBe(true);
    late.connection.release();
    await bench.runtime.runTurns();
    for (const client of bulk) expect(numbers(client)).toEqual(texts(200));
    expect(numbers(late)).toEqual(["0", ...texts(200)]);
    for (const client of [...high, ...normal]) expect(client.data).toEqual(["0", ...texts(10)]);
  });

  test("readers of the log are served in their lane too: many that replay bulk delay no high event", async () => {
    const bench = new Bench({ slices: { writesMax: 2 }, memory: { rules: RULES } });
    for (const text of texts(300)) await bench.publish("bulk/a", text.padEnd(2 * KIB, "."));
    const high = await bench.join("high/a");
    const opened = await many(20, () => bench.subscribe("bulk/a", { start: "earliest" }));
    const readers = opened.map((opening) => bench.attach(opening));
    const behind = (): number =>
      readers.filter(({ subscriber }) => subscriber.state === "reading").length;
    let rounds = 0;
    for (; behind() > 0 && rounds < 1_000; rounds += 1) {
      await bench.publish("high/a", `${rounds}`);
      await bench.runtime.runTurn();
      expect(high.data.at(-1)).toBe(`${rounds}`);
      expect(high.subscriber.state).toBe("live");
    }
    expect(rounds).toBeGreaterThan(20);
    for (const client of readers) expect(numbers(client)).toEqual(texts(300));
  });

  test("bulk keeps its share of the bytes under a flood in the high lane", async () => {
    const bench = new Bench({ slices: { writesMax: 50 }, memory: { rules: RULES } });
    const bytes = { high: 0, bulk: 0 };
    for (const lane of ["high", "bulk"] as const) {
      const onBytes = ({ connection }: Client): void => {
        bytes[lane] += connection.batches.at(-1)?.frames.length ?? 0;
      };
      await many(10, () => bench.join(`${lane}/a`, { onBytes }));
    }
    for (let turn = 0; turn < 60; turn += 1) {
      // Two events are a batch: 60 writes for high and 10 for bulk, more than the 50 of a slice.
      for (let each = 0; each < 12; each += 1) void bench.publish("high/a", "x".repeat(30 * KIB));
      for (let each = 0; each < 2; each += 1) void bench.publish("bulk/a", "x".repeat(30 * KIB));
      await bench.runtime.runTurn();
    }
    expect(bench.hub.metrics.plain.sluice_flush_overflows_total).toBe(0);
    // Shares of 8 to 1, as far as a round of them is a part of the whole.
    expect(bytes.high).toBeGreaterThan(20_000 * KIB);
    expect(bytes.bulk / bytes.high).toBeGreaterThan(0.8 / 8);
    expect(bytes.bulk / bytes.high).toBeLessThan(1.2 / 8);
  });

  test("a flood in one tenant's high lane delays another tenant's bulk event by no more than a turn", async () => {
    const slices = { writesMax: 1_000_000, timeMsMax: 1_000_000 };
    const bench = new Bench({ slices, memory: { rules: RULES } });
    let written = 0;
    let writtenBefore = 0;
    const onBytes = ({ connection }: Client): void => {
      written += connection.batches.at(-1)?.frames.length ?? 0;
    };
    for (const lane of LANES) {
      await many(20, () => bench.join(`${lane}/a`, { tenant: "flood", onBytes }));
    }
    const quiet = await bench.join("bulk/a", {
      tenant: "quiet",
      onBytes: () => (writtenBefore = written),
    });
    written = 0;
    for (let each = 0; each < 20; each += 1) {
      for (const lane of LANES) {
        void bench.publishAs("flood", `${lane}/a`, "x".repeat(60 * KIB));
      }
    }
    void bench.publishAs("quiet", "bulk/a", "1");
    await bench.runtime.runTurns();
    expect(quiet.data).toEqual(["1"]);
    expect(writtenBefore).toBeLessThanOrEqual(320 * KIB);
    expect(written).toBeGreaterThan(60 * 1_000 * KIB);
  });

  test("an overflow of bulk sends no other lane's subscribers to the log", async () => {
    const bench = new Bench({ slices: { writesMax: 1 }, memory: { rules: RULES } });
    const bulk = await many(3, () => bench.join("bulk/a"));
    const high = await many(3, () => bench.join("high/a"));
    const mixed = await bench.join(["high/a", "bulk/a"]);
    const { plain } = bench.hub.metrics;
    for (let each = 1; each <= 30; each += 1) {
      await bench.publish("bulk/a", "x".repeat(500 * KIB));
      await bench.publish("high/a", `${each}`);
    }
    expect(plain.sluice_flush_overflows_total).toBeGreaterThan(0);
    const states = (clients: Client[]): string =>
      clients.map(({ subscriber }) => subscriber.state).join();
    expect(states([...bulk, mixed])).toBe("reading,reading,reading,reading");
    expect(states(high)).toBe("live,live,live");
    await bench.runtime.runTurns();
    for (const client of high) expect(client.data).toEqual(texts(30));
    for (const client of bulk) expect(client.seqs).toEqual(texts(30).map((n) => 2 * Number(n) - 1));
    expect(mixed.seqs).toEqual(texts(60).map(Number));
  });

  test("who follows topics of several lanes rides in the lowest and gets all in sequence order", async () => {
    const bench = new Bench({ slices: { writesMax: 1 }, memory: { rules: RULES } });
    const mixed = await bench.join(["bulk/a", "high/a", "normal"], { form: "enveloped" });
    const pattern = await bench.join("**", { form: "enveloped" });
    const pure = await many(5, () => bench.join("high/a"));
    expect(mixed.subscriber.lane).toBe("bulk");
    for (let round = 0; round < 30; round += 1) {
      for (const topic of ["high/a", "bulk/a", "normal"]) await bench.publish(topic, `${round}`);
      await bench.runtime.runTurn();
    }
    await bench.runtime.runTurns();
    for (const { seqs } of [mixed, pattern]) expect(seqs).toEqual(texts(90).map(Number));
    // A pattern that matched nothing yet rode in the normal lane, until a bulk topic came.
    expect(pattern.subscriber.lane).toBe("bulk");
    for (const { data } of pure) expect(data).toEqual(texts(30, 0));
  });

  test("a topic whose lane is changed takes its live subscribers along, without loss or repetition", async () => {
    const bench = new Bench({ slices: { writesMax: 2 } });
    const other = await many(3, () => bench.join("other"));
    const clients = await many(5, () => bench.join("a"));
    const mixed = await bench.join(["a", "other"]);
    const lanes = (): string => [...clients, mixed].map(({ subscriber }) => subscriber.lane).join();
    let count = 0;
    for (const [lane, mixedLane] of [
      ["bulk", "bulk"],
      ["high", "normal"],
      ["normal", "normal"],
      ["bulk", "bulk"],
      ["high", "normal"],
    ] as const) {
      await bench.hub.declare("t", "a", { lane });
      for (let each = 0; each < 20; each += 1) {
        void bench.publish("a", `${(count += 1)}`);
        void bench.publish("other", "-");
        if (each % 3 === 0) await bench.runtime.runTurn();
      }
      await bench.runtime.runTurns();
      expect(lanes()).toBe([...Array<Lane>(5).fill(lane), mixedLane].join());
    }
    for (const { data } of clients) expect(data).toEqual(texts(count));
    expect(mixed.seqs).toEqual(texts(2 * count).map(Number));
    for (const { data } of other) expect(data.length).toBe(count);
  });

  test("who named a topic before it had settings moves to its lane with its first event", async () => {
    const bench = new Bench();
    const early = await bench.join("alerts");
    const pattern = await bench.join("alerts/*");
    await bench.hub.declare("t", "alerts", { lane: "high" });
    await bench.hub.declare("t", "alerts/b", { lane: "bulk" });
    await bench.publish("alerts", "1");
    await bench.publish("alerts/b", "2");
    await bench.runtime.runTurns();
    expect([early.subscriber.lane, early.data]).toEqual(["high", ["1"]]);
    expect([pattern.subscriber.lane, pattern.data]).toEqual(["bulk", ["2"]]);
    const reads = bench.hub.metrics.plain.sluice_log_reads_total;
    for (const text of texts(5)) await bench.publish("alerts", text);
    await bench.runtime.runTurns();
    expect(bench.hub.metrics.plain.sluice_log_reads_total).toBe(reads);
  });

  test("law 23: who is gone with its first bytes leaves no route behind in any lane", async () => {
    const bench = new Bench({ memory: { rules: RULES } });
    const opening = await bench.runtime.resolve(bench.subscribe("high/a"));
    const connection = new FakeConnection({
      id: "gone",
      owner: opening.subscriber,
      runtime: bench.runtime,
      closesAtOnce: true,
      onBytes: () => connection.cut(),
    });
    opening.attach(connection, { retryMs: 1_000, hasHello: false });
    expect(connection.closedCount).toBe(1);
    bench.hub.measure();
    expect([bench.hub.subscribersNow, bench.hub.metrics.plain.sluice_routes]).toEqual([0, 0]);
  });

  test("law 5: a join during a backlog loses nothing, also of topics that nobody in its lane followed", async () => {
    for (let when = 0; when < 30; when += 1) {
      for (const topic of ["bulk/a", "bulk/b", "high/b", "normal/b"]) {
        await joinDuringBacklog(when, topic);
      }
    }
  });
});

async function joinDuringBacklog(when: number, topic: string): Promise<void> {
  const bench = new Bench({ slices: { writesMax: 1 }, memory: { rules: RULES } });
  const first = await many(3, () => bench.join(["bulk/a", "normal/a", "high/a"]));
  const epoch = first[0]?.lastEventId.split(".")[0];
  let opening: Promise<Opening> | undefined;
  let client: Client | undefined;
  for (let step = 0; step < 36; step += 1) {
    for (const each of ["bulk/a", topic, "high/a"]) void bench.publish(each, `${step}`);
    if (step % 2 === 0) await bench.runtime.runTurn();
    if (step === when) opening = bench.subscribe(topic, { start: `${epoch}.${3 * (step >> 1)}` });
    // What it is told at the start may be old when it is attached.
    if (step === when + 1 + (when % 3) && opening !== undefined) {
      client = bench.attach(await opening);
    }
  }
  await bench.runtime.runTurns();
  const expected = numbersFrom(when >> 1, 36);
  if (topic === "bulk/a") expect(new Set(client?.data), `${when}`).toEqual(new Set(expected));
  else expect(client?.data, `${when} ${topic}`).toEqual(expected);
  expect(client?.subscriber.state).toBe("live");
}

describe("the order of lanes", () => {
  const make = (): { lane: Lane; hasWork: boolean; allowance: number; served: number }[] =>
    LANES.map((lane) => ({ lane, hasWork: true, allowance: LANE_SHARES[lane], served: 0 }));

  function serve(lanes: ReturnType<typeof make>, turns: number, bytes = 64 * KIB): void {
    for (let turn = 0; turn < turns; turn += 1) {
      const lane = nextLane(lanes);
      if (lane === undefined) return;
      lane.allowance -= bytes;
      lane.served += 1;
    }
  }

  test("shares the bytes 8 to 4 to 1 while all have work, and the highest comes first in each round", () => {
    const lanes = make();
    serve(lanes, 32);
    expect(lanes.map(({ served }) => served)).toEqual([32, 0, 0]);
    serve(lanes, 520 - 32);
    expect(lanes.map(({ served }) => served)).toEqual([320, 160, 40]);
  });

  test("gives what a lane leaves unused to those below, and saves nothing up for it", () => {
    const [high, normal, bulk] = make() as [Sharer, Sharer, Sharer];
    high.hasWork = false;
    serve([high, normal, bulk], 200);
    expect([high.served, normal.served, bulk.served]).toEqual([0, 160, 40]);
    expect(high.allowance).toBe(LANE_SHARES.high);
  });

  test("lets a lane pay for a frame larger than its share before it is served again", () => {
    const lanes = make();
    const [, , bulk] = lanes as [Sharer, Sharer, Sharer];
    bulk.allowance = -LANE_SHARES.bulk;
    serve(lanes, 96);
    expect(bulk.served).toBe(0);
    serve(lanes, 52);
    expect(bulk.served).toBe(4);
    for (const lane of lanes) lane.hasWork = false;
    expect(nextLane(lanes)).toBeUndefined();
    expect(lanes.map(({ allowance }) => allowance)).toEqual(Object.values(LANE_SHARES));
  });

  type Sharer = ReturnType<typeof make>[number];
});

async function many<T>(count: number, join: () => Promise<T>): Promise<T[]> {
  const clients: T[] = [];
  for (let index = 0; index < count; index += 1) clients.push(await join());
  return clients;
}

function numbers({ data }: Client): string[] {
  return data.map((text) => text.replaceAll(".", ""));
}

function numbersFrom(from: number, to: number): string[] {
  return texts(to - from, from);
}
