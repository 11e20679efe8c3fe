import { expect, test } from "vitest";
import { openStream, post, rawClient, startWorld } from "./support.ts";

const TOPIC = "/v1/topics/orders/eu";
const JSON_TYPE = { "content-type": "application/json" };
const TEXT = { "content-type": "text/plain" };

test("a retry with the same idempotency key is answered 200 with the first id and appends nothing", async () => {
  const world = await startWorld();
  const headers = { ...TEXT, "idempotency-key": "k-1" };
  const first = await post(world, TOPIC, "x", headers);
  const second = await post(world, TOPIC, "x", headers);
  expect([first.status, second.status]).toEqual([201, 200]);
  expect(second.json).toEqual({ ...first.json, duplicate: true });
  const elsewhere = await post(world, `${TOPIC}/other`, "x", headers);
  expect(elsewhere.status).toBe(201);
  expect(world.hub.metrics.plain.sluice_publications_total).toBe(2);
});

test("an idempotency key that comes back with another event is a conflict", async () => {
  const world = await startWorld();
  const headers = { ...TEXT, "idempotency-key": "k" };
  await post(world, `${TOPIC}?event=a`, "x", headers);
  const others: [string, string, Record<string, string>][] = [
    [`${TOPIC}?event=a`, "y", headers],
    [`${TOPIC}?event=b`, "x", headers],
    [TOPIC, "ax", headers],
    [`${TOPIC}?event=a&key=k`, "x", headers],
    [`${TOPIC}?event=a`, "1", { ...headers, ...JSON_TYPE }],
  ];
  for (const [path, body, sent] of others) {
    const reply = await post(world, path, body, sent);
    expect([reply.status, reply.json["code"]]).toEqual([409, "idempotency_conflict"]);
  }
  expect(world.hub.metrics.plain.sluice_publications_total).toBe(1);
});

test("twenty concurrent publishes of one idempotency key append one event", async () => {
  const world = await startWorld();
  const headers = { "idempotency-key": "same" };
  const replies = await Promise.all(
    Array.from({ length: 20 }, () => post(world, TOPIC, "x", headers)),
  );
  expect(replies.filter(({ status }) => status === 201)).toHaveLength(1);
  expect(replies.filter(({ status }) => status === 200)).toHaveLength(19);
  expect(new Set(replies.map(({ json }) => json["id"])).size).toBe(1);
  expect(world.hub.metrics.plain.sluice_publications_total).toBe(1);
});

test("publishes pipelined on one connection are appended in request order, whatever their bodies", async () => {
  const world = await startWorld();
  const client = rawClient(world.port);
  const requests = Array.from({ length: 200 }, (_, index) => {
    // Empty, short, chunked and large bodies become complete after different numbers of turns.
    const data = index % 4 === 0 ? "" : `${index}-${"x".repeat(index % 5 === 0 ? 20_000 : 1)}`;
    const head = `POST ${TOPIC}?event=e${index} HTTP/1.1\r\nHost: localhost\r\n`;
    if (index % 3 !== 0) return `${head}Content-Length: ${data.length}\r\n\r\n${data}`;
    const chunk = data === "" ? "" : `${data.length.toString(16)}\r\n${data}\r\n`;
    return `${head}Transfer-Encoding: chunked\r\n\r\n${chunk}0\r\n\r\n`;
  });
  client.send(requests.join(""));
  await client.until("HTTP/1.1 201 Created", 200);
  await client.until('"durability":"memory"', 200);
  const answered = [...client.text.matchAll(/"id":"[^.]+\.([0-9]+)"/g)].map(([, seq]) =>
    Number(seq),
  );
  expect(answered).toEqual(Array.from({ length: 200 }, (_, index) => index + 1));
  const stream = await openStream(world, `${TOPIC}?last_event_id=earliest`);
  const events = await stream.take(200);
  expect(events.map(({ event }) => event)).toEqual(requests.map((_, index) => `e${index}`));
});

test("a refused publish does not disturb those that are pipelined behind it", async () => {
  const world = await startWorld();
  const client = rawClient(world.port);
  const one = (path: string, body: string, type = "text/plain"): string =>
    `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  client.send(
    one("/v1/topics/a//b", "bad") + one(TOPIC, "{", "application/json") + one(TOPIC, "good"),
  );
  const text = await client.until('"durability"');
  expect([...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)).toEqual([
    "400",
    "400",
    "201",
  ]);
});

test("a DELETE that is pipelined behind a publish ends the topic after it, not before", async () => {
  const world = await startWorld();
  const client = rawClient(world.port);
  client.send(
    `POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx` +
      `DELETE ${TOPIC} HTTP/1.1\r\nHost: localhost\r\n\r\n` +
      `PUT ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n` +
      `POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\ny`,
  );
  await client.until('"durability"', 3);
  const statuses = [...client.text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
  expect(statuses).toEqual(["201", "200", "204", "201"]);
});
