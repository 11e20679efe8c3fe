import { expect, test } from "vitest";
import { eventually, openStream, post, send, startWorld } from "./support.ts";

const TOPIC = "/v1/topics/orders/eu";
const JSON_TYPE = { "content-type": "application/json" };
const NDJSON = { "content-type": "application/x-ndjson" };
const TEXT = { "content-type": "text/plain" };

test("a published event is answered with its cursor and its durability", async () => {
  const world = await startWorld();
  const reply = await post(world, TOPIC, '{"a": 1}', JSON_TYPE);
  expect(reply.status).toBe(201);
  expect(reply.json).toEqual({
    id: expect.stringMatching(/^[A-Za-z0-9_-]+\.1$/),
    durability: "memory",
  });
  expect(reply.headers["cache-control"]).toBe("no-store");
});

test("the body's text is the event's data, whatever its type says", async () => {
  const world = await startWorld();
  const bodies: [string, Record<string, string>][] = [
    ['{ "a" :\t1.0 }', JSON_TYPE],
    ["plain text\nof two lines", { "content-type": "text/plain; charset=UTF-8" }],
    ["no type at all", {}],
    ["a=1&b=%20x+y", { "content-type": "application/x-www-form-urlencoded" }],
    ["", TEXT],
    ["\u{feff}é\u{1f600}\u2028", TEXT],
  ];
  for (const [body, headers] of bodies) {
    expect((await post(world, TOPIC, body, headers)).status).toBe(201);
  }
  const stream = await openStream(world, `${TOPIC}?last_event_id=earliest`);
  const events = await stream.take(bodies.length);
  expect(events.map(({ data }) => data)).toEqual(bodies.map(([body]) => body));
});

test("?event= names the event, and what CR, LF or NUL it holds is refused, never stripped (S01)", async () => {
  const world = await startWorld();
  expect((await post(world, `${TOPIC}?event=order.created`, "1")).status).toBe(201);
  for (const name of ["a%0Ad", "a%0D", "%00", "a%0Aid:%20x.9"]) {
    const reply = await post(world, `${TOPIC}?event=${name}`, "1");
    expect([reply.status, reply.json["code"]]).toEqual([400, "event_name_invalid"]);
  }
  await post(world, TOPIC, "a\r\n\r\nid: forged\rdata: b\n\nevent: gap");
  const stream = await openStream(world, `${TOPIC}?last_event_id=earliest`);
  const [first, second] = await stream.take(2);
  expect(first).toMatchObject({ event: "order.created", data: "1" });
  expect(second).toMatchObject({
    event: "message",
    data: "a\n\nid: forged\ndata: b\n\nevent: gap",
    lastEventId: first?.lastEventId.replace(/1$/, "2"),
  });
});

const REFUSED: [string, string, string | Uint8Array, Record<string, string>, number, string][] = [
  ["an empty segment", "/v1/topics/a//b", "x", {}, 400, "topic_name_invalid"],
  ["an empty name", "/v1/topics/", "x", {}, 400, "topic_name_invalid"],
  ["a dot segment", "/v1/topics/a/../b", "x", {}, 400, "topic_name_invalid"],
  ["an encoded dot segment", "/v1/topics/a/%2e%2e", "x", {}, 400, "topic_name_invalid"],
  ["a name of 256 bytes", `/v1/topics/${"a".repeat(256)}`, "x", {}, 400, "topic_name_invalid"],
  ["a very long name", `/v1/topics/${"a".repeat(9_000)}`, "x", {}, 400, "topic_name_invalid"],
  ["a space in a name", "/v1/topics/a%20b", "x", {}, 400, "topic_name_invalid"],
  ["a pattern", "/v1/topics/a/*", "x", {}, 400, "topic_name_invalid"],
  ["broken percent-encoding", "/v1/topics/%zz", "x", {}, 400, "request_target_invalid"],
  ["a reserved event name", `${TOPIC}?event=gap`, "x", {}, 400, "event_name_reserved"],
  ["an empty event name", `${TOPIC}?event=`, "x", {}, 400, "event_name_invalid"],
  ["an empty key", `${TOPIC}?key=`, "x", {}, 400, "event_key_invalid"],
  ["a misspelt parameter", `${TOPIC}?evnet=a`, "x", {}, 400, "parameter_invalid"],
  ["a parameter given twice", `${TOPIC}?event=a&event=b`, "x", {}, 400, "parameter_invalid"],
  ["a parameter that is no UTF-8", `${TOPIC}?event=%ff`, "x", {}, 400, "parameter_invalid"],
  ["invalid UTF-8 in text", TOPIC, Uint8Array.of(0xc3, 0x28), TEXT, 400, "body_not_utf8"],
  [
    "invalid UTF-8 in JSON",
    TOPIC,
    Uint8Array.of(0x22, 0xff, 0x22),
    JSON_TYPE,
    400,
    "body_not_utf8",
  ],
  ["invalid JSON", TOPIC, "{'a':1}", JSON_TYPE, 400, "body_not_json"],
  ["no JSON", TOPIC, "", JSON_TYPE, 400, "body_not_json"],
  ["a batch without events", TOPIC, "\n \n", NDJSON, 400, "batch_empty"],
  [
    "an unknown type",
    TOPIC,
    "x",
    { "content-type": "application/xml" },
    415,
    "media_type_unsupported",
  ],
  [
    "a type like a member of Object",
    TOPIC,
    "x",
    { "content-type": "constructor" },
    415,
    "media_type_unsupported",
  ],
  [
    "another charset",
    TOPIC,
    "x",
    { "content-type": "text/plain; charset=latin1" },
    415,
    "media_type_unsupported",
  ],
  [
    "a coded body",
    TOPIC,
    "x",
    { ...TEXT, "content-encoding": "gzip" },
    415,
    "media_type_unsupported",
  ],
  [
    "an empty idempotency key",
    TOPIC,
    "x",
    { "idempotency-key": "" },
    400,
    "idempotency_key_invalid",
  ],
  [
    "a long idempotency key",
    TOPIC,
    "x",
    { "idempotency-key": "k".repeat(256) },
    400,
    "idempotency_key_invalid",
  ],
];

test.each(REFUSED)(
  "%s is refused with a problem document and nothing is published",
  async (...row) => {
    const [, path, body, headers, status, code] = row;
    const world = await startWorld();
    const reply = await post(world, path, body, headers);
    expect([reply.status, reply.json["code"]]).toEqual([status, code]);
    expect(reply.headers["content-type"]).toBe("application/problem+json");
    expect(Object.keys(reply.json)).toEqual(
      expect.arrayContaining(["type", "title", "status", "detail", "code", "hint", "retryable"]),
    );
    expect(world.hub.metrics.plain.sluice_publications_total).toBe(0);
    expect(world.hub.metrics.get("sluice_requests_rejected_total", code)).toBe(1);
  },
);

test("a batch is appended in order, and its answer names the first, the last and the count", async () => {
  const world = await startWorld();
  const reply = await post(world, `${TOPIC}?event=e`, '{"n":1}\r\n\n[2]\n"three"', NDJSON);
  expect(reply.status).toBe(201);
  expect(reply.json).toEqual({
    first: expect.stringMatching(/\.1$/),
    last: expect.stringMatching(/\.3$/),
    count: 3,
    durability: "memory",
  });
  const stream = await openStream(world, `${TOPIC}?last_event_id=earliest`);
  const events = await stream.take(3);
  expect(events.map(({ data }) => data)).toEqual(['{"n":1}', "[2]", '"three"']);
  expect(events.every(({ event }) => event === "e")).toBe(true);
});

test("a batch with one bad line is refused whole, and the line is named", async () => {
  const world = await startWorld({ hub: { eventBytesMax: 100 } });
  const bad = await post(world, TOPIC, '1\n2\n\n{"a":\n5\n', NDJSON);
  expect([bad.status, bad.json["code"]]).toEqual([400, "body_not_json"]);
  expect(bad.json["detail"]).toMatch(/^line 4: /);
  expect(bad.json["detail"]).not.toMatch(/\(line|column/);
  const large = await post(world, TOPIC, `1\n"${"x".repeat(100)}"\n`, NDJSON);
  expect([large.status, large.json["code"]]).toEqual([413, "event_too_large"]);
  expect(large.json["detail"]).toMatch(/^line 2 has 102 bytes/);
  expect(world.hub.metrics.plain.sluice_publications_total).toBe(0);
});

test("publishing to a topic that has ended is a conflict until it is declared again", async () => {
  const world = await startWorld();
  await send(world, TOPIC, { method: "DELETE" });
  const ended = await post(world, TOPIC, "x");
  expect([ended.status, ended.json["code"]]).toEqual([409, "topic_ended"]);
  expect((await send(world, TOPIC, { method: "PUT" })).status).toBe(204);
  expect((await post(world, TOPIC, "x")).status).toBe(201);
  await eventually(() => world.hub.metrics.plain.sluice_publications_total === 1);
});
