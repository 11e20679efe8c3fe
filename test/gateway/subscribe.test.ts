import { expect, test } from "vitest";
import { eventually, openStream, post, rawClient, send, startWorld } from "./support.ts";

const TOPIC = "/v1/topics/orders";

test("law 9: a stream opens with retry, the primer and the events, all in the segment of its head", async () => {
  const world = await startWorld({ gateway: { retryMs: 1_000 } });
  const { json } = await post(world, TOPIC, "first");
  const epoch = String(json["id"]).split(".")[0];
  const client = rawClient(world.port);
  let segments = 0;
  client.socket.on("data", () => (segments += 1));
  client.send(`GET ${TOPIC}?last_event_id=earliest HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  const text = await client.until("first");
  expect(segments).toBe(1);
  const [head = "", body = ""] = text.split(/\r\n\r\n(.*)/s);
  expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\nContent-Type: text\/event-stream; charset=utf-8\r\n/);
  expect(head).toMatch(/\r\nSluice-Connection: [A-Za-z0-9_-]{22}\r\n/);
  const [, retryMs] = /^[0-9a-f]+\r\nretry: ([0-9]+)\n\n/.exec(body) ?? [];
  expect(Number(retryMs)).toBeGreaterThanOrEqual(500);
  expect(Number(retryMs)).toBeLessThanOrEqual(1_500);
  expect(body.slice(body.indexOf("\n\n") + 2)).toBe(
    `id: ${epoch}.0\n\ndata: first\nid: ${epoch}.1\n\n\r\n`,
  );
});

test("a reader that comes back with its last id gets exactly what follows it", async () => {
  const world = await startWorld();
  const ids: string[] = [];
  for (const data of ["a", "b", "c"]) ids.push(String((await post(world, TOPIC, data)).json["id"]));
  const byHeader = await openStream(world, `${TOPIC}?last_event_id=earliest`, {
    "last-event-id": ids[1] ?? "",
  });
  expect((await byHeader.take(1)).map(({ data }) => data)).toEqual(["c"]);
  const byQuery = await openStream(world, `${TOPIC}?last_event_id=${ids[0]}`, {
    "last-event-id": "",
  });
  expect((await byQuery.take(2)).map(({ data }) => data)).toEqual(["b", "c"]);
  const live = await openStream(world, TOPIC);
  await post(world, TOPIC, "d");
  expect((await live.take(1)).map(({ data }) => data)).toEqual(["d"]);
  const lastTwo = await openStream(world, `${TOPIC}?last_event_id=last:2`);
  expect((await lastTwo.take(2)).map(({ data }) => data)).toEqual(["c", "d"]);
});

const FOREIGN = "AAAAAAAAAAAA";
const HOSTILE: [string, (epoch: string) => string, string][] = [
  ["a word", () => "hello", "malformed"],
  ["128 bytes", () => "a".repeat(128), "malformed"],
  ["129 bytes", () => "a".repeat(129), "malformed"],
  ["8 KiB", () => "9".repeat(8_192), "malformed"],
  ["Latin-1", () => "caf\u00e9", "malformed"],
  ["a negative number", (epoch) => `${epoch}.-1`, "malformed"],
  ["a leading zero", (epoch) => `${epoch}.01`, "malformed"],
  ["2^53", (epoch) => `${epoch}.9007199254740992`, "malformed"],
  ["2^64", (epoch) => `${epoch}.18446744073709551616`, "malformed"],
  ["$", () => "$", "malformed"],
  ["*", () => "*", "malformed"],
  ["+", () => "+", "malformed"],
  ["-", () => "-", "malformed"],
  ["a glob", (epoch) => `${epoch}.[0-9]*?`, "malformed"],
  ["last: without a number", () => "last:x", "malformed"],
  ["markup", () => "<script>alert(1)</script>", "malformed"],
  ["another epoch", () => `${FOREIGN}.1`, "epoch"],
  ["a number of the future", (epoch) => `${epoch}.4096`, "future"],
  ["2^53 - 1", (epoch) => `${epoch}.9007199254740991`, "future"],
];

test.each(HOSTILE)(
  "S09 %s as Last-Event-ID opens with a gap and goes on at the oldest event",
  async (...row) => {
    const [, cursorOf, reason] = row;
    const world = await startWorld();
    const { json } = await post(world, TOPIC, "kept");
    const cursor = cursorOf(String(json["id"]).split(".")[0] ?? "");
    const stream = await openStream(world, TOPIC, { "last-event-id": cursor });
    expect(stream.status).toBe(200);
    const [gap, event] = await stream.take(2);
    expect(gap?.event).toBe("gap");
    expect(JSON.parse(gap?.data ?? "")).toMatchObject({ reason, to: expect.any(String) });
    expect(gap?.data).not.toContain("script");
    expect(event).toMatchObject({ data: "kept", lastEventId: json["id"] });

    const refused = await send(world, `${TOPIC}?on_gap=refuse`, {
      headers: { "last-event-id": cursor },
    });
    expect([refused.status, refused.json["code"]]).toEqual([409, "gap_refused"]);
    expect(refused.json["gap"]).toMatchObject({ reason });
    await eventually(() => world.hub.subscribersNow === 1);
  },
);

test("S09 a NUL in Last-Event-ID is no HTTP, and two of the header are refused", async () => {
  const world = await startWorld();
  const nul = rawClient(world.port);
  nul.send(`GET ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: a\0b\r\n\r\n`);
  expect(await nul.closed).toMatch(/^HTTP\/1\.1 400 [^]*"code":"request_malformed"/);
  const twice = await send(world, TOPIC, { headers: { "last-event-id": ["a", "b"] } });
  expect([twice.status, twice.json["code"]]).toEqual([400, "header_duplicate"]);
});

test("a cursor below the floor is told as a gap of what was trimmed", async () => {
  const world = await startWorld();
  await send(world, TOPIC, {
    method: "PUT",
    body: '{"retention":{"count":2}}',
    headers: { "content-type": "application/json" },
  });
  const ids: string[] = [];
  for (const data of ["a", "b", "c", "d"])
    ids.push(String((await post(world, TOPIC, data)).json["id"]));
  const stream = await openStream(world, `${TOPIC}?last_event_id=${ids[0]}`);
  const [gap, ...events] = await stream.take(3);
  expect(JSON.parse(gap?.data ?? "")).toEqual({
    reason: "trimmed",
    from: ids[0],
    to: ids[1],
    topics: ["orders"],
  });
  expect(events.map(({ data }) => data)).toEqual(["c", "d"]);
});

test("law 14: the end of a topic is delivered once, and a reader that resumes there gets 204", async () => {
  const world = await startWorld();
  const live = await openStream(world, TOPIC);
  await post(world, TOPIC, "last words");
  const { status, json } = await send(world, TOPIC, { method: "DELETE" });
  expect(status).toBe(200);
  expect(await live.ended).toBe(true);
  expect(live.events.map(({ event }) => event)).toEqual(["message", "end"]);
  expect(live.events[1]).toMatchObject({
    data: '{"topic":"orders","reason":"deleted"}',
    lastEventId: json["id"],
  });
  const resumed = await send(world, TOPIC, { headers: { "last-event-id": String(json["id"]) } });
  expect([resumed.status, resumed.text]).toEqual([204, ""]);
  const again = await send(world, TOPIC, { method: "DELETE" });
  expect(again.json["id"]).toBe(json["id"]);
  const replay = await openStream(world, `${TOPIC}?last_event_id=earliest`);
  expect(await replay.ended).toBe(true);
  expect(replay.events.map(({ event }) => event)).toEqual(["message", "end"]);
  await eventually(() => world.hub.subscribersNow === 0);
});

test("many topics and patterns come on one connection in one order, in envelopes", async () => {
  const world = await startWorld();
  const stream = await openStream(world, "/v1/events?topic=a&topic=b/**&hello=1");
  await post(world, "/v1/topics/b/x/y?event=named", "1\n2");
  await post(world, "/v1/topics/c", "unheard");
  await post(world, "/v1/topics/a", '{"n":2}');
  const [hello, first, second] = await stream.take(3);
  expect(hello?.event).toBe("hello");
  expect(JSON.parse(hello?.data ?? "")).toEqual({
    connection: stream.headers["sluice-connection"],
    topics: ["a", "b/**"],
  });
  expect(first?.event).toBe("named");
  expect(JSON.parse(first?.data ?? "")).toEqual({ topic: "b/x/y", data: "1\n2" });
  expect(JSON.parse(second?.data ?? "")).toEqual({ topic: "a", data: '{"n":2}' });
});

test("the form can be chosen: plain for many topics, enveloped for one, enveloped for a pattern", async () => {
  const world = await startWorld();
  await post(world, "/v1/topics/a/b", "x");
  const dataOf = async (path: string): Promise<unknown> =>
    (await (await openStream(world, path)).take(1))[0]?.data;
  expect(await dataOf("/v1/events?topic=a/b&form=plain&last_event_id=earliest")).toBe("x");
  const enveloped = '{"topic":"a/b","data":"x"}';
  expect(await dataOf("/v1/topics/a/b?form=enveloped&last_event_id=earliest")).toBe(enveloped);
  expect(await dataOf("/v1/topics/a/*?last_event_id=earliest")).toBe(enveloped);
});

const REFUSED: [string, string, Record<string, string>, number, string][] = [
  ["no topic", "/v1/events", {}, 400, "topics_count_invalid"],
  [
    "1,001 topics",
    `/v1/events?${Array.from({ length: 1_001 }, (_, n) => `topic=t${n}`).join("&")}`,
    {},
    400,
    "topics_count_invalid",
  ],
  ["a bad name among topics", "/v1/events?topic=a&topic=b//c", {}, 400, "topic_name_invalid"],
  ["a bad pattern", "/v1/events?topic=a/**/b", {}, 400, "topic_pattern_invalid"],
  ["a misspelt parameter", `${TOPIC}?last_event=1`, {}, 400, "parameter_invalid"],
  ["topic= on a topic", `${TOPIC}?topic=a`, {}, 400, "parameter_invalid"],
  ["another value of on_gap", `${TOPIC}?on_gap=ignore`, {}, 400, "parameter_invalid"],
  ["another value of form", `${TOPIC}?form=xml`, {}, 400, "parameter_invalid"],
  ["JSON only", TOPIC, { accept: "application/json" }, 406, "not_acceptable"],
  [
    "event streams excluded",
    TOPIC,
    { accept: "text/event-stream;q=0, */*" },
    406,
    "not_acceptable",
  ],
  ["a body", TOPIC, { "content-length": "3" }, 400, "request_malformed"],
];

test.each(REFUSED)("a subscription with %s is refused and leaves no subscriber", async (...row) => {
  const [, path, headers, status, code] = row;
  const world = await startWorld();
  const body = headers["content-length"] === undefined ? {} : { body: "abc" };
  const reply = await send(world, path, { headers, ...body });
  expect([reply.status, reply.json["code"]]).toEqual([status, code]);
  expect(world.hub.subscribersNow).toBe(0);
});

test("a WebSocket handshake is answered 406 and says what is spoken", async () => {
  const world = await startWorld();
  const client = rawClient(world.port);
  client.send(
    `GET ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
  );
  expect(await client.until("}\n")).toMatch(/^HTTP\/1\.1 406 [^]*not_acceptable/);
});

test("a browser that opens a topic's URL is sent to the playground; EventSource and curl are not", async () => {
  const world = await startWorld();
  const navigation = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
  const page = await send(world, "/v1/topics/a/b", { headers: { accept: navigation } });
  expect([page.status, page.headers["location"]]).toEqual([303, "/?topic=a%2Fb"]);
  for (const accept of ["text/event-stream", "*/*", "text/*", "text/html;q=0.5, */*"]) {
    expect((await openStream(world, TOPIC, { accept })).status).toBe(200);
  }
  const closed = await startWorld({ gateway: { isOpen: false } });
  expect((await openStream(closed, TOPIC, { accept: navigation })).status).toBe(200);
});

test("F21 HEAD shows the stream's headers, has no body and leaves no subscriber", async () => {
  const world = await startWorld();
  const reply = await send(world, TOPIC, { method: "HEAD" });
  expect([reply.status, reply.text]).toEqual([200, ""]);
  expect(reply.headers["content-type"]).toBe("text/event-stream; charset=utf-8");
  expect(world.hub.metrics.get("sluice_subscriptions_total", "exact")).toBe(0);
  expect((await send(world, "/v1/topics/a//b", { method: "HEAD" })).status).toBe(400);
});

test("F21 an HTTP/1.0 stream has no chunks and ends with its connection", async () => {
  const world = await startWorld();
  const client = rawClient(world.port);
  client.send(`GET ${TOPIC} HTTP/1.0\r\n\r\n`);
  await client.until("\n\n", 2);
  await post(world, TOPIC, "x");
  await send(world, TOPIC, { method: "DELETE" });
  const text = await client.closed;
  expect(text).not.toMatch(/transfer-encoding/i);
  expect(text).toMatch(/\r\nConnection: close\r\n/);
  expect(text).toMatch(
    /\r\n\r\nretry: [0-9]+\n\nid: [^\n]+\n\ndata: x\nid: [^\n]+\n\nevent: end\n/,
  );
});

test("law 10: a client that leaves while its cursor is judged leaves no subscriber", async () => {
  const world = await startWorld();
  const { broker } = world.hub;
  const read = broker.read.bind(broker);
  let proceed = (): void => {};
  const asked = new Promise<void>((resolve) => {
    broker.read = async (request) => {
      resolve();
      await new Promise<void>((go) => (proceed = go));
      return read(request);
    };
  });
  const client = rawClient(world.port);
  client.send(`GET ${TOPIC} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  await asked;
  expect(world.hub.subscribersNow).toBe(1);
  client.socket.destroy();
  // A later request on the same listener is answered after the reset was seen.
  await post(world, TOPIC, "x");
  proceed();
  await eventually(() => world.hub.subscribersNow === 0);
});

test("law 23: after a hundred streams have come and gone every gauge is zero", async () => {
  const world = await startWorld();
  const streams = await Promise.all(Array.from({ length: 100 }, () => openStream(world, TOPIC)));
  expect(world.hub.metrics.get("sluice_subscribers", "live")).toBe(100);
  for (const stream of streams) stream.cut();
  await eventually(() => world.hub.subscribersNow === 0);
  world.hub.measure();
  for (const { name, label, value } of world.hub.metrics.samples()) {
    if (/^sluice_(subscribers|routes)$/.test(name))
      expect([name, label, value]).toEqual([name, label, 0]);
  }
});
