import { Agent, createServer, request as httpRequest } from "node:http";
import { connect as connectTls } from "node:tls";
import type { TLSSocket } from "node:tls";
import { setTimeout as delay } from "node:timers/promises";
import { expect, onTestFinished, test, vi } from "vitest";
import { createGateway, createHub } from "../../src/index.ts";
import { readTlsIdentity } from "../../src/gateway/tls.ts";
import { makeCertificate } from "../support/certificate.ts";
import { describeWith, needs } from "../support/programs.ts";
import { startChild } from "./child.ts";
import { isAdmitted, isAnswered, isRefused, openMany, settled } from "./many.ts";
import { openStream, post, rawClient, send, startWorld } from "./support.ts";
import type { World } from "./support.ts";

const TOPIC = "/v1/topics/a";

/** One answered publish on a connection that stays open. */
async function keptAlive(world: World) {
  const client = rawClient(world.port);
  client.send(publish());
  await client.until('"memory"}');
  return client;
}

function publish(): string {
  return `POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx`;
}

test("between 90 % and 100 % new connections publish, and only subscriptions are refused", async () => {
  const said: unknown[][] = [];
  const note = (...line: unknown[]): void => void said.push(line);
  const logger = { debug: () => {}, info: note, warn: note, error: note };
  const world = await startWorld({ logger, gateway: { admission: { maxConnections: 10 } } });
  const streams = [];
  for (let index = 0; index < 9; index += 1) streams.push(await openStream(world, TOPIC));
  expect(streams.map(({ status }) => status)).toEqual(Array.from({ length: 9 }, () => 200));
  expect((await send(world, TOPIC)).status).toBe(503);
  expect((await post(world, TOPIC, "x")).status).toBe(201);
  expect(world.hub.metrics.plain.sluice_breaker_open).toBe(1);
  streams[0]?.cut();
  await vi.waitFor(() => expect(world.hub.metrics.plain.sluice_breaker_open).toBe(0));
  expect((await openStream(world, TOPIC)).status).toBe(200);
  const facts = { trigger: "capacity", connectionsMax: 10 };
  expect(said.filter(([, message]) => String(message).startsWith("breaker"))).toEqual([
    [{ ...facts, connectionsNow: 10 }, "breaker opened: new subscriptions are refused"],
    [{ ...facts, connectionsNow: 8 }, "breaker closed"],
  ]);
  expect(world.hub.metrics.get("sluice_breaker_opened_total", "capacity")).toBe(1);
});

test("at 100 % connections that wait for nothing are closed first, the idlest first", async () => {
  const world = await startWorld({ gateway: { admission: { maxConnections: 4 } } });
  const stream = await openStream(world, TOPIC);
  const idle = [await keptAlive(world), await keptAlive(world), await keptAlive(world)];
  const { plain } = world.hub.metrics;
  expect(plain.sluice_connections).toBe(4);
  const late = await keptAlive(world);
  await idle[0]?.closed;
  expect(late.text).toMatch(/^HTTP\/1\.1 201 /);
  idle[1]?.send(publish());
  await idle[1]?.until('"memory"}', 2);
  await keptAlive(world);
  // The second has been used since; the third has waited for longest.
  await idle[2]?.closed;
  expect([idle[1]?.socket.destroyed, stream.status]).toEqual([false, 200]);
  expect(world.hub.metrics.get("sluice_rejected_total", "capacity")).toBe(0);
});

test("beyond 100 %, with nothing idle, any request on a new connection is refused, and later ones are not", async () => {
  const world = await startWorld({
    gateway: { admission: { maxConnections: 3, openPercent: 100, closePercent: 99 } },
  });
  const streams = [];
  for (let index = 0; index < 3; index += 1) streams.push(await openStream(world, TOPIC));
  const { status, text, headers } = await post(world, TOPIC, "x".repeat(100_000));
  expect([status, text]).toEqual([503, "Connection pool exhausted. Retry in 30s."]);
  expect(headers["connection"]).toBe("close");
  expect(world.hub.metrics.plain.sluice_publications_total).toBe(0);
  streams[0]?.cut();
  await vi.waitFor(() => expect(world.hub.metrics.plain.sluice_connections).toBe(2));
  expect((await post(world, TOPIC, "x")).status).toBe(201);
});

test("far beyond it connections are told at accept, and closed without a reset", async () => {
  const world = await startWorld({
    gateway: { admission: { maxConnections: 5, descriptorsMax: 200 } },
  });
  // They ask for nothing and wait: each holds a descriptor.
  const silent = Array.from({ length: 5 + 48 }, () => rawClient(world.port));
  const { plain } = world.hub.metrics;
  await vi.waitFor(() => expect(plain.sluice_connections).toBeGreaterThan(40));
  const asking = openMany({ port: world.port, count: 40 });
  const mute = rawClient(world.port);
  await settled(asking, isRefused);
  expect(asking.filter((client) => !isRefused(client) || client.error !== undefined)).toEqual([]);
  expect(await mute.closed).toMatch(
    /^HTTP\/1\.1 503 Service Unavailable\r\n[^]*\r\nConnection: close\r\n\r\nConnection pool exhausted\. Retry in 30s\.$/,
  );
  for (const { socket } of silent) socket.destroy();
  await vi.waitFor(() => expect(plain.sluice_connections).toBe(0));
});

test("law 23 after streams, refusals, publishes, waiters and cuts every gauge is zero", async () => {
  const world = await startWorld({
    gateway: {
      admission: { maxConnections: 40, perSecond: 50, burst: 10, waitMs: 1_000, perIpMax: 30 },
    },
  });
  for (let round = 0; round < 3; round += 1) {
    const clients = openMany({ port: world.port, count: 60 });
    const publishes = Array.from({ length: 5 }, () => post(world, TOPIC, "x").catch(() => {}));
    await delay(round * 40);
    for (const { socket } of clients) socket.destroy();
    await Promise.all(publishes);
  }
  const { metrics } = world.hub;
  await vi.waitFor(
    () => {
      const gauges = [
        metrics.plain.sluice_connections,
        metrics.plain.sluice_admission_waiting,
        metrics.plain.sluice_breaker_open,
        metrics.plain.sluice_loop_delay_seconds,
        world.hub.subscribersNow,
        world.hub.connectionsNow,
      ];
      expect(gauges).toEqual([0, 0, 0, 0, 0, 0]);
    },
    { timeout: 10_000 },
  );
  const opened = metrics.plain.sluice_connections_opened_total;
  expect(opened).toBeGreaterThan(60);
  expect((await openStream(world, TOPIC)).status).toBe(200);
});

test("a subscription that waits costs its place no longer than its client is there", async () => {
  const world = await startWorld({ gateway: { admission: { perSecond: 1, burst: 1 } } });
  await openStream(world, TOPIC);
  const clients = openMany({ port: world.port, count: 4 });
  const { plain } = world.hub.metrics;
  await vi.waitFor(() => expect(plain.sluice_admission_waiting).toBe(4));
  for (const { socket } of clients.slice(0, 3)) socket.destroy();
  await vi.waitFor(() => expect(plain.sluice_admission_waiting).toBe(1));
  // The fourth has the first place now.
  await settled(clients.slice(3), isAdmitted);
  expect(plain.sluice_admission_delayed_total).toBe(1);
  expect(clients.filter(isAdmitted)).toHaveLength(1);
});

test("connections of a server of somebody else count from their first request on", async () => {
  const hub = createHub();
  const gateway = createGateway(hub, { admission: { maxConnections: 1 } });
  const server = createServer((request, response) => gateway.handler(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await hub.close();
  });
  const [first] = openMany({ port, count: 1 });
  if (first === undefined) throw new Error("there is no client");
  await settled([first], isAdmitted);
  const [second] = openMany({ port, count: 1 });
  if (second === undefined) throw new Error("there is no client");
  await settled([second], isRefused);
  expect([isAdmitted(first), isRefused(second)]).toEqual([true, true]);
});

test("a connection that is used again and again is one connection", async () => {
  const world = await startWorld();
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  for (let index = 0; index < 20; index += 1) {
    await new Promise<void>((resolve, reject) => {
      const sent = httpRequest(`${world.url}${TOPIC}`, { method: "POST", agent }, (response) =>
        response.resume().once("end", resolve),
      );
      sent.once("error", reject).end("x");
    });
  }
  const { plain } = world.hub.metrics;
  expect([plain.sluice_connections_opened_total, plain.sluice_connections]).toEqual([1, 1]);
});

describeWith({ openssl: needs("openssl") }, "with TLS", ({ openssl }) => {
  test("sockets are counted, idle ones make room, and the refusal is the same", async () => {
    const tls = readTlsIdentity(makeCertificate(openssl));
    const world = await startWorld({
      server: { tls },
      gateway: { admission: { maxConnections: 3, openPercent: 67, closePercent: 60 } },
    });
    const { plain } = world.hub.metrics;
    const open = (request: string): { text: () => string; socket: TLSSocket } => {
      const socket = connectTls({ port: world.port, host: "127.0.0.1", rejectUnauthorized: false });
      onTestFinished(() => void socket.destroy());
      let text = "";
      socket.on("error", () => {});
      socket.on("data", (chunk) => (text += String(chunk)));
      socket.write(request);
      return { text: () => text, socket };
    };
    const subscription = `GET ${TOPIC} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
    const streams = [open(subscription), open(subscription)];
    await vi.waitFor(() => expect(world.hub.connectionsNow).toBe(2));
    const idle = open(publish());
    await vi.waitFor(() => expect(idle.text()).toContain("201 Created"));
    expect(plain.sluice_connections).toBe(3);
    const late = open(subscription);
    await vi.waitFor(() => expect(late.text()).toMatch(/^HTTP\/1\.1 503 [^]*Retry in 30s\.$/));
    await vi.waitFor(() => expect(idle.socket.closed).toBe(true));
    for (const { socket } of streams) socket.destroy();
    await vi.waitFor(() => expect(plain.sluice_connections).toBe(0));
  });
});

test("F16 two connections with the same id at the same time both resume exactly", async () => {
  const world = await startWorld();
  const ids: string[] = [];
  for (let index = 0; index < 20; index += 1) {
    ids.push(String((await post(world, TOPIC, `${index}`)).json["id"]));
  }
  const headers = { "last-event-id": ids[9] ?? "" };
  const tabs = await Promise.all([
    openStream(world, TOPIC, headers),
    openStream(world, TOPIC, headers),
  ]);
  await post(world, TOPIC, "20");
  for (const tab of tabs) {
    const events = await tab.take(11);
    expect(events.map(({ data }) => data)).toEqual(
      Array.from({ length: 11 }, (_, index) => String(index + 10)),
    );
  }
  tabs[0].cut();
  await post(world, TOPIC, "21");
  expect((await tabs[1].take(12)).at(-1)?.data).toBe("21");
});

test("F13 2,000 connections in a second: each is admitted or told, and none is reset", async () => {
  const gateway = await startChild({
    // A busy machine is not what this is about.
    admission: { perSecond: 1_000, burst: 300, loopDelayMs: 60_000 },
  });
  const clients = openMany({ port: gateway.port, count: 2_000 });
  await settled(clients, isAnswered, 25_000);
  expect(clients.filter(({ error }) => error !== undefined)).toEqual([]);
  expect(clients.filter((client) => !isAnswered(client))).toEqual([]);
  const admitted = clients.filter(isAdmitted).length;
  const refused = clients.filter(isRefused).length;
  expect(admitted + refused).toBe(2_000);
  // The rate lets all of them in within the 5 s.
  expect(admitted).toBe(2_000);
  expect(await gateway.metric("sluice_admission_delayed_total")).toBeGreaterThan(0);
  expect(await gateway.metric("sluice_subscribers")).toBe(2_000);
}, 60_000);

test("S11 F14 a storm after kill -9: all come back, at the rate, and the process stays up", async () => {
  const admission = { perSecond: 500, burst: 50, waitMs: 5_000, loopDelayMs: 60_000 };
  const first = await startChild({ admission });
  const before = openMany({ port: first.port, count: 500 });
  await settled(before, isAdmitted);
  await first.kill();
  await settled(before, ({ isClosed }) => isClosed);
  const second = await startChild({ admission, port: first.port });
  const startedAt = performance.now();
  const back = openMany({ port: second.port, count: 1_000, headers: ["Last-Event-ID: gone.5"] });
  await settled(back, isAdmitted, 20_000);
  const tookMs = performance.now() - startedAt;
  expect(back.filter((client) => !isAdmitted(client) || client.error !== undefined)).toEqual([]);
  // 50 at once, then 500 a second: no faster, whatever came.
  expect(tookMs).toBeGreaterThan(1_800);
  // Another incarnation of the log: told, not guessed.
  await settled(back, ({ text }) => text.includes('"reason":"epoch"'));
  expect(back.filter(({ text }) => !text.includes('"reason":"epoch"'))).toEqual([]);
  expect(second.child.exitCode).toBeNull();
}, 60_000);

test("F15 300 clients that all replay 1,000 events: reads are bounded at any time, and live events go on", async () => {
  const world = await startWorld();
  const lines = Array.from({ length: 1_000 }, (_, index) => JSON.stringify({ index })).join("\n");
  const headers = { "content-type": "application/x-ndjson" };
  const { json } = await post(world, TOPIC, "0");
  const first = String(json["id"]);
  expect((await post(world, TOPIC, lines, headers)).status).toBe(201);
  const { broker, metrics } = world.hub;
  let [readsNow, readsMost] = [0, 0];
  const read = broker.read.bind(broker);
  vi.spyOn(broker, "read").mockImplementation(async (request) => {
    readsNow += 1;
    readsMost = Math.max(readsMost, readsNow);
    try {
      return await read(request);
    } finally {
      readsNow -= 1;
    }
  });
  const live = await openStream(world, "/v1/topics/live");
  const clients = openMany({ port: world.port, count: 300, headers: [`Last-Event-ID: ${first}`] });
  const lateMs: number[] = [];
  for (let index = 0; index < 20; index += 1) {
    const sentAt = performance.now();
    await post(world, "/v1/topics/live", `${index}`);
    await live.take(index + 1);
    lateMs.push(performance.now() - sentAt);
  }
  await settled(clients, ({ text }) => text.includes('{"index":999}'), 25_000);
  for (const { text } of clients) {
    expect(text.match(/^data: \{"index":\d+\}$/gm)).toHaveLength(1_000);
  }
  // One read to judge the cursor, and one for each batch of 64 KiB; 64 at a time but for those.
  expect(metrics.plain.sluice_log_reads_total).toBeLessThanOrEqual(300 * 4);
  expect(readsMost).toBeLessThanOrEqual(300 + 64);
  expect(Math.max(...lateMs)).toBeLessThan(5_000);
}, 60_000);

test("P05 an event loop that stood still for 3 s fails readiness while it is late, refuses subscriptions, and recovers", async () => {
  const gateway = await startChild({ admission: { loopDelayMs: 1_000 } });
  const clients = openMany({ port: gateway.port, count: 20 });
  await settled(clients, isAdmitted);
  expect((await fetch(`${gateway.adminUrl}/readyz`)).status).toBe(200);
  const stalled = gateway.command("stall 3000");
  const statuses: number[] = [];
  const deadline = performance.now() + 15_000;
  while (performance.now() < deadline && !(statuses.includes(503) && statuses.at(-1) === 200)) {
    statuses.push((await fetch(`${gateway.adminUrl}/readyz`)).status);
    await delay(20);
  }
  await stalled;
  expect(statuses).toContain(503);
  expect(statuses.at(-1)).toBe(200);
  expect(await gateway.metric("sluice_breaker_opened_total", "loop_delay")).toBeGreaterThanOrEqual(
    1,
  );
  expect(clients.filter(({ isClosed }) => isClosed)).toEqual([]);
  expect(await gateway.metric("sluice_subscribers")).toBe(20);
}, 60_000);
