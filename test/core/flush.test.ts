import { describe, expect, test } from "vitest";
import { BATCH_BYTES_MAX } from "../../src/core/batch.ts";
import { PENDING_BYTES_MAX } from "../../src/core/lane-hub.ts";
import { Bench, rule, texts } from "./bench.ts";
import type { Client } from "./bench.ts";

const KIB = 1024;
const big = (bytes: number): string => "x".repeat(bytes);

describe("the flush", () => {
  test("writes what one turn appended as one batch, shared by all who follow the same topics", async () => {
    const bench = new Bench();
    const clients = [await bench.join("a"), await bench.join(["a", "b"], { form: "plain" })];
    for (const text of texts(20)) void bench.publish("a", text);
    await bench.runtime.runTurns();
    const [one, other] = clients.map(({ connection }) => connection.batches.at(-1));
    expect(one?.count).toBe(20);
    expect(other).toBe(one);
  });

  test("merges several topics in sequence order, in one batch for each set of dirty topics", async () => {
    const bench = new Bench();
    const both = [
      await bench.join(["a", "b"]),
      await bench.join(["*"]),
      await bench.join(["b", "a", "c"]),
    ];
    const alone = await bench.join("b");
    for (const text of ["a1", "b1", "a2", "b2"]) void bench.publish(text.slice(0, 1), text);
    await bench.runtime.runTurns();
    expect(both.map(({ data }) => data.join())).toEqual(Array(3).fill("a1,b1,a2,b2"));
    expect(new Set(both.map(({ connection }) => connection.batches.at(-1))).size).toBe(1);
    expect(alone.data).toEqual(["b1", "b2"]);
  });

  test("makes no batch of a topic larger than 64 KiB, but for a single larger frame", async () => {
    const bench = new Bench();
    const client = await bench.join("a");
    const sizes = [30, 30, 30, 200, 1, 1, 63, 64, 65].map((size) => size * KIB - 100);
    for (const size of sizes) void bench.publish("a", big(size));
    await bench.runtime.runTurns();
    for (const { frames, count } of client.connection.batches) {
      expect(frames.length <= BATCH_BYTES_MAX || count === 1, `${frames.length}, ${count}`).toBe(
        true,
      );
    }
    expect(client.data.map(({ length }) => length)).toEqual(sizes);
  });

  test("bounds a slice by writes, and yields between slices", async () => {
    const bench = new Bench({ slices: { writesMax: 10 } });
    const clients = await joinMany(bench, 25, "a");
    const before = bench.hub.metrics.plain.sluice_flush_slices_total;
    await bench.publish("a", "1");
    await bench.runtime.runTurn();
    expect(count(clients)).toBe(10);
    await bench.runtime.runTurns();
    expect(count(clients)).toBe(25);
    expect(bench.hub.metrics.plain.sluice_flush_slices_total - before).toBe(3);
  });

  test("bounds a slice by time, of a tenant that says little by 5 ms more", async () => {
    for (const [bytes, boundMs] of [
      [1, 5 + 5],
      [400 * KIB, 5],
    ] as const) {
      const bench = new Bench({ slices: { timeMsMax: 5 } });
      const clients = await joinMany(bench, 100, "a", 1);
      // Once it has been written to two of them it is more than a light tenant may say.
      await bench.publish("a", "x".repeat(bytes));
      await bench.runtime.runTurn();
      // The clock is read at each 16th write: both bounds are kept to within that.
      expect(count(clients)).toBeLessThanOrEqual(boundMs + 2 * 16);
      await bench.runtime.runTurns();
      expect(count(clients)).toBe(100);
    }
  });

  test("serves what was appended between two slices in the next window, exactly", async () => {
    const bench = new Bench({ slices: { writesMax: 3 } });
    const clients = await joinMany(bench, 10, "a");
    for (const text of texts(8)) {
      await bench.publish("a", text);
      await bench.runtime.runTurn();
    }
    await bench.runtime.runTurns();
    for (const client of clients) expect(client.data).toEqual(texts(8));
  });

  test("reaches everybody although patterns come and go between two slices", async () => {
    const bench = new Bench({ slices: { writesMax: 1 } });
    const leaving = await bench.join("*");
    const clients = [await bench.join("a/**"), await bench.join("a/*"), await bench.join("a/b")];
    const first = await bench.join("**");
    await bench.publish("c", "c");
    await bench.publish("a/b", "1");
    await bench.runtime.runTurn();
    leaving.connection.cut();
    first.connection.cut();
    await bench.runtime.runTurns();
    for (const client of clients) expect(client.data).toEqual(["1"]);
  });

  test("writes the subscribers of a high topic before those of normal and bulk ones", async () => {
    const rules = (["bulk", "normal", "high"] as const).map((lane) => rule(lane, { lane }));
    const bench = new Bench({ memory: { rules } });
    const order: string[] = [];
    for (const topic of ["bulk", "normal", "high"]) {
      await bench.join(topic, { onBytes: ({ data }) => void order.push(...data.slice(-1)) });
    }
    const mixed = await bench.join(["bulk", "high"]);
    for (const topic of ["bulk", "normal", "high"]) void bench.publish(topic, topic);
    await bench.runtime.runTurns();
    expect(order).toEqual(["high", "normal", "bulk"]);
    // The lane never changes the order within a connection.
    expect(mixed.data).toEqual(["bulk", "high"]);
  });

  test("gives tenants equal turns: one that floods does not delay another by more than its turn", async () => {
    const bench = new Bench({ slices: { writesMax: 1_000_000, timeMsMax: 1_000_000 } });
    let written = 0;
    const onBytes = ({ connection }: Client): void => {
      written += connection.batches.at(-1)?.frames.length ?? 0;
    };
    for (let index = 0; index < 200; index += 1) {
      await bench.join("a", { tenant: "flood", onBytes });
    }
    let writtenBefore = 0;
    const quiet = await bench.join("a", {
      tenant: "quiet",
      onBytes: () => (writtenBefore = written),
    });
    written = 0;
    for (let index = 0; index < 20; index += 1) void bench.publishAs("flood", "a", big(60 * KIB));
    void bench.publishAs("quiet", "a", "1");
    await bench.runtime.runTurn();
    expect(quiet.data).toEqual(["1"]);
    expect(writtenBefore).toBeLessThanOrEqual(256 * KIB + BATCH_BYTES_MAX);
    expect(written).toBeGreaterThan(100 * 1_000 * KIB);
  });

  test("a tenant that says little goes before all that flood, however many they are", async () => {
    const bench = new Bench({ slices: { writesMax: 1_000_000, timeMsMax: 1_000_000 } });
    let written = 0;
    const onBytes = ({ connection }: Client): void => {
      written += connection.batches.at(-1)?.frames.length ?? 0;
    };
    const floods = ["a", "b", "c", "d", "e", "f"];
    for (const tenant of floods) {
      for (let index = 0; index < 40; index += 1) await bench.join("t", { tenant, onBytes });
    }
    let writtenBefore = 0;
    const quiet = await bench.join("t", {
      tenant: "quiet",
      onBytes: () => (writtenBefore = written),
    });
    let before = 0;
    let all = 0;
    for (let turn = 0; turn < 10; turn += 1) {
      for (const tenant of floods) {
        for (let index = 0; index < 3; index += 1) void bench.publishAs(tenant, "t", big(60 * KIB));
      }
      void bench.publishAs("quiet", "t", `${turn}`);
      written = 0;
      await bench.runtime.run(1);
      expect(quiet.data).toHaveLength(turn + 1);
      before += writtenBefore;
      all += written;
    }
    // What a light tenant may write: a burst, 8 KiB in each ms, and the batch that was too much.
    expect(before).toBeLessThanOrEqual(floods.length * (256 + 10 * 8 + 64) * KIB);
    expect(all).toBeGreaterThan(20 * before);
  });

  test("however many tenants say little, one that has much to say gets its turns", async () => {
    const bench = new Bench({ slices: { writesMax: 3, timeMsMax: 1_000_000 } });
    const light: Client[] = [];
    for (let index = 0; index < 10; index += 1) {
      light.push(await bench.join("t", { tenant: `light ${index}` }));
    }
    const heavy = await bench.join("t", { tenant: "heavy" });
    for (let each = 0; each < 20; each += 1) void bench.publishAs("heavy", "t", big(60 * KIB));
    await bench.runtime.runTurns();
    expect(heavy.events).toHaveLength(20);
    // Its burst is used up, and no time passes: from now on the others go first, in each turn as many as fit.
    for (let each = 0; each < 10; each += 1) void bench.publishAs("heavy", "t", big(60 * KIB));
    for (let turn = 0; turn < 60; turn += 1) {
      for (let index = 0; index < 10; index += 1) void bench.publishAs(`light ${index}`, "t", "1");
      await bench.runtime.runTurn();
    }
    expect(heavy.events).toHaveLength(30);
    await bench.runtime.runTurns();
    for (const client of light) expect(client.events).toHaveLength(60);
  });

  test("a tenant in debt for large frames waits until its turns have paid for them", async () => {
    const bench = new Bench({ slices: { writesMax: 1_000_000, timeMsMax: 1_000_000 } });
    const order: string[] = [];
    for (const tenant of ["large", "small"]) {
      for (let index = 0; index < 40; index += 1) {
        await bench.join("a", { tenant, onBytes: () => void order.push(tenant) });
      }
    }
    order.length = 0;
    void bench.publishAs("large", "a", big(1_000 * KIB));
    void bench.publishAs("small", "a", big(60 * KIB));
    await bench.runtime.runTurns();
    // While both have work, each writes as many bytes as the other: 1,000 KiB are about 16 frames of 60.
    const sharing = order.slice(0, order.lastIndexOf("small"));
    const large = sharing.filter((tenant) => tenant === "large").length;
    expect(large).toBeGreaterThanOrEqual(1);
    expect(large).toBeLessThanOrEqual(5);
  });

  test("an overflow of what waits for a window sends its readers to the log, and loses nothing", async () => {
    const bench = new Bench({ slices: { writesMax: 1 } });
    const clients = [...(await joinMany(bench, 3, "a")), await bench.join("*")];
    await bench.publish("a", "first");
    await bench.runtime.runTurn();
    await bench.hub.declare("t", "a", { retention: { bytesMax: 1e9 } });
    // Up to the very event that overflows: nothing later may mend what it does.
    const { plain } = bench.hub.metrics;
    let many = 0;
    for (; plain.sluice_flush_overflows_total === 0 && many < 100; many += 1) {
      await bench.publish("a", big(500 * KIB));
    }
    expect(many).toBe(Math.ceil(PENDING_BYTES_MAX / (500 * KIB)));
    await bench.runtime.runTurns();
    for (const { seqs, subscriber, gaps } of clients) {
      expect(seqs).toEqual(Array.from({ length: many + 1 }, (_, index) => index + 1));
      expect([subscriber.state, gaps]).toEqual(["live", []]);
    }
  });
});

async function joinMany(bench: Bench, many: number, topic: string, writeMs = 0): Promise<Client[]> {
  const clients: Client[] = [];
  for (let index = 0; index < many; index += 1) clients.push(await bench.join(topic, { writeMs }));
  return clients;
}

function count(clients: readonly Client[]): number {
  return clients.reduce((sum, { events }) => sum + events.length, 0);
}
