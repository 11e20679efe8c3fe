import { expect, test } from "vitest";
import { post, rawClient, startWorld } from "./support.ts";

const TOPIC = "/v1/topics/orders/eu";

test("S28 a body that is announced too large is refused before a byte of it is sent", async () => {
  const world = await startWorld();
  for (const [type, limit] of [
    ["text/plain", 1_048_576],
    ["application/x-ndjson", 8_388_608],
  ] as const) {
    const client = rawClient(world.port);
    client.send(
      `POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\nContent-Length: ${limit + 1}\r\n\r\n`,
    );
    const text = await client.until("}\n");
    expect(text).toMatch(/^HTTP\/1\.1 413 /);
    expect(text).toMatch(/\r\nConnection: close\r\n/i);
  }
});

test("S28 a chunked body is refused as soon as it passes the limit, and its end is not awaited", async () => {
  const world = await startWorld({ hub: { eventBytesMax: 1_000 } });
  const client = rawClient(world.port);
  client.send(`POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n`);
  client.send(`3e8\r\n${"x".repeat(1_000)}\r\n`);
  client.send(`1\r\nx\r\n`);
  const text = await client.until("}\n");
  expect(text).toMatch(/^HTTP\/1\.1 413 /);
  expect(text).toContain("event_too_large");
  expect(world.hub.metrics.plain.sluice_publications_total).toBe(0);
});

test("exactly the limit is accepted", async () => {
  const world = await startWorld({ hub: { eventBytesMax: 1_000 } });
  expect((await post(world, TOPIC, "x".repeat(1_000))).status).toBe(201);
  expect((await post(world, TOPIC, "x".repeat(1_001))).status).toBe(413);
});

test("a client that waits for 100 Continue is told to go on, or is refused instead", async () => {
  const world = await startWorld({ hub: { eventBytesMax: 10 } });
  const head = (length: number): string =>
    `POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\n\r\n`;
  const welcome = rawClient(world.port);
  welcome.send(head(3));
  expect(await welcome.until("\r\n\r\n")).toBe("HTTP/1.1 100 Continue\r\n\r\n");
  welcome.send("abc");
  await welcome.until("HTTP/1.1 201 Created");
  const refused = rawClient(world.port);
  refused.send(head(11));
  expect(await refused.until("}\n")).toMatch(/^HTTP\/1\.1 413 /);
});

test("a client that leaves before its body is complete publishes nothing", async () => {
  const world = await startWorld();
  const client = rawClient(world.port);
  client.send(`POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf`);
  client.socket.once("connect", () => client.socket.end());
  await client.closed;
  const reply = await post(world, TOPIC, "whole");
  expect(reply.json["id"]).toMatch(/\.1$/);
});
