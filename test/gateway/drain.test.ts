import { connect } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { createMemoryBroker } from "../../src/brokers/memory.ts";
import type { Broker } from "../../src/core/broker.ts";
import { Hub } from "../../src/core/hub.ts";
import { startServer } from "../../src/gateway/server.ts";
import type { RunningServer } from "../../src/gateway/server.ts";
import { systemRuntime } from "../../src/internal/clock.ts";
import { eventually, openStream, post, rawClient, send, startWorld } from "./support.ts";
import type { OpenStream, Reply, World } from "./support.ts";

const TOPIC = "/v1/topics/a";

function ack(world: { url: string }, { headers }: OpenStream): Promise<Reply> {
  const path = `/v1/connections/${String(headers["sluice-connection"])}/ack`;
  return send(world, path, { method: "POST" });
}

async function crowd(world: World, count: number): Promise<OpenStream[]> {
  return Promise.all(Array.from({ length: count }, () => openStream(world, TOPIC)));
}

test("P06 clients that acknowledge are let go, and everything is closed", async () => {
  const world = await startWorld();
  const streams = await crowd(world, 50);
  const drained = world.drain();
  await Promise.all(
    streams.map(async (stream) => {
      await stream.take(1);
      expect((await ack(world, stream)).status).toBe(204);
      expect(await stream.ended).toBe(true);
    }),
  );
  expect(await drained).toMatchObject({ total: 50, byHow: { ack: 50 }, isForced: false });
  for (const { events } of streams) {
    expect(events).toMatchObject([{ event: "close", data: "pool_draining" }]);
  }
  await expect(send(world, TOPIC)).rejects.toThrow("ECONNREFUSED");
  await expect(send({ url: world.adminUrl }, "/livez")).rejects.toThrow("ECONNREFUSED");
});

test("P11 while it drains readiness fails, publishes are answered, and new subscriptions get what they survive", async () => {
  const world = await startWorld();
  const [stream] = (await crowd(world, 1)) as [OpenStream];
  const drained = world.drain({ ackWaitMs: 60_000, deadlineMs: 60_000 });
  const ready = await send({ url: world.adminUrl }, "/readyz");
  expect([ready.status, ready.json]).toEqual([
    503,
    { status: "draining", reason: "pool_draining" },
  ]);
  expect((await send({ url: world.adminUrl }, "/livez")).status).toBe(200);
  await stream.take(1);
  const published = await post(world, TOPIC, "x");
  expect([published.status, published.headers["connection"]]).toEqual([201, "close"]);
  const plain = await send(world, TOPIC);
  expect([plain.status, plain.headers["connection"]]).toEqual([503, "close"]);
  const headers = { Accept: "text/event-stream", "Sec-Fetch-Mode": "cors" };
  const browser = await send(world, TOPIC, { headers });
  expect([browser.status, browser.headers["connection"]]).toEqual([200, "close"]);
  expect(browser.text).toMatch(
    /^retry: \d+\n\nevent: close\ndata: (overloaded|pool_draining)\n\n$/,
  );
  expect(world.hub.connectionsNow).toBe(1);
  await ack(world, stream);
  expect(await drained).toMatchObject({ total: 1, byHow: { ack: 1 } });
});

test("the drain waits for no connection without anything under way: kept alive, or silent from the start", async () => {
  const world = await startWorld();
  const [stream] = (await crowd(world, 1)) as [OpenStream];
  const kept = rawClient(world.port);
  kept.send(`POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx`);
  await kept.until("}\n");
  // Browsers open some ahead.
  const silent = connect({ host: "127.0.0.1", port: world.port });
  onTestFinished(() => void silent.destroy());
  await new Promise((resolve) => silent.once("connect", resolve));
  const half = rawClient(world.port);
  half.send("GET /v1/topics/a HTTP/1.1\r\nHost: loc");
  const admin = rawClient(Number(new URL(world.adminUrl).port));
  admin.send("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await admin.until("ok\n");
  const drained = world.drain({ deadlineMs: 60_000, ackWaitMs: 60_000 });
  await stream.take(2);
  await ack(world, stream);
  const at = performance.now();
  await drained;
  // Far from the deadline; the windows are 50 ms and 200 ms, the rest is a busy machine's.
  expect(performance.now() - at).toBeLessThan(10_000);
  await Promise.all([kept.closed, half.closed, admin.closed]);
});

test("a publish that is under way when the last subscriber goes is answered", async () => {
  const world = await startWorld();
  const [stream] = (await crowd(world, 1)) as [OpenStream];
  const publisher = rawClient(world.port);
  publisher.send(
    `POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n`,
  );
  await publisher.until("100 Continue");
  const drained = world.drain();
  await stream.take(1);
  await ack(world, stream);
  await eventually(() => world.progress().state === "drained");
  publisher.send("x");
  expect(await publisher.closed).toMatch(/201 Created\r\n(?:[^]+\r\n)?Connection: close\r\n/);
  await drained;
});

test("law 20 a publisher that hangs is cut at the deadline", async () => {
  const world = await startWorld();
  const publisher = rawClient(world.port);
  publisher.send(
    `POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n`,
  );
  await publisher.until("100 Continue");
  const at = performance.now();
  await world.drain({ deadlineMs: 800 });
  expect(performance.now() - at).toBeGreaterThanOrEqual(700);
  await publisher.closed;
});

test("pipelined publishes are all answered while it drains, and the last answer closes", async () => {
  const world = await startWorld();
  await crowd(world, 1);
  void world.drain();
  const client = rawClient(world.port);
  const one = `POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx`;
  client.send(one.repeat(5));
  const text = await client.closed;
  expect(text.match(/HTTP\/1\.1 201 Created/g)).toHaveLength(5);
  expect(text.match(/Connection: close/g)).toHaveLength(1);
  expect(world.hub.metrics.plain.sluice_publications_total).toBe(5);
});

test("law 20 a reader that takes nothing holds it up until the deadline, and is counted", async () => {
  const world = await startWorld();
  const client = rawClient(world.port);
  client.send(`GET ${TOPIC} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  await client.until("\n\n", 2);
  client.socket.pause();
  const isPending = (): boolean => [...world.hub.subscribers()].some((one) => one.isPending);
  while (!isPending()) await post(world, TOPIC, "x".repeat(1_000_000));
  const report = await world.drain({ deadlineMs: 500 });
  expect(report).toMatchObject({ total: 1, byHow: { deadline: 1 }, isForced: true });
  expect(world.hub.metrics.get("sluice_drain_closed_total", "deadline")).toBe(1);
  expect(world.hub.connectionsNow).toBe(0);
});

test("POST /drain starts it, GET shows it, and with wait=1 the answer lasts until its end", async () => {
  const world = await startWorld();
  const admin = { url: world.adminUrl };
  expect((await send(admin, "/drain")).json).toMatchObject({ state: "serving", left: 0 });
  const [stream] = (await crowd(world, 1)) as [OpenStream];
  let hasBegun = false;
  void world.draining.then(() => (hasBegun = true));
  const started = await send(admin, "/drain", { method: "POST" });
  expect([started.status, started.json["state"], started.json["total"]]).toEqual([
    202,
    "draining",
    1,
  ]);
  expect(hasBegun).toBe(true);
  const waiting = await fetch(`${world.adminUrl}/drain?wait=1`, { method: "POST" });
  expect([waiting.status, waiting.headers.get("content-type")]).toEqual([
    202,
    "application/x-ndjson",
  ]);
  await stream.take(1);
  expect((await send(admin, "/drain")).json).toMatchObject({ left: 1, told: 1 });
  await ack(world, stream);
  const last = (await waiting.text()).trimEnd().split("\n").at(-1) ?? "";
  expect(JSON.parse(last)).toMatchObject({
    state: "drained",
    total: 1,
    byHow: { ack: 1 },
    isForced: false,
  });
  // The same one.
  expect(await world.drain()).toMatchObject({ total: 1 });
});

/** The broker of a machine that outlives the gateways in front of it. */
function lasting(): Broker {
  const broker = createMemoryBroker();
  const close = broker.close.bind(broker);
  onTestFinished(close);
  broker.close = async () => {};
  return broker;
}

async function instance(broker: Broker, port = 0): Promise<RunningServer & { hub: Hub }> {
  const hub = new Hub({ broker, runtime: systemRuntime() });
  const options = { host: "127.0.0.1", port, adminHost: "127.0.0.1", adminPort: 0 };
  const server = await startServer(hub, options);
  onTestFinished(() => server.close());
  return { ...server, hub };
}

test("P07 P09 clients that never acknowledge, or are cut off in the middle, resume exactly on another instance", async () => {
  const broker = lasting();
  const old = await instance(broker);
  const silent = await openStream(old, `${TOPIC}?last_event_id=earliest`);
  await post(old, TOPIC, "1");
  await silent.take(1);
  const drained = old.drain({ ackWaitMs: 100 });
  await silent.take(2);
  // Told goodbye, and there is more: what is published from here on is the next instance's to deliver.
  const next = await instance(broker);
  await post(next, TOPIC, "2");
  expect(await drained).toMatchObject({ byHow: { ack_timeout: 1 }, isForced: false });
  expect(await silent.ended).toBe(true);
  const resumed = await openStream(next, TOPIC, {
    "last-event-id": silent.events[0]?.lastEventId ?? "",
  });
  await post(next, TOPIC, "3");
  expect((await resumed.take(2)).map(({ data }) => data)).toEqual(["2", "3"]);
  const { metrics } = next.hub;
  expect(metrics.get("sluice_subscriptions_total", "exact")).toBe(1);
  expect(old.hub.metrics.get("sluice_disconnects_total", "pool_draining")).toBe(1);
  expect(old.hub.metrics.get("sluice_evicted_total", "pool_draining")).toBe(0);
});

test("P10 a publish that is appended and not answered when the drain ends is there once, after a retry elsewhere", async () => {
  const broker = lasting();
  const publish = broker.publish.bind(broker);
  let release = (): void => {};
  const appended = new Promise<void>((resolve) => {
    broker.publish = async (request) => {
      const receipt = await publish(request);
      broker.publish = publish;
      resolve();
      await new Promise<void>((go) => (release = go));
      return receipt;
    };
  });
  const old = await instance(broker);
  const headers = { "Idempotency-Key": "k1" };
  const answer = post(old, TOPIC, "x", headers).catch((error: Error) => error);
  await appended;
  await old.drain({ deadlineMs: 300 });
  // Unknown, as far as its publisher can tell.
  expect(await answer).toBeInstanceOf(Error);
  release();
  const next = await instance(broker);
  const retried = await post(next, TOPIC, "x", headers);
  expect([retried.status, retried.json["duplicate"]]).toEqual([200, true]);
  const reader = await openStream(next, `${TOPIC}?last_event_id=earliest`);
  await post(next, TOPIC, "y");
  expect((await reader.take(2)).map(({ data }) => data)).toEqual(["x", "y"]);
});

test("P11 law 23 subscribing against leaving against the drain: each client has an answer, and every gauge ends at zero", async () => {
  const world = await startWorld();
  const headers = { Accept: "text/event-stream", "Sec-Fetch-Mode": "cors" };
  const outcomes: Promise<string>[] = [];
  const subscribe = async (index: number): Promise<string> => {
    const stream = await openStream(world, `/v1/topics/t/${index % 7}`, headers);
    if (index % 5 === 0) {
      stream.cut();
      return "left";
    }
    await stream.take(1);
    if (index % 3 === 0) await ack(world, stream).catch(() => {});
    expect(await stream.ended).toBe(true);
    return String(stream.events.at(-1)?.data);
  };
  let drained: Promise<unknown> | undefined;
  for (let index = 0; index < 300; index += 1) {
    outcomes.push(subscribe(index));
    if (index === 150) drained = world.drain({ ackWaitMs: 1_000 });
    if (index % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const settled = await Promise.allSettled(outcomes);
  const seen = new Set(
    settled.map((one) => (one.status === "fulfilled" ? one.value : String(one.reason))),
  );
  // Nothing else: no reset, and the listener is there until the last one has gone.
  for (const outcome of seen) {
    expect(["left", "pool_draining", "overloaded"]).toContain(outcome);
  }
  expect(seen).toContain("pool_draining");
  await drained;
  const { metrics, connectionsNow } = world.hub;
  world.hub.measure();
  expect([connectionsNow, metrics.plain.sluice_routes, metrics.plain.sluice_draining]).toEqual([
    0, 0, 0,
  ]);
  for (const state of ["reading", "live", "draining"]) {
    expect(metrics.get("sluice_subscribers", state)).toBe(0);
  }
  expect([metrics.plain.sluice_connections, metrics.plain.sluice_pending_bytes]).toEqual([0, 0]);
});
