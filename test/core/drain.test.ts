import { describe, expect, test } from "vitest";
import type { Broker } from "../../src/core/broker.ts";
import { Drain } from "../../src/core/drain.ts";
import type { DrainOptions } from "../../src/core/drain.ts";
import { Bench, texts } from "./bench.ts";
import type { Client } from "./bench.ts";

const GOODBYE = /\n\nretry: (\d+)\n\nevent: close\ndata: pool_draining\n\n/;

async function crowd(bench: Bench, count: number): Promise<Client[]> {
  const clients: Client[] = [];
  for (let index = 0; index < count; index += 1) clients.push(await bench.join("a"));
  return clients;
}

function drainOf(bench: Bench, options: Partial<DrainOptions> = {}): Drain {
  return new Drain(bench.hub, bench.runtime, options);
}

/** The methods of a class, as members of its own that can be spread. */
function bound(broker: Broker): Broker {
  return {
    kind: broker.kind,
    attach: (tenant, tail) => broker.attach(tenant, tail),
    publish: (request) => broker.publish(request),
    read: (request) => broker.read(request),
    end: (tenant, topic, reason) => broker.end(tenant, topic, reason),
    declare: (tenant, topic, settings) => broker.declare(tenant, topic, settings),
    close: () => broker.close(),
  };
}

function told(clients: readonly Client[]): Client[] {
  return clients.filter(({ text }) => GOODBYE.test(text));
}

test("without a connection it is over at once, and nothing is left running", async () => {
  const bench = new Bench();
  const timers = bench.runtime.timersNow;
  const report = await bench.runtime.resolve(drainOf(bench).start(), 0);
  expect(report).toMatchObject({ total: 0, isForced: false, durationMs: 0 });
  expect(bench.runtime.timersNow).toBe(timers);
});

test("goodbye is said at the pace that was set, and exactly in the words of the protocol", async () => {
  const bench = new Bench();
  const clients = await crowd(bench, 300);
  const drain = drainOf(bench, { perSecond: 100, deadlineMs: 60_000, ackWaitMs: 30_000 });
  void drain.start();
  await bench.runtime.run(1_000);
  expect(told(clients).length).toBeGreaterThanOrEqual(90);
  expect(told(clients).length).toBeLessThanOrEqual(110);
  await bench.runtime.run(2_500);
  expect(told(clients)).toHaveLength(300);
  const retries = clients.map(({ text }) => Number(GOODBYE.exec(text)?.[1]));
  expect(Math.min(...retries)).toBeGreaterThanOrEqual(500);
  expect(Math.max(...retries)).toBeLessThanOrEqual(1_500);
  expect(new Set(retries).size).toBeGreaterThan(100);
  await bench.hub.close();
});

test("the pace rises so that all are told within half of the time", async () => {
  const bench = new Bench();
  const clients = await crowd(bench, 400);
  void drainOf(bench, { perSecond: 1, deadlineMs: 4_000, ackWaitMs: 3_000 }).start();
  await bench.runtime.run(2_100);
  expect(told(clients)).toHaveLength(400);
  await bench.hub.close();
});

test("it waits for load balancers before the first goodbye; who leaves meanwhile has left", async () => {
  const bench = new Bench();
  const clients = await crowd(bench, 2);
  const drain = drainOf(bench, { waitMs: 1_000 });
  const report = drain.start();
  await bench.runtime.run(900);
  expect([told(clients).length, drain.progress.state]).toEqual([0, "waiting"]);
  clients[0]?.connection.cut("client_closed");
  await bench.runtime.run(200);
  expect([told(clients).length, drain.progress.state]).toEqual([1, "draining"]);
  clients[1]?.subscriber.ack();
  expect(await bench.runtime.resolve(report)).toMatchObject({
    total: 2,
    byHow: { left: 1, ack: 1 },
  });
});

describe("each connection is counted once, by how it ended:", () => {
  test("P06 an ACK ends the response cleanly, at once", async () => {
    const bench = new Bench();
    const [client] = await crowd(bench, 1);
    const report = drainOf(bench).start();
    await bench.runtime.run(100);
    expect(client?.connection.isOpen).toBe(true);
    expect([client?.subscriber.ack(), client?.subscriber.ack()]).toEqual([true, false]);
    expect(client?.connection.endedBy).toBe("pool_draining");
    expect(await bench.runtime.resolve(report, 10)).toMatchObject({ total: 1, byHow: { ack: 1 } });
    expect(bench.hub.metrics.get("sluice_drain_closed_total", "ack")).toBe(1);
  });

  test("the client closes its connection, which acknowledges too", async () => {
    const bench = new Bench();
    const [client] = await crowd(bench, 1);
    const report = drainOf(bench).start();
    await bench.runtime.run(100);
    client?.connection.cut("client_closed");
    expect(await bench.runtime.resolve(report, 10)).toMatchObject({ byHow: { closed: 1 } });
    expect(bench.hub.metrics.get("sluice_disconnects_total", "pool_draining")).toBe(1);
  });

  test("P07 a client that does neither costs the ACK's deadline, no more, and is ended cleanly", async () => {
    const bench = new Bench();
    const [client] = await crowd(bench, 1);
    const report = await bench.runtime.resolve(drainOf(bench, { ackWaitMs: 3_000 }).start());
    expect(report).toMatchObject({ byHow: { ack_timeout: 1 }, isForced: false });
    expect(report.durationMs).toBeGreaterThanOrEqual(3_000);
    expect(report.durationMs).toBeLessThan(3_100);
    expect(client?.connection.closedCount).toBe(1);
  });

  test("while an ACK is awaited a comment each half second shows who has gone behind a proxy", async () => {
    const bench = new Bench();
    const [client] = await crowd(bench, 1);
    void drainOf(bench, { ackWaitMs: 2_900 }).start();
    await bench.runtime.run(2_700);
    expect(client?.text.match(/pool_draining\n\n((?:: heartbeat\n\n)*)$/)?.[1]).toBe(
      ": heartbeat\n\n".repeat(5),
    );
    await bench.hub.close();
  });
});

describe("law 20: active streams are never cut before the deadline, and are cut then:", () => {
  test("one that lags is told when its bytes have left, the idle ones before", async () => {
    const bench = new Bench();
    const [busy, idle] = (await crowd(bench, 2)) as [Client, Client];
    busy.connection.block();
    await bench.publish("a", ...texts(3));
    await bench.runtime.runTurns();
    const report = drainOf(bench).start();
    await bench.runtime.run(5_000);
    expect([GOODBYE.test(busy.text), GOODBYE.test(idle.text)]).toEqual([false, true]);
    await bench.publish("a", "4");
    busy.connection.release();
    await bench.runtime.run(100);
    // What it was behind by is sent first: nothing is lost, and nothing follows goodbye.
    expect(busy.data).toEqual(["1", "2", "3", "4"]);
    expect(busy.text).toMatch(/pool_draining\n\n$/);
    busy.subscriber.ack();
    expect(await bench.runtime.resolve(report)).toMatchObject({
      byHow: { ack: 1, ack_timeout: 1 },
      isForced: false,
    });
  });

  test("one that replays is told when the replay has ended", async () => {
    const bench = new Bench({
      wrap: (broker, runtime) => ({
        ...bound(broker),
        read: async (request) => {
          await new Promise<void>((resolve) => void runtime.after(300, resolve));
          return broker.read(request);
        },
      }),
    });
    for (let index = 0; index < 5; index += 1) await bench.publish("a", "x".repeat(60_000));
    const client = await bench.join("a", { start: "earliest" });
    const report = drainOf(bench).start();
    await bench.runtime.run(500);
    expect([client.subscriber.state, GOODBYE.test(client.text)]).toEqual(["reading", false]);
    await bench.runtime.run(2_000);
    expect([client.events.length, GOODBYE.test(client.text)]).toEqual([5, true]);
    client.subscriber.ack();
    expect(await bench.runtime.resolve(report)).toMatchObject({ byHow: { ack: 1 } });
  });

  test("at the deadline the rest is closed, and counted as forced", async () => {
    // Without the stall deadline, which would end it as well.
    const bench = new Bench({ heartbeat: { stallMs: 600_000 } });
    const [stuck, other] = (await crowd(bench, 2)) as [Client, Client];
    stuck.connection.block();
    await bench.publish("a", "1");
    await bench.runtime.runTurns();
    const drain = drainOf(bench, { deadlineMs: 4_000 });
    const report = drain.start();
    await bench.runtime.run(100);
    other.subscriber.ack();
    await bench.runtime.run(3_800);
    expect(stuck.connection.isOpen).toBe(true);
    const { durationMs, ...rest } = await bench.runtime.resolve(report);
    expect(rest).toMatchObject({ total: 2, byHow: { ack: 1, deadline: 1 }, isForced: true });
    expect(durationMs).toBeLessThanOrEqual(4_600);
    expect(bench.hub.metrics.get("sluice_drain_closed_total", "deadline")).toBe(1);
  });

  test("one that can still be told is told at the deadline", async () => {
    const bench = new Bench();
    const [client] = (await crowd(bench, 1)) as [Client];
    const drain = drainOf(bench, { waitMs: 60_000 });
    void drain.start();
    const report = await bench.runtime.resolve(drain.endNow(), 600);
    expect(GOODBYE.test(client.text)).toBe(true);
    expect(report).toMatchObject({ byHow: { deadline: 1 }, isForced: true });
  });
});

test("P11 a subscription that was under way when it began is told like the others", async () => {
  const bench = new Bench();
  await crowd(bench, 1);
  const drain = drainOf(bench, { ackWaitMs: 1_000 });
  const report = drain.start();
  await bench.runtime.run(500);
  const late = await bench.join("a");
  await bench.runtime.run(100);
  expect(GOODBYE.test(late.text)).toBe(true);
  expect(await bench.runtime.resolve(report)).toMatchObject({
    total: 2,
    byHow: { ack_timeout: 2 },
  });
});

test("one timer serves five thousand connections, and a second start is the first", async () => {
  const bench = new Bench();
  const clients = await crowd(bench, 5_000);
  const timers = bench.runtime.timersNow;
  const drain = drainOf(bench);
  const report = drain.start();
  expect(drain.start()).toBe(report);
  await bench.runtime.run(3_000);
  expect(bench.runtime.timersNow).toBe(timers + 1);
  expect(drain.progress.told).toBeGreaterThan(2_800);
  const answered = new Set<Client>();
  while (!drain.isDrained) {
    for (const client of clients) {
      if (answered.has(client) || client.subscriber.farewell === undefined) continue;
      client.subscriber.ack();
      answered.add(client);
    }
    await bench.runtime.run(100);
  }
  const { durationMs, ...rest } = await report;
  expect(rest).toMatchObject({ total: 5_000, byHow: { ack: 5_000 }, isForced: false });
  expect(durationMs).toBeLessThan(6_000);
  expect(bench.runtime.timersNow).toBe(timers);
}, 60_000);

test("law 23 every gauge is at zero when it is over", async () => {
  const bench = new Bench();
  const clients = await crowd(bench, 50);
  const report = drainOf(bench, { deadlineMs: 3_000, ackWaitMs: 500 }).start();
  expect(bench.hub.metrics.plain.sluice_draining).toBe(1);
  for (const [index, client] of clients.entries()) if (index % 3 === 0) client.connection.block();
  await bench.publish("a", "1");
  await bench.runtime.run(50);
  for (const [index, client] of clients.entries()) if (index % 3 === 1) client.connection.cut();
  await bench.runtime.resolve(report);
  expect(bench.hub.metrics.plain.sluice_draining).toBe(0);
  bench.hub.measure();
  expect([bench.hub.connectionsNow, bench.hub.metrics.plain.sluice_routes]).toEqual([0, 0]);
  for (const state of ["reading", "live", "draining"]) {
    expect(bench.hub.metrics.get("sluice_subscribers", state)).toBe(0);
  }
});
