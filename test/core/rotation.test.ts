import { describe, expect, test } from "vitest";
import { Bench } from "./bench.ts";
import type { Client } from "./bench.ts";

const MINUTE_MS = 60_000;
const GOODBYE = /retry: ([0-9]+)\n\nevent: close\ndata: max_age\n\n$/;

/** When each of `clients` was rotated, in milliseconds from now; runs until all are. */
async function ages(bench: Bench, clients: readonly Client[], msMax: number): Promise<number[]> {
  const startedAt = bench.runtime.now();
  const times = new Map<string, number>();
  const stop = bench.hub.onConnectionEnd(({ connection }, reason) => {
    expect(reason).toBe("max_age");
    times.set(connection?.id ?? "", bench.runtime.now() - startedAt);
  });
  await bench.runtime.run(msMax);
  stop();
  return clients.flatMap(({ name }) => times.get(name) ?? []);
}

describe("the maximum age", () => {
  test("tells each connection to reconnect after 12 minutes, 20 % either way, and no two at once", async () => {
    const bench = new Bench();
    const timers = bench.runtime.timersNow;
    const clients: Client[] = [];
    for (let index = 0; index < 300; index += 1) clients.push(await bench.join("a"));
    expect(bench.runtime.timersNow).toBe(timers);
    const times = await ages(bench, clients, 15 * MINUTE_MS);
    expect(times).toHaveLength(300);
    expect(Math.min(...times)).toBeGreaterThanOrEqual(9.6 * MINUTE_MS);
    // The wheel comes by twice an interval.
    expect(Math.max(...times)).toBeLessThanOrEqual(14.4 * MINUTE_MS + 9_000);
    for (let from = 10; from < 14; from += 1) {
      const inOne = times.filter((ms) => ms >= from * MINUTE_MS && ms < (from + 1) * MINUTE_MS);
      expect(inOne.length).toBeGreaterThan(30);
      expect(inOne.length).toBeLessThan(110);
    }
    const retries = clients.map(({ text }) => Number(GOODBYE.exec(text)?.[1]));
    expect(Math.min(...retries)).toBeGreaterThanOrEqual(500);
    expect(Math.max(...retries)).toBeLessThanOrEqual(1_500);
    expect(new Set(retries).size).toBeGreaterThan(150);
    const { metrics } = bench.hub;
    expect(metrics.get("sluice_disconnects_total", "max_age")).toBe(300);
    expect(metrics.get("sluice_evicted_total", "max_age")).toBe(0);
    expect(bench.hub.subscribersNow).toBe(0);
  });

  test("cuts nothing: who is behind goes when it has everything, and resumes exactly", async () => {
    const bench = new Bench({ heartbeat: { maxAgeJitter: 0, stallMs: 20 * MINUTE_MS } });
    const client = await bench.join("a");
    const busy = await bench.join("b");
    await bench.runtime.run(11 * MINUTE_MS);
    client.connection.block();
    await bench.publish("a", "1");
    await bench.runtime.run(2 * MINUTE_MS);
    expect([client.connection.isOpen, busy.connection.isOpen]).toEqual([true, false]);
    client.connection.release();
    await bench.publish("a", "2");
    await bench.runtime.run(10_000);
    expect(client.data).toEqual(["1", "2"]);
    expect(client.connection.endedBy).toBe("max_age");
    expect(client.text).toMatch(GOODBYE);
    const back = await bench.join("a", { start: client.lastEventId });
    expect([back.verdict, back.data]).toEqual(["exact", []]);
  });

  test("of zero is none, and a reader in this process has none", async () => {
    const bench = new Bench({ heartbeat: { maxAgeMs: 0 } });
    const ageless = await bench.join("a");
    const other = new Bench();
    const local = await other.join("a", { isLocal: true });
    await bench.runtime.run(60 * MINUTE_MS);
    await other.runtime.run(60 * MINUTE_MS);
    expect([ageless.connection.isOpen, local.connection.isOpen]).toEqual([true, true]);
  });

  test("waits while rotation is paused, and the end of the pause sends nobody away together", async () => {
    const bench = new Bench();
    const clients: Client[] = [];
    for (let index = 0; index < 200; index += 1) clients.push(await bench.join("a"));
    bench.hub.pauseRotation = () => true;
    expect(await ages(bench, clients, 40 * MINUTE_MS)).toEqual([]);
    bench.hub.pauseRotation = () => false;
    const times = await ages(bench, clients, 5 * MINUTE_MS);
    expect(times).toHaveLength(200);
    // Over 20 % of 12 minutes.
    for (let from = 0; from < 140_000; from += 20_000) {
      expect(times.filter((ms) => ms >= from && ms < from + 20_000).length).toBeLessThan(70);
    }
  });

  test("is no deadline while the process stood still", async () => {
    const bench = new Bench({ heartbeat: { maxAgeJitter: 0 } });
    const clients: Client[] = [];
    for (let index = 0; index < 50; index += 1) clients.push(await bench.join("a"));
    await bench.runtime.run(5 * MINUTE_MS);
    bench.runtime.elapse(10 * MINUTE_MS);
    await bench.runtime.run(6.5 * MINUTE_MS);
    expect(clients.every(({ connection }) => connection.isOpen)).toBe(true);
    await bench.runtime.run(MINUTE_MS);
    expect(clients.some(({ connection }) => connection.isOpen)).toBe(false);
  });
});
