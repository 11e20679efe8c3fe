import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { createMemoryBroker } from "../../src/brokers/memory.ts";
import { Hub } from "../../src/core/hub.ts";
import { answerClientError } from "../../src/gateway/client-error.ts";
import { gatewayOf } from "../../src/gateway/gateway.ts";
import { ListenError } from "../../src/gateway/listen.ts";
import { startServer } from "../../src/gateway/server.ts";
import { systemRuntime } from "../../src/internal/clock.ts";
import { eventually, openStream, post, rawClient, send, startWorld } from "./support.ts";

const TOPIC = "/v1/topics/a";
const LOCAL = { host: "127.0.0.1", port: 0, adminHost: "127.0.0.1", adminPort: 0 };

function newHub(): Hub {
  const hub = new Hub({ broker: createMemoryBroker(), runtime: systemRuntime() });
  onTestFinished(() => hub.close());
  return hub;
}

test("P23 a port in use is told with the next free one, and nothing stays open", async () => {
  const world = await startWorld();
  const adminPort = Number(new URL(world.adminUrl).port);
  for (const taken of [{ port: world.port }, { adminPort }]) {
    const error = await startServer(newHub(), { ...LOCAL, ...taken }).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(ListenError);
    const { code, host, port, nextFreePort, message } = error as ListenError;
    const wanted = Object.values(taken)[0] as number;
    expect({ code, host, port }).toEqual({ code: "EADDRINUSE", host: "127.0.0.1", port: wanted });
    expect(nextFreePort).toBeGreaterThan(wanted);
    expect(message).toBe(`cannot listen on 127.0.0.1:${wanted}: EADDRINUSE`);
  }
});

test("P23 an address that is not this machine's is refused with the system's code", async () => {
  const error = await startServer(newHub(), { ...LOCAL, host: "192.0.2.1" }).catch(
    (thrown: unknown) => thrown,
  );
  expect(error).toMatchObject({
    name: "ListenError",
    code: "EADDRNOTAVAIL",
    nextFreePort: undefined,
  });
});

test.each(["TRACE", "PATCH", "PROPFIND"])("F21 %s is answered 405 with Allow", async (method) => {
  const world = await startWorld();
  const reply = await send(world, TOPIC, { method });
  expect([reply.status, reply.json["code"]]).toEqual([405, "method_not_allowed"]);
  expect(reply.headers["allow"]).toBe("GET, HEAD, POST, PUT, DELETE, OPTIONS");
  const events = await send(world, "/v1/events?topic=a", { method: "POST" });
  expect([events.status, events.headers["allow"]]).toEqual([405, "GET, HEAD, OPTIONS"]);
});

test("F21 CONNECT is answered 405 and the connection is closed", async () => {
  const world = await startWorld();
  const client = rawClient(world.port);
  client.send("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n");
  expect(await client.closed).toMatch(/^HTTP\/1\.1 405 [^]*\r\nAllow: GET/);
});

test("an expectation that nobody knows is refused with a problem document", async () => {
  const world = await startWorld();
  for (const method of ["GET", "POST"]) {
    const reply = await send(world, TOPIC, { method, headers: { expect: "banana" } });
    expect([reply.status, reply.json["code"]]).toEqual([417, "expectation_failed"]);
    expect(reply.headers["cache-control"]).toBe("no-store");
  }
  const foreign = { expect: "banana", host: "example.org" };
  expect((await send(world, TOPIC, { headers: foreign })).status).toBe(417);
  expect(world.hub.metrics.get("sluice_requests_rejected_total", "expectation_failed")).toBe(3);
  expect((await send({ url: world.adminUrl }, "/metrics", { headers: foreign })).status).toBe(417);
});

test("F21 an upgrade to h2c is ignored and the stream opens on HTTP/1.1", async () => {
  const world = await startWorld();
  const client = rawClient(world.port);
  client.send(
    `GET ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n`,
  );
  expect(await client.until("\n\n")).toMatch(
    /^HTTP\/1\.1 200 OK\r\nContent-Type: text\/event-stream/,
  );
});

const GARBAGE: [string, string, number, string][] = [
  ["what is no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400, "request_malformed"],
  ["a method that does not exist", "BREW / HTTP/1.1\r\n\r\n", 400, "request_malformed"],
  ["HTTP/2 by prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "request_malformed"],
  [
    "17 KiB of headers",
    `GET / HTTP/1.1\r\nX: ${"x".repeat(17_000)}\r\n\r\n`,
    431,
    "headers_too_large",
  ],
];

test.each(GARBAGE)(
  "%s is answered with a problem document, and the connection is closed",
  async (...row) => {
    const [, bytes, status, code] = row;
    const world = await startWorld();
    const client = rawClient(world.port);
    client.send(Buffer.from(bytes, "latin1"));
    client.socket.once("data", () => client.socket.end());
    const text = await client.closed;
    expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(text).toContain(`"code":"${code}"`);
    expect(world.hub.metrics.get("sluice_requests_rejected_total", code)).toBe(1);
  },
);

test("a request that took too long to arrive is answered 408 and may be sent again", async () => {
  const hub = newHub();
  const timeouts = { headersTimeout: 20, requestTimeout: 20, connectionsCheckingInterval: 5 };
  const server = createServer(timeouts, gatewayOf(hub, { isOpen: false }).handler);
  server.on("clientError", (error, socket) =>
    answerClientError(error, socket as never, hub.metrics),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  for (const start of [
    "GET / HTTP/1.1\r\nHost: loc",
    `POST ${TOPIC} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf`,
  ]) {
    const client = rawClient((server.address() as AddressInfo).port);
    client.send(start);
    const text = await client.until("}\n");
    expect(text).toMatch(/^HTTP\/1\.1 408 [^]*"code":"request_timeout"[^]*"retryable":true/);
    client.socket.destroy();
  }
});

test("a publish is answered before the connection falls over the garbage behind it", async () => {
  const world = await startWorld();
  const client = rawClient(world.port);
  client.send(
    `POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx\0\0\0\r\n\r\n`,
  );
  const text = await client.until("}\n");
  expect(text).toMatch(/^HTTP\/1\.1 201 /);
  client.socket.end();
  expect((await client.closed).match(/HTTP\/1\.1 [0-9]/g)).toHaveLength(1);
});

test("F22 what is sent behind a running stream closes it and starts no second stream", async () => {
  const world = await startWorld();
  for (const more of [`GET ${TOPIC} HTTP/1.1\r\nHost: localhost\r\n\r\n`, "\0garbage\r\n\r\n"]) {
    const client = rawClient(world.port);
    client.send(`GET ${TOPIC} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    await client.until("\n\n", 2);
    client.send(more);
    const text = await client.closed;
    expect(text.match(/HTTP\/1\.1 [0-9]/g)).toHaveLength(1);
    await eventually(() => world.hub.subscribersNow === 0);
  }
  expect(world.hub.metrics.get("sluice_disconnects_total", "protocol_error")).toBe(2);
});

test("F22 two stream requests in one segment open one stream", async () => {
  const world = await startWorld();
  const client = rawClient(world.port);
  client.send(`GET ${TOPIC} HTTP/1.1\r\nHost: localhost\r\n\r\n`.repeat(2));
  await client.until("\n\n", 2);
  await post(world, TOPIC, "x");
  const text = await client.until("data: x");
  expect(text.match(/HTTP\/1\.1 [0-9]/g)).toHaveLength(1);
  expect(world.hub.subscribersNow).toBe(1);
});

test("F22 a stream that is pipelined behind a slow publish waits for its answer", async () => {
  const world = await startWorld();
  const { broker } = world.hub;
  const publish = broker.publish.bind(broker);
  let proceed = (): void => {};
  const asked = new Promise<void>((resolve) => {
    broker.publish = async (request) => {
      resolve();
      await new Promise<void>((go) => (proceed = go));
      return publish(request);
    };
  });
  const client = rawClient(world.port);
  client.send(
    `POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx` +
      `GET ${TOPIC}?last_event_id=earliest HTTP/1.1\r\nHost: localhost\r\n\r\n`,
  );
  await asked;
  // A whole request later the stream still waits.
  await send(world, TOPIC, { method: "HEAD" });
  expect([client.text, world.hub.subscribersNow]).toEqual(["", 0]);
  proceed();
  const text = await client.until("data: x");
  expect(text).toMatch(
    /^HTTP\/1\.1 201 Created\r\n[^]*"durability":"memory"\}\nHTTP\/1\.1 200 OK\r\n/,
  );
});

test("closing says goodbye to every stream, ends it cleanly and takes less than a second", async () => {
  const world = await startWorld();
  const streams = await Promise.all(Array.from({ length: 20 }, () => openStream(world, TOPIC)));
  const idle = rawClient(world.port);
  idle.send(`POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx`);
  await idle.until("}\n");
  await Promise.all(streams.map((stream) => stream.take(1)));
  const startedAt = performance.now();
  await world.close();
  expect(performance.now() - startedAt).toBeLessThan(1_000);
  for (const { ended, events } of streams) {
    expect(await ended).toBe(true);
    expect(events.at(-1)).toMatchObject({ event: "close", data: "pool_draining" });
  }
  await idle.closed;
  expect(world.hub.metrics.get("sluice_disconnects_total", "pool_draining")).toBe(20);
  await expect(send(world, TOPIC)).rejects.toThrow("ECONNREFUSED");
});

test("closing destroys readers that take nothing and requests that are half there, within a second", async () => {
  const world = await startWorld();
  const client = rawClient(world.port);
  client.send(`GET ${TOPIC} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  await client.until("\n\n", 2);
  client.socket.pause();
  const body = "x".repeat(1_000_000);
  const isPending = (): boolean => [...world.hub.subscribers()].some((one) => one.isPending);
  while (!isPending()) await post(world, TOPIC, body);
  for (let index = 0; index < 10; index += 1) {
    rawClient(world.port).send(`GET ${TOPIC} HTTP/1.1\r\nHost: loc`);
    const half = rawClient(world.port);
    half.send(`POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n`);
    half.send("Content-Length: 9\r\n\r\n");
    await half.until("100 Continue");
    half.send("half");
  }
  const startedAt = performance.now();
  await world.close();
  // What is left goes after 500 ms: the process has to be gone after a second.
  expect(performance.now() - startedAt).toBeLessThan(900);
  await eventually(() => world.hub.subscribersNow === 0);
});

test("while it closes, a request that was under way is answered, and a later one told to retry elsewhere", async () => {
  const world = await startWorld();
  const client = rawClient(world.port);
  client.send(
    `POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n`,
  );
  await client.until("100 Continue");
  const second = rawClient(world.port);
  second.send(
    `POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n`,
  );
  await second.until("100 Continue");
  const closed = world.close();
  const { status } = await fetch(`${world.adminUrl}/readyz`);
  expect(status).toBe(503);
  client.send("x");
  const text = await client.closed;
  expect(text).toMatch(/HTTP\/1\.1 201 Created\r\n(?:[^]+\r\n)?Connection: close\r\n/);
  second.send(`xGET ${TOPIC} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  expect(await second.closed).toMatch(/201 Created/);
  await closed;
});
