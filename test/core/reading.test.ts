import { describe, expect, test } from "vitest";
import { BATCH_BYTES_MAX } from "../../src/core/batch.ts";
import type { Broker } from "../../src/core/broker.ts";
import { SluiceError } from "../../src/core/errors.ts";
import { METRICS } from "../../src/core/metrics.ts";
import { UnsteadyBroker } from "../../src/testing/index.ts";
import { createMemoryBroker } from "../../src/brokers/memory.ts";
import { Bench, texts } from "./bench.ts";

const PAD = "x".repeat(1_000);

describe("a subscriber that lags", () => {
  test("holds no more than a batch, reads the log from its cursor, and is live again", async () => {
    const bench = new Bench();
    const client = await bench.join("a");
    client.connection.block();
    for (let index = 0; index < 500; index += 1) {
      await bench.publish("a", PAD);
      await bench.runtime.runTurns();
      expect(client.connection.pendingBytes).toBeLessThanOrEqual(BATCH_BYTES_MAX);
    }
    expect(client.subscriber.state).toBe("reading");
    expect(bench.hub.metrics.plain.sluice_lagged_total).toBe(1);
    client.connection.release();
    await bench.runtime.runTurns();
    expect(client.seqs).toEqual(Array.from({ length: 500 }, (_, index) => index + 1));
    expect(client.subscriber.state).toBe("live");
    for (const { frames } of client.connection.batches) {
      expect(frames.length).toBeLessThanOrEqual(BATCH_BYTES_MAX + 1_100);
    }
  });

  test("gets back to live while its topic is published to in every turn", async () => {
    const bench = new Bench();
    const client = await bench.join("a");
    client.connection.block();
    await publishEachTurn(bench, 10);
    expect(client.subscriber.state).toBe("reading");
    client.connection.release();
    await publishEachTurn(bench, 10);
    expect(client.subscriber.state).toBe("live");
    const reads = bench.hub.metrics.plain.sluice_log_reads_total;
    await publishEachTurn(bench, 10);
    expect(bench.hub.metrics.plain.sluice_log_reads_total).toBe(reads);
    expect(client.seqs).toEqual(Array.from({ length: 30 }, (_, index) => index + 1));
  });

  test("is not starved by live readers that use up every slice", async () => {
    const bench = new Bench({ slices: { writesMax: 4 } });
    for (let index = 0; index < 8; index += 1) await bench.join("a");
    const late = await bench.join("a", { start: "earliest" });
    late.connection.block();
    await publishEachTurn(bench, 12);
    expect(late.subscriber.state).toBe("reading");
    late.connection.release();
    await publishEachTurn(bench, 12);
    expect(late.events.length).toBeGreaterThan(15);
    expect(late.subscriber.state).toBe("live");
  });

  test("is ended at the stall deadline, and resumes by its cursor", async () => {
    const bench = new Bench();
    const client = await bench.join("a");
    await bench.publish("a", "1");
    await bench.runtime.runTurns();
    client.connection.block();
    for (const text of ["2", "3"]) {
      await bench.publish("a", text);
      await bench.runtime.runTurns();
    }
    await bench.runtime.run(24_990);
    expect(client.connection.isOpen).toBe(true);
    // A tick of the wheel later at most.
    await bench.runtime.run(500);
    expect(client.connection.endedBy).toBe("slow_consumer");
    expect(bench.hub.metrics.get("sluice_disconnects_total", "slow_consumer")).toBe(1);
    const resumed = await bench.join("a", { start: client.lastEventId });
    expect([resumed.verdict, resumed.data]).toEqual(["exact", ["2", "3"]]);
  });

  test("is told of what was trimmed meanwhile, once", async () => {
    const bench = new Bench();
    await bench.hub.declare("t", "a", { retention: { countMax: 3 } });
    const client = await bench.join("a");
    client.connection.block();
    for (const text of texts(10)) {
      await bench.publish("a", text);
      await bench.runtime.runTurns();
    }
    client.connection.release();
    await bench.runtime.runTurns();
    expect(client.blocks.slice(2)).toEqual([
      "1@1",
      "gap trimmed",
      "primer 7",
      "8@8",
      "9@9",
      "10@10",
    ]);
    expect(client.gaps[0]).toMatchObject({ topics: ["a"] });
  });

  test("is told what one topic lost although another's floor is higher and was told already", async () => {
    const bench = new Bench();
    await bench.hub.declare("t", "a", { retention: { countMax: 1 } });
    for (const text of texts(40)) await bench.publish(text === "40" ? "a" : "b", "x".repeat(4_000));
    for (const text of texts(40)) await bench.publish("a", text);
    const opening = await bench.subscribe(["a", "b"], { start: "earliest" });
    const client = bench.attach(opening, {});
    // It has had a first batch of b; the rest is trimmed before it reads on.
    expect(client.seqs).toEqual(Array.from({ length: 17 }, (_, index) => index + 1));
    await bench.hub.declare("t", "b", { retention: { countMax: 2 } });
    await bench.runtime.runTurns();
    expect(client.seqs.slice(17)).toEqual([38, 39, 80]);
    expect(client.gaps.map(({ reason, topics }) => [reason, topics])).toEqual([["trimmed", ["b"]]]);
    expect(client.gaps[0]?.to.split(".")[1]).toBe("37");
  });

  test("sees of each key the newest where the policy is conflate, behind a gap that says so", async () => {
    const bench = new Bench();
    await bench.hub.declare("t", "a", { policy: "conflate" });
    const client = await bench.join("a");
    const publish = (data: string, key?: string): Promise<unknown> =>
      bench.hub.publish({ tenant: "t", topic: "a", events: [{ data, key }] });
    for (const data of ["x1", "y1", "x2"]) await publish(data, data[0]);
    await bench.runtime.runTurns();
    // Live readers that keep up get everything.
    expect(client.data).toEqual(["x1", "y1", "x2"]);
    const late = await bench.join("a", { start: "earliest" });
    expect(late.blocks).toEqual(["retry", "gap conflated", "primer 0", "y1@2", "x2@3"]);
    await publish("plain");
    await publish("y2", "y");
    await bench.runtime.runTurns();
    const later = await bench.join("a", { start: "earliest" });
    expect(later.data).toEqual(["x2", "plain", "y2"]);
  });
});

describe("a broker's blip (law 15)", () => {
  test("delays readers and publishers, loses nothing, and poisons nothing", async () => {
    let isDown = false;
    let calls = 0;
    const wrap = (inner: Broker): Broker => ({
      kind: inner.kind,
      attach: (...args) => inner.attach(...args),
      publish: (request) => inner.publish(request),
      declare: (...args) => inner.declare(...args),
      end: (...args) => inner.end(...args),
      close: () => inner.close(),
      read: async (request) => {
        calls += 1;
        if (isDown) throw new SluiceError("broker_unavailable", "down");
        return inner.read(request);
      },
    });
    const bench = new Bench({ wrap });
    const client = await bench.join("a");
    client.connection.block();
    for (const text of texts(3)) {
      await bench.publish("a", text);
      await bench.runtime.runTurns();
    }
    isDown = true;
    client.connection.release();
    calls = 0;
    await bench.runtime.run(20_000);
    // Backing off with jitter: a blip must not become a storm.
    expect(calls).toBeGreaterThan(3);
    expect(calls).toBeLessThan(60);
    isDown = false;
    await bench.runtime.run(6_000);
    expect([client.data, client.subscriber.state]).toEqual([texts(3), "live"]);
  });

  test("a join waits for the broker a while, and is refused when it does not come back", async () => {
    const bench = new Bench({
      wrap: (inner, runtime) => new UnsteadyBroker(() => inner, { runtime, delayMsMax: 0 }),
    });
    await bench.join("a");
    const unsteady = bench.hub.broker as UnsteadyBroker;
    unsteady.options = { ...unsteady.options, refusals: 1 };
    const refused = bench.runtime.resolve(bench.subscribe("a"));
    await expect(refused).rejects.toMatchObject({ code: "broker_unavailable" });
    const patient = bench.subscribe("a");
    await bench.runtime.run(1_000);
    unsteady.options = { ...unsteady.options, refusals: 0 };
    expect((await bench.runtime.resolve(patient)).verdict).toBe("exact");
    expect(bench.hub.subscribersNow).toBe(2);
  });

  test("another log under the same name is told as a gap, and read from its beginning", async () => {
    const bench = new Bench({
      wrap: (_inner, runtime) => {
        const make = (restarts: number): Broker =>
          createMemoryBroker({ runtime, incarnation: `${restarts}` });
        return new UnsteadyBroker(make, { runtime, delayMsMax: 10 });
      },
    });
    const client = await bench.join("a", { start: "earliest" });
    await bench.runtime.resolve(bench.publish("a", ...texts(5)));
    await bench.runtime.run(1_000);
    await (bench.hub.broker as UnsteadyBroker).restart();
    await bench.runtime.resolve(bench.publish("a", "new 1", "new 2"));
    await bench.runtime.run(1_000);
    expect(client.blocks.slice(7)).toEqual(["gap epoch", "primer 0", "new 1@1", "new 2@2"]);
  });

  test("another log between the answer and the connection is told behind the hello, which is not left out", async () => {
    const bench = new Bench({
      wrap: (_inner, runtime) => {
        const make = (restarts: number): Broker =>
          createMemoryBroker({ runtime, incarnation: `${restarts}` });
        return new UnsteadyBroker(make, { runtime, delayMsMax: 0 });
      },
    });
    await bench.publish("a", "old");
    const opening = await bench.runtime.resolve(bench.subscribe("a", { start: "earliest" }));
    await (bench.hub.broker as UnsteadyBroker).restart();
    await bench.publish("a", "new");
    await bench.runtime.run(1_000);
    const client = bench.attach(opening, { hasHello: true });
    await bench.runtime.run(1_000);
    expect(client.blocks).toEqual(["retry", "hello", "gap epoch", "primer 0", "new@1"]);
  });

  test("a hub that is closed while its broker answers takes nobody in", async () => {
    const bench = new Bench({
      wrap: (inner, runtime) => new UnsteadyBroker(() => inner, { runtime, delayMsMax: 50 }),
    });
    const codes: string[] = [];
    for (const text of texts(10)) {
      const refuse = ({ code }: SluiceError): void => void codes.push(code);
      bench.subscribe("a", { tenant: text }).then(() => codes.push("let in"), refuse);
    }
    await bench.runtime.runTurn();
    await bench.hub.close();
    await bench.runtime.run(500);
    expect([...new Set(codes)].sort()).toEqual(["broker_unavailable", "shutting_down"]);
    expect(codes).toHaveLength(10);
    expect(bench.hub.metrics.get("sluice_subscribers", "reading")).toBe(0);
  });
});

describe("gauges", () => {
  test("law 23: return to exactly zero after churn", async () => {
    const bench = new Bench();
    for (let round = 0; round < 5; round += 1) {
      const clients = [];
      for (const topics of [["a"], ["a", "b"], ["*"], ["b/*"], ["**"], ["c"]]) {
        clients.push(await bench.join(topics, { tenant: `t${round}` }));
      }
      void bench.publishAs(`t${round}`, "a", "1");
      await bench.runtime.runTurn();
      for (const client of clients.reverse()) client.connection.cut();
      (await bench.subscribe("abandoned")).abandon();
    }
    await bench.runtime.run(12_000);
    bench.hub.measure();
    for (const { name, label, value } of bench.hub.metrics.samples()) {
      if (METRICS[name].type === "gauge") expect(value, `${name} ${label}`).toBe(0);
    }
    expect(bench.hub.subscribersNow).toBe(0);
  });

  test("law 23: return to zero when the hub is closed under its readers, and no timer is left", async () => {
    const bench = new Bench();
    const clients = [await bench.join("a"), await bench.join("*")];
    await bench.hub.close();
    await bench.runtime.run(10_000);
    bench.hub.measure();
    for (const { name, label, value } of bench.hub.metrics.samples()) {
      if (METRICS[name].type === "gauge") expect(value, `${name} ${label}`).toBe(0);
    }
    expect(clients.map(({ connection }) => connection.closedCount)).toEqual([1, 1]);
    expect(bench.runtime.timersNow).toBe(0);
  });
});

async function publishEachTurn(bench: Bench, turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn += 1) {
    void bench.publish("a", PAD);
    await bench.runtime.runTurn();
  }
}
