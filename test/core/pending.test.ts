import { describe, expect, test } from "vitest";
import { Bench, seqOf, texts } from "./bench.ts";
import type { Client } from "./bench.ts";

const PAD = "x".repeat(1_000);
/** One tick of the wheel: a twentieth of 0.45 of the heartbeat's 20 s. */
const TICK_MS = 450;

function gauges(bench: Bench): { bytes: number; connections: number } {
  bench.hub.measure();
  const { plain } = bench.hub.metrics;
  return { bytes: plain.sluice_pending_bytes, connections: plain.sluice_pending_connections };
}

async function publishAll(bench: Bench, topic: string, ...data: string[]): Promise<void> {
  await bench.publish(topic, ...data);
  await bench.runtime.runTurns();
}

describe("pending bytes", () => {
  test("law 23: are counted exactly, of each and in all, and return to zero however they go", async () => {
    const bench = new Bench();
    const clients: Client[] = [];
    for (let index = 0; index < 6; index += 1) clients.push(await bench.join("a"));
    const [reads, cut, evicted, partly, ended] = clients as [
      Client,
      Client,
      Client,
      Client,
      Client,
      Client,
    ];
    expect(gauges(bench)).toEqual({ bytes: 0, connections: 0 });
    const blocked = [reads, cut, evicted, partly, ended];
    for (const { connection } of blocked) connection.block();
    await publishAll(bench, "a", PAD);
    const size = reads.connection.pendingBytes;
    expect(size).toBeGreaterThan(1_000);
    expect(gauges(bench)).toEqual({ bytes: 5 * size, connections: 5 });
    partly.connection.release(600);
    expect(gauges(bench)).toEqual({ bytes: 5 * size - 600, connections: 5 });
    reads.connection.release();
    cut.connection.cut();
    evicted.subscriber.evict("unacked");
    await bench.runtime.runTurns();
    expect(gauges(bench)).toEqual({ bytes: 2 * size - 600, connections: 2 });
    // What is written last waits behind it, and counts as well.
    ended.subscriber.end("max_age", 1_000);
    const last = ended.connection.pendingBytes;
    expect(last).toBeGreaterThan(size);
    expect(gauges(bench)).toEqual({ bytes: size - 600 + last, connections: 2 });
    ended.connection.release();
    partly.connection.release();
    await bench.runtime.runTurns();
    expect(gauges(bench)).toEqual({ bytes: 0, connections: 0 });
  });

  test("never make a healthy connection be looked at: it is counted only where a write leaves some", async () => {
    const bench = new Bench();
    const healthy = await bench.join("a");
    let looks = 0;
    const { connection } = healthy;
    Object.defineProperty(connection, "pendingBytes", { get: () => ((looks += 1), 0) });
    await bench.runtime.run(100_000);
    // Each heartbeat asks before it writes, twice an interval at most; the ticks between do not.
    expect(looks).toBeLessThan(40);
    expect(bench.hub.metrics.plain.sluice_heartbeats_total).toBeGreaterThan(4);
  });
});

describe("the stall deadline", () => {
  test("is kept within a tick of the wheel, at any phase, of live ones and of readers", async () => {
    const bench = new Bench();
    const clients: Client[] = [];
    const blockedAt = new Map<Client, number>();
    for (let index = 0; index < 30; index += 1) clients.push(await bench.join(`t${index}`));
    const closedAt = new Map<string, number>();
    bench.hub.onConnectionEnd(({ connection }) => {
      closedAt.set(connection?.id ?? "", bench.runtime.now());
    });
    for (const [index, client] of clients.entries()) {
      client.connection.block();
      await publishAll(bench, `t${index}`, PAD);
      blockedAt.set(client, bench.runtime.now());
      // Every other one has more to come, and so reads the log.
      if (index % 2 === 0) await publishAll(bench, `t${index}`, PAD);
      await bench.runtime.run(97);
    }
    await bench.runtime.run(30_000);
    for (const client of clients) {
      expect(client.connection.endedBy).toBe("slow_consumer");
      const waited = (closedAt.get(client.name) ?? 0) - (blockedAt.get(client) ?? 0);
      expect(waited).toBeGreaterThanOrEqual(25_000);
      expect(waited).toBeLessThanOrEqual(25_000 + TICK_MS);
    }
  });

  test("F08 F12 F19 begins anew with each byte that leaves: a slow client is not cut off", async () => {
    const bench = new Bench();
    const client = await bench.join("a");
    client.connection.block();
    await publishAll(bench, "a", PAD, PAD);
    for (let round = 0; round < 40; round += 1) {
      await bench.runtime.run(20_000);
      client.connection.release(20);
      expect(client.connection.isOpen).toBe(true);
    }
    await bench.runtime.run(24_000);
    expect(client.connection.isOpen).toBe(true);
    await bench.runtime.run(2_000);
    expect(client.connection.endedBy).toBe("slow_consumer");
    const resumed = await bench.join("a", { start: client.lastEventId });
    expect([resumed.verdict, resumed.seqs]).toEqual(["exact", [1, 2]]);
  });

  test("holds for the last frames too", async () => {
    const bench = new Bench();
    const client = await bench.join("a");
    client.connection.block();
    client.subscriber.end("max_age", 1_000);
    await bench.runtime.run(26_000);
    expect(client.connection.endedBy).toBe("slow_consumer");
  });

  test("is none for a reader in this process, which may take as long as it likes", async () => {
    const bench = new Bench({ heartbeat: { pendingBytesMax: 100 } });
    const client = await bench.join("a", { isLocal: true });
    client.connection.block();
    await publishAll(bench, "a", PAD);
    // Nobody can be evicted for what is too much; it is not looked for anew in every turn.
    expect(bench.runtime.deferredNow).toBe(0);
    await bench.runtime.run(3_600_000);
    expect(client.connection.isOpen).toBe(true);
    client.connection.release();
    await publishAll(bench, "a", "2");
    expect(client.seqs).toEqual([1, 2]);
  });
});

describe("the cap on pending bytes (S10, F09)", () => {
  test("takes those that waited longest, no more than it must, and nothing is lost", async () => {
    const bench = new Bench({ heartbeat: { pendingBytesMax: 20_000 } });
    const clients: Client[] = [];
    for (let index = 0; index < 40; index += 1) {
      const client = await bench.join(`t${index}`);
      client.connection.block();
      await publishAll(bench, `t${index}`, PAD);
      expect(gauges(bench).bytes).toBeLessThanOrEqual(20_000);
      clients.push(client);
      await bench.runtime.run(100);
    }
    const isOpen = clients.map(({ connection }) => connection.isOpen);
    const evicted = isOpen.indexOf(true);
    expect(isOpen).toEqual(isOpen.map((_, index) => index >= evicted));
    expect(40 - evicted).toBe(Math.floor(20_000 / clients.at(-1)!.connection.pendingBytes));
    expect(bench.hub.metrics.get("sluice_evicted_total", "pending_exhausted")).toBe(evicted);
    const resumed = await bench.join("t0", { start: clients[0]?.lastEventId ?? "" });
    expect([resumed.verdict, resumed.data]).toEqual(["exact", [PAD]]);
  });

  test("spares who makes progress, however long it has been slow", async () => {
    const bench = new Bench({ heartbeat: { pendingBytesMax: 5_000 } });
    const slow = await bench.join("a");
    const stuck = await bench.join("b");
    for (const { connection } of [slow, stuck]) connection.block();
    await publishAll(bench, "a", PAD, PAD);
    await publishAll(bench, "b", PAD, PAD);
    await bench.runtime.run(5_000);
    slow.connection.release(10);
    await bench.runtime.run(1_000);
    const third = await bench.join("c");
    third.connection.block();
    await publishAll(bench, "c", PAD, PAD);
    expect([slow, stuck, third].map(({ connection }) => connection.endedBy)).toEqual([
      undefined,
      "pending_exhausted",
      undefined,
    ]);
  });

  test("holds also for those that began to wait while it was enforced", async () => {
    const bench = new Bench({ heartbeat: { pendingBytesMax: 20_000 } });
    const clients: Client[] = [];
    for (let index = 0; index < 38; index += 1) {
      clients.push(await bench.join(index % 2 === 0 ? "a" : "b"));
    }
    for (const { connection } of clients) connection.block();
    await bench.publish("a", PAD + PAD);
    await bench.runtime.runTurn();
    // Now they are looked at; and before anybody is evicted as many begin to wait as did before.
    await bench.publish("b", PAD + PAD);
    await bench.runtime.runTurn();
    await bench.runtime.runTurn();
    await bench.runtime.runTurns();
    expect(gauges(bench).bytes).toBeLessThanOrEqual(20_000);
    expect(gauges(bench).connections).toBe(9);
  });

  test("evicts nobody for bytes that are gone a moment later, as on TLS", async () => {
    const bench = new Bench({ heartbeat: { pendingBytesMax: 5_000 } });
    const clients: Client[] = [];
    for (let index = 0; index < 50; index += 1) clients.push(await bench.join("a"));
    for (const client of clients) {
      const { connection } = client;
      const write = connection.write.bind(connection);
      connection.write = (batch) => {
        connection.block();
        write(batch);
        bench.runtime.defer(() => connection.release());
        return true;
      };
    }
    for (const text of texts(100)) await publishAll(bench, "a", text + PAD);
    await bench.runtime.run(60_000);
    for (const client of clients) {
      expect(client.connection.isOpen).toBe(true);
      expect(client.events.map(({ lastEventId }) => seqOf(lastEventId))).toHaveLength(100);
    }
    expect(gauges(bench)).toEqual({ bytes: 0, connections: 0 });
    expect(bench.hub.metrics.plain.sluice_lagged_total).toBe(0);
  });
});

test("law 12: a reader that is gone or stuck costs its producer nothing", async () => {
  const bench = new Bench();
  const [gone, stuck] = [await bench.join("a"), await bench.join("a")];
  stuck.connection.block();
  gone.connection.cut();
  await bench.runtime.run(1_000);
  const startedAt = bench.runtime.now();
  for (const text of texts(2_000)) await bench.publish("a", text);
  // Nothing that a publish waits for took any time.
  expect(bench.runtime.now()).toBe(startedAt);
  await bench.runtime.runTurns();
  expect(gauges(bench).bytes).toBeLessThanOrEqual(64 * 1024 + 1_000);
  await bench.runtime.run(30_000);
  bench.hub.measure();
  expect(bench.hub.subscribersNow).toBe(0);
  const { writes, routes } = {
    writes: bench.hub.metrics.plain.sluice_writes_total,
    routes: bench.hub.metrics.plain.sluice_routes,
  };
  expect(routes).toBe(0);
  await publishAll(bench, "a", "nobody");
  expect(bench.hub.metrics.plain.sluice_writes_total).toBe(writes);
});
