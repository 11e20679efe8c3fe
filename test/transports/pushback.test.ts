import { connect } from "node:tls";
import { describe, expect, onTestFinished, test } from "vitest";
import { createMemoryBroker } from "../../src/brokers/memory.ts";
import type { Broker } from "../../src/core/broker.ts";
import { readTlsIdentity } from "../../src/gateway/tls.ts";
import { eventually, openStream, rawClient, send, startWorld } from "../gateway/support.ts";
import type { World } from "../gateway/support.ts";
import { makeCertificate } from "../support/certificate.ts";
import { describeWith, needs } from "../support/programs.ts";
import { RawStream, openRaw } from "../support/raw-stream.ts";

const TOPIC = "/v1/topics/a";
const KIB = 1024;

async function publish(world: World, ...data: readonly string[]): Promise<void> {
  const events = data.map((text) => ({ data: text }));
  await world.hub.publish({ tenant: "default", topic: "a", events });
}

function pending(world: World): readonly [bytes: number, connections: number, routes: number] {
  world.hub.measure();
  const { plain } = world.hub.metrics;
  return [plain.sluice_pending_bytes, plain.sluice_pending_connections, plain.sluice_routes];
}

describe("law 10: a disconnect before the first byte is noticed", () => {
  test("while the place is judged: nothing stays behind", async () => {
    const broker: Broker = createMemoryBroker();
    const held: (() => void)[] = [];
    const read = broker.read.bind(broker);
    broker.read = async (request) => {
      const result = await read(request);
      await new Promise<void>((resolve) => held.push(resolve));
      return result;
    };
    const world = await startWorld({ hub: { broker } });
    const clients = [rawClient(world.port), rawClient(world.port)];
    for (const client of clients) client.send(`GET ${TOPIC} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    await eventually(() => held.length === 2);
    clients[0]?.socket.resetAndDestroy();
    clients[1]?.socket.destroy();
    await Promise.all(clients.map(({ closed }) => closed));
    for (const release of held) release();
    await eventually(() => world.hub.subscribersNow === 0);
    expect(pending(world)).toEqual([0, 0, 0]);
    expect([world.hub.connectionsNow, clients[0]?.text]).toEqual([0, ""]);
  });

  test("right behind the request: each of many is gone, whoever of them got a byte", async () => {
    const world = await startWorld();
    for (let index = 0; index < 200; index += 1) {
      const client = rawClient(world.port);
      client.send(`GET ${TOPIC} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
      if (index % 2 === 0) client.socket.end();
      client.socket.destroySoon();
      await client.closed;
    }
    await publish(world, "x");
    await eventually(() => world.hub.subscribersNow === 0 && world.hub.connectionsNow === 0);
    expect(pending(world)).toEqual([0, 0, 0]);
    for (const state of ["reading", "live", "draining"]) {
      expect(world.hub.metrics.get("sluice_subscribers", state)).toBe(0);
    }
  });
});

describe("law 11: pushback is neither a disconnect nor ignorable", () => {
  test("F11 S10 a client that pushes back all the time gets every event once, in order", async () => {
    const world = await startWorld();
    const client = openRaw({ port: world.port, path: TOPIC });
    await client.until(() => client.places.length > 0);
    // Reads a little, then nothing for some turns: the pipe is full nearly always.
    client.socket.on("data", () => {
      client.socket.pause();
      setTimeout(() => client.socket.resume(), 1);
    });
    const pad = "x".repeat(8 * KIB);
    const count = 2_000;
    for (let n = 1; n <= count; n += 1) {
      await publish(world, `${n} ${pad}`);
      if (n % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await client.until(() => client.events.length >= count);
    expect(client.data.map((data) => Number(data.split(" ")[0]))).toEqual(
      Array.from({ length: count }, (_, index) => index + 1),
    );
    const { plain } = world.hub.metrics;
    expect(plain.sluice_lagged_total).toBeGreaterThan(0);
    expect(client.isClosed).toBe(false);
    await eventually(() => pending(world)[0] === 0);
  });

  test("S10 F09 clients that never read cost a batch each, are evicted, and resume", async () => {
    const world = await startWorld({ hub: { heartbeat: { heartbeatMs: 400, stallMs: 800 } } });
    const reading = openRaw({ port: world.port, path: TOPIC });
    await reading.until(() => reading.places.length > 0);
    const stuck = Array.from({ length: 5 }, () => openRaw({ port: world.port, path: TOPIC }));
    for (const client of stuck) await client.until(() => client.places.length > 0);
    for (const { socket } of stuck) socket.pause();
    const pad = "x".repeat(16 * KIB);
    let n = 0;
    const evicted = (): number => world.hub.metrics.get("sluice_evicted_total", "slow_consumer");
    while (pending(world)[1] + evicted() < 5) {
      n += 1;
      expect(n).toBeLessThan(2_000);
      await publish(world, `${n} ${pad}`);
      await reading.until(() => reading.events.length === n);
    }
    for (let more = 0; more < 100; more += 1) {
      n += 1;
      await publish(world, `${n} ${pad}`);
      await reading.until(() => reading.events.length === n);
      expect(pending(world)[0]).toBeLessThanOrEqual(5 * 80 * KIB);
    }
    await eventually(() => evicted() === 5);
    await eventually(() => world.hub.subscribersNow === 1);
    expect(pending(world).slice(0, 2)).toEqual([0, 0]);
    expect(reading.isClosed).toBe(false);
  });

  test("law 12: a publisher waits for no reader, gone or stuck", async () => {
    const world = await startWorld();
    const clients = Array.from({ length: 10 }, () => openRaw({ port: world.port, path: TOPIC }));
    for (const client of clients) await client.until(() => client.places.length > 0);
    for (const { socket } of clients.slice(0, 5)) socket.pause();
    for (const { socket } of clients.slice(5)) socket.resetAndDestroy();
    const pad = "x".repeat(64 * KIB);
    // Far more than kernel and process would take for those that do not read.
    for (let index = 0; index < 400; index += 1) {
      const { status } = await send(world, TOPIC, { method: "POST", body: pad });
      expect(status).toBe(201);
    }
    await eventually(() => world.hub.subscribersNow === 5);
    expect(pending(world)[0]).toBeLessThanOrEqual(5 * 150 * KIB);
    for (const { socket } of clients) socket.destroy();
    await eventually(() => world.hub.subscribersNow === 0);
    expect(pending(world)).toEqual([0, 0, 0]);
  });
});

describeWith({ openssl: needs("openssl") }, "on TLS", ({ openssl }) => {
  test("where every write is pending for a moment, nobody is evicted and nothing lags for it", async () => {
    const world = await startWorld({
      server: { tls: readTlsIdentity(makeCertificate(openssl)) },
      hub: { heartbeat: { heartbeatMs: 400, stallMs: 800, pendingBytesMax: 10 * KIB } },
    });
    const clients = Array.from({ length: 8 }, () => {
      const socket = connect({ port: world.port, host: "127.0.0.1", rejectUnauthorized: false });
      onTestFinished(() => void socket.destroy());
      return new RawStream(socket).send({ path: TOPIC });
    });
    for (const client of clients) await client.until(() => client.places.length > 0);
    const pad = "x".repeat(4 * KIB);
    for (let n = 1; n <= 300; n += 1) {
      await publish(world, `${n} ${pad}`);
      if (n % 3 === 0)
        for (const client of clients) await client.until(() => client.events.length === n);
    }
    for (const client of clients) {
      expect(client.events).toHaveLength(300);
      expect(client.isClosed).toBe(false);
    }
    await eventually(() => pending(world)[0] === 0);
    expect(world.hub.metrics.get("sluice_evicted_total", "pending_exhausted")).toBe(0);
    expect(world.hub.metrics.get("sluice_evicted_total", "slow_consumer")).toBe(0);
  });
});

describe("?heartbeat=", () => {
  test("comment is what a client gets that asks for nothing, event is what EventSource can see", async () => {
    const world = await startWorld({ hub: { heartbeat: { heartbeatMs: 100 } } });
    const plain = openRaw({ port: world.port, path: TOPIC });
    const named = openRaw({ port: world.port, path: `${TOPIC}?heartbeat=event` });
    await plain.until(() => plain.body.includes(": heartbeat\n"));
    await named.until(() => named.events.length >= 2);
    expect(plain.events).toEqual([]);
    expect(named.body).not.toContain("\n: heartbeat");
    expect(named.events[0]).toMatchObject({ event: "heartbeat", data: "" });
    expect(named.lastEventId).toBe(named.places[0]);
    const { status, json } = await send(world, `${TOPIC}?heartbeat=often`);
    expect([status, json["code"]]).toEqual([400, "parameter_invalid"]);
  });

  test("ack keeps who acknowledges, and takes the connection of who does not", async () => {
    const world = await startWorld({ hub: { heartbeat: { heartbeatMs: 1_000 } } });
    const ends: string[] = [];
    world.hub.onConnectionEnd((_subscriber, reason) => void ends.push(reason));
    const silent = await openStream(world, `${TOPIC}?heartbeat=ack`);
    const answering = await openStream(world, `${TOPIC}?heartbeat=ack`);
    const id = String(answering.headers["sluice-connection"]);
    for (let beats = 1; beats <= 4; beats += 1) {
      await answering.take(beats);
      const { status } = await send(world, `/v1/connections/${id}/ack`, { method: "POST" });
      expect(status).toBe(204);
    }
    expect(await silent.ended).toBe(false);
    expect(ends).toEqual(["ack_missed"]);
    expect(silent.events.map(({ event }) => event)).toEqual(["heartbeat"]);
  });
});
