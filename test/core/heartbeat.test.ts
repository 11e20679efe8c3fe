import { describe, expect, test } from "vitest";
import { Bench, texts } from "./bench.ts";

describe("the heartbeat", () => {
  test("leaves no connection idle for longer than 20 s, whenever it was last written to", async () => {
    const bench = new Bench();
    const gaps: number[] = [];
    for (let index = 0; index < 60; index += 1) {
      let wroteAt = bench.runtime.now();
      const topic = `topic${index}`;
      await bench.join(topic, {
        onBytes: () => {
          gaps.push(bench.runtime.now() - wroteAt);
          wroteAt = bench.runtime.now();
        },
      });
      // An event of its own, at any phase of the wheel.
      bench.runtime.after(index * 367, () => void bench.publish(topic, "1"));
    }
    await bench.runtime.run(180_000);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(20_000);
    const idle = gaps.filter((gap) => gap > 1_000);
    expect(idle.length).toBeGreaterThan(400);
    // And no more often than it must: idle connections cost a write each 15 s at most.
    const beats = bench.hub.metrics.plain.sluice_heartbeats_total;
    expect(beats).toBeLessThan((60 * 180) / 15);
  });

  test("spreads connections that were opened together, on one timer for all", async () => {
    const bench = new Bench();
    const timers = bench.runtime.timersNow;
    const beats = new Map<number, number>();
    for (let index = 0; index < 200; index += 1) {
      await bench.join("a", {
        onBytes: () => {
          const second = Math.floor(bench.runtime.now() / 1_000);
          beats.set(second, (beats.get(second) ?? 0) + 1);
        },
      });
    }
    beats.clear();
    expect(bench.runtime.timersNow).toBe(timers);
    await bench.runtime.run(20_000);
    expect([...beats.values()].reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(200);
    expect(Math.max(...beats.values())).toBeLessThan(60);
  });

  test("writes nothing behind bytes that have not left, and ends what takes nothing", async () => {
    const bench = new Bench();
    const client = await bench.join("a");
    client.connection.block();
    await bench.publish("a", "1");
    await bench.runtime.runTurns();
    const { length } = client.connection.batches;
    await bench.runtime.run(60_000);
    expect(client.connection.batches).toHaveLength(length);
    expect(client.connection.endedBy).toBe("slow_consumer");
  });
});

describe("bookmarks", () => {
  test("tell a quiet reader its place after so many events of others, once", async () => {
    const bench = new Bench({ heartbeat: { bookmarkEvents: 100 } });
    const client = await bench.join("quiet");
    await bench.publish("busy", ...texts(150));
    await bench.runtime.run(15_000);
    expect(client.blocks.filter((block) => block.startsWith("primer"))).toEqual([
      "primer 0",
      "primer 150",
    ]);
    await bench.runtime.run(15_000);
    expect(bench.hub.metrics.plain.sluice_bookmarks_total).toBe(1);
  });

  test("tell it after so long, and only where something was published", async () => {
    const bench = new Bench();
    const client = await bench.join("quiet");
    await bench.runtime.run(70_000);
    expect(bench.hub.metrics.plain.sluice_bookmarks_total).toBe(0);
    await bench.publish("busy", "1");
    await bench.runtime.run(70_000);
    expect(client.blocks.filter((block) => block.startsWith("primer"))).toEqual([
      "primer 0",
      "primer 1",
    ]);
  });

  test("keep a quiet reader from ageing into a false gap when other topics are forgotten", async () => {
    const bench = new Bench();
    const client = await bench.join("quiet/*");
    await bench.hub.declare("t", "busy", { ttlMs: 1_000 });
    await bench.publish("busy", ...texts(10));
    await bench.runtime.run(90_000);
    client.connection.cut();
    const resumed = await bench.join("quiet/*", { start: client.lastEventId });
    expect([resumed.verdict, resumed.gaps]).toEqual(["exact", []]);
  });

  test("never claim what a window still has to deliver", async () => {
    const bench = new Bench({ slices: { writesMax: 1 }, heartbeat: { bookmarkEvents: 1 } });
    const clients = [];
    for (let index = 0; index < 30; index += 1) clients.push(await bench.join(["a", "b"]));
    for (let turn = 0; turn < 100; turn += 1) {
      void bench.publish(turn % 2 === 0 ? "a" : "c", `${turn}`);
      await bench.runtime.runTurn();
      bench.runtime.elapse(50);
    }
    await bench.runtime.run(30_000);
    for (const client of clients) {
      const places = client.blocks
        .filter((block) => /^primer |@/.test(block))
        .map((block) => Number(block.split(/[ @]/).at(-1)));
      expect(places).toEqual(places.toSorted((a, b) => a - b));
      expect(client.events).toHaveLength(50);
    }
  });
});
