import { expect, onTestFinished, test } from "vitest";
import { publish, subscribe } from "../../src/client/index.ts";
import type { ReceivedItem, Reconnect, SubscribeOptions } from "../../src/client/index.ts";
import { PORTS_BLOCKED } from "../../src/client/url.ts";
import { post, send, startWorld } from "../gateway/support.ts";
import { startProxy } from "./proxy.ts";
import { problem, startStub, status, stream } from "./stub.ts";

/** No waits worth mentioning. */
const QUICK = { baseMs: 1, capMs: 5 };

interface Run {
  readonly items: ReceivedItem[];
  readonly reconnects: Reconnect[];
  readonly reader: AsyncGenerator<ReceivedItem, void, void>;
  readonly take: (count: number) => Promise<ReceivedItem[]>;
}

function run(options: Omit<SubscribeOptions, "topics"> & { topics?: string[] }): Run {
  const items: ReceivedItem[] = [];
  const reconnects: Reconnect[] = [];
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  const reader = subscribe({
    topics: ["a"],
    backoff: QUICK,
    signal: stop.signal,
    onReconnect: (reconnect) => reconnects.push(reconnect),
    ...options,
  });
  return {
    items,
    reconnects,
    reader,
    async take(count) {
      while (items.length < count) {
        const { value, done } = await reader.next();
        if (done === true) break;
        items.push(value);
      }
      return items;
    },
  };
}

const dataOf = (items: readonly ReceivedItem[]): unknown[] =>
  items.map((item) => (item.type === "event" ? item.data : item.type));

test("events of one topic arrive with id, topic, name and data", async () => {
  const world = await startWorld();
  const { json } = await post(world, "/v1/topics/a?event=tick", "one\ntwo");
  const [item] = await run({ url: world.url, from: "earliest" }).take(1);
  expect(item).toEqual({
    type: "event",
    id: json["id"],
    topic: "a",
    event: "tick",
    data: "one\ntwo",
  });
});

test("many topics and patterns arrive in one order, each with its topic", async () => {
  const world = await startWorld();
  for (const topic of ["a", "b/c", "a", "d"])
    await post(world, `/v1/topics/${topic}`, `in ${topic}`);
  const items = await run({ url: world.url, topics: ["a", "b/*"], from: "earliest" }).take(3);
  expect(items.map((item) => item.type === "event" && [item.topic, item.data])).toEqual([
    ["a", "in a"],
    ["b/c", "in b/c"],
    ["a", "in a"],
  ]);
});

test("a stream that is cut at any byte goes on at exactly the next event", async () => {
  const world = await startWorld();
  const proxy = await startProxy(world.url);
  const lines = Array.from({ length: 60 }, (_, index) => `event number ${index}`);
  for (const line of lines) await post(world, "/v1/topics/a", line);
  // From within the answer's head to within the last events; each cut is a few bytes further on.
  proxy.cutNextAfter(Array.from({ length: 80 }, (_, index) => 100 + index * 11));
  const { take, items } = run({ url: proxy.url, from: "earliest" });
  expect(dataOf(await take(60))).toEqual(lines);
  expect(new Set(items.map((item) => item.type === "event" && item.id)).size).toBe(60);
  expect(proxy.connectionsTotal).toBeGreaterThan(5);
});

test("a server that is away is asked again until it is back, and nothing is lost", async () => {
  const world = await startWorld();
  const proxy = await startProxy(world.url);
  const { take, reconnects } = run({ url: proxy.url, from: "earliest" });
  await post(world, "/v1/topics/a", "before");
  expect(dataOf(await take(1))).toEqual(["before"]);
  await proxy.stop();
  await post(world, "/v1/topics/a", "meanwhile");
  const more = take(3);
  while (reconnects.length < 3) await new Promise((resolve) => setImmediate(resolve));
  await proxy.restart();
  await post(world, "/v1/topics/a", "after");
  expect(dataOf(await more)).toEqual(["before", "meanwhile", "after"]);
});

test("a cut before the first event of a subscription from the newest on loses nothing after it", async () => {
  const world = await startWorld();
  const proxy = await startProxy(world.url);
  const { take, reconnects } = run({ url: proxy.url });
  const first = take(1);
  while (world.hub.subscribersNow === 0) await new Promise((resolve) => setImmediate(resolve));
  // The primer has been written with the head; give it the way through the proxy.
  await send({ url: proxy.url }, "/v1/topics/a", { method: "HEAD" });
  proxy.cut();
  await post(world, "/v1/topics/a", "while it was cut");
  expect(dataOf(await first)).toEqual(["while it was cut"]);
  expect(reconnects.length).toBeGreaterThanOrEqual(1);
});

test("what cannot be continued is a gap, and what is retained follows", async () => {
  const world = await startWorld();
  await post(world, "/v1/topics/a", "kept");
  const items = await run({ url: world.url, from: "foreign.5" }).take(2);
  expect(items[0]).toMatchObject({ type: "gap", reason: "epoch", from: null });
  expect(dataOf(items)).toEqual(["gap", "kept"]);
});

test("the end of the only topic ends the iteration, and so does 204 afterwards", async () => {
  const world = await startWorld();
  const { json } = await post(world, "/v1/topics/a", "last");
  await send(world, "/v1/topics/a", { method: "DELETE" });
  const items = await run({ url: world.url, from: "earliest" }).take(9);
  expect(items.at(-1)).toMatchObject({ type: "end", topic: "a", reason: "deleted" });
  expect(items).toHaveLength(2);
  const { id } = items.at(-1) as { id: string };
  expect(id).not.toBe(json["id"]);
  expect(await run({ url: world.url, from: id }).take(1)).toEqual([]);
});

test("of many topics the end of one is told, and the others go on", async () => {
  const world = await startWorld();
  const { take } = run({ url: world.url, topics: ["a", "b"], from: "earliest" });
  await post(world, "/v1/topics/b", "first");
  await send(world, "/v1/topics/a", { method: "DELETE" });
  await post(world, "/v1/topics/b", "second");
  expect(dataOf(await take(3))).toEqual(["first", "end", "second"]);
  await send(world, "/v1/topics/b", { method: "DELETE" });
  expect(dataOf(await take(9))).toEqual(["first", "end", "second", "end"]);
});

test("an announced close is followed by the next connection, at the same place", async () => {
  const stub = await startStub(
    stream("retry: 3\n\nid: e.1\n\ndata: x\nid: e.2\n\nevent: close\ndata: pool_draining\n\n", {
      ends: false,
    }),
    stream("data: y\nid: e.3\n\n"),
    status(204),
  );
  const { take, reconnects } = run({ url: stub.url, from: "earliest", backoff: { baseMs: 1e6 } });
  expect(dataOf(await take(9))).toEqual(["x", "y"]);
  expect(stub.requests.map(({ headers, url }) => [headers["last-event-id"], url])).toEqual([
    [undefined, "/v1/topics/a?last_event_id=earliest&on_overload=status"],
    ["e.2", "/v1/topics/a?on_overload=status"],
    ["e.3", "/v1/topics/a?on_overload=status"],
  ]);
  expect(reconnects[0]?.reason).toBe('the server said "pool_draining"');
  // `retry:` has replaced the base of the waits.
  expect(Math.max(...reconnects.map(({ delayMs }) => delayMs))).toBeLessThanOrEqual(6);
});

test("a primer alone moves the place, an event that was cut off does not", async () => {
  const stub = await startStub(stream("id: e.7\n\ndata: half\nid: e.8\n"), status(204));
  expect(await run({ url: stub.url }).take(1)).toEqual([]);
  expect(stub.requests[1]?.headers["last-event-id"]).toBe("e.7");
});

test("503 is waited out as Retry-After says, and then asked again", async () => {
  const stub = await startStub(
    status(503, { "Retry-After": "1" }, "busy"),
    status(503, { "Retry-After": "0" }),
    status(204),
  );
  const { take, reconnects } = run({ url: stub.url, backoff: { ...QUICK, capMs: 20 } });
  await take(1);
  // 1 s, capped.
  expect(reconnects[0]?.delayMs).toBeGreaterThanOrEqual(20);
  expect(reconnects[1]?.delayMs).toBeLessThan(20);
  expect(reconnects[0]?.reason).toBe("HTTP 503 Service Unavailable");
});

test("a refusal for good ends the iteration with the server's words", async () => {
  const document = {
    title: "Not a topic name",
    status: 400,
    detail: "it is empty",
    code: "x",
    hint: "h",
  };
  const stub = await startStub(problem(400, document));
  await expect(run({ url: stub.url }).take(1)).rejects.toMatchObject({
    name: "SluiceClientError",
    code: "refused",
    message: "Not a topic name: it is empty",
    problem: document,
  });
  expect(stub.requests).toHaveLength(1);
});

test.each([
  ["a page", status(200, { "Content-Type": "text/html" }, "<p>"), /200 of type text\/html/],
  ["a redirect", status(302, { Location: "http://evil.example/" }), /redirects to http:\/\/evil/],
  ["201", status(201), /201 of type none/],
])("%s is not Sluice, and nothing else is asked (S18)", async (_, answer, message) => {
  const stub = await startStub(answer);
  const headers = { Authorization: "Bearer x" };
  await expect(run({ url: stub.url, headers }).take(1)).rejects.toMatchObject({
    code: "not_sluice",
    message: expect.stringMatching(message) as string,
  });
  expect(stub.requests).toHaveLength(1);
});

test("S12 a silent stream is given up and made again", async () => {
  const stub = await startStub(stream("id: e.1\n\n", { ends: false }), status(204));
  const { take, reconnects } = run({ url: stub.url, idleMs: 30 });
  expect(await take(1)).toEqual([]);
  expect(reconnects).toEqual([
    { delayMs: expect.any(Number) as number, reason: "no sign of life within 30 ms" },
  ]);
});

test("S12 an answer whose body never begins is given up, long before a silent stream would be", async () => {
  const stub = await startStub(stream("", { ends: false }), status(204));
  const { take, reconnects } = run({ url: stub.url, firstByteMs: 30, idleMs: 1e6, connectMs: 1e6 });
  expect(await take(1)).toEqual([]);
  expect(reconnects[0]?.reason).toBe("no sign of life within 30 ms");
});

test("S12 a server that accepts and does not answer is given up", async () => {
  const stub = await startStub(() => {}, status(204));
  const { take, reconnects } = run({ url: stub.url, connectMs: 30 });
  expect(await take(1)).toEqual([]);
  expect(reconnects[0]?.reason).toBe("no answer within 30 ms");
});

test("waits double up to the cap with full jitter, and start afresh only after a stable connection (S11)", async () => {
  const stub = await startStub(status(500));
  const waits: number[] = [];
  const stop = new AbortController();
  const options = { url: stub.url, topics: ["a"], signal: stop.signal, stableMs: 1e6 };
  const backoff = { baseMs: 2, capMs: 16, random: () => 0.999 };
  const onReconnect = ({ delayMs }: Reconnect): void => {
    waits.push(delayMs);
    if (waits.length === 6) stop.abort();
  };
  for await (const item of subscribe({ ...options, backoff, onReconnect })) expect(item).toBeNull();
  expect(waits).toEqual([2, 4, 8, 16, 16, 16]);
});

test("an event beyond the limit ends the iteration with a typed error, after the good ones", async () => {
  const stub = await startStub(stream(`data: ok\nid: e.1\n\ndata: ${"x".repeat(11)}\n\n`));
  const { take, items } = run({ url: stub.url, frameBytesMax: 16 });
  await expect(take(2)).rejects.toMatchObject({
    code: "stream_invalid",
    message: "a frame is longer than frameBytesMax, 16 bytes",
  });
  expect(dataOf(items)).toEqual(["ok"]);
});

test("aborting ends the iteration without an error, whatever it waits for", async () => {
  const stub = await startStub(stream("id: e.1\n\n", { ends: false }));
  const away = await startProxy(stub.url);
  await away.stop();
  for (const url of [stub.url, away.url]) {
    const stop = new AbortController();
    const reader = subscribe({ url, topics: ["a"], signal: stop.signal });
    const next = reader.next();
    stop.abort();
    expect(await next).toEqual({ done: true, value: undefined });
  }
});

test.each([
  ["a port that fetch blocks", "http://127.0.0.1:9", {}, /^fetch blocks port 9,/],
  ["no URL", "127.0.0.1", {}, /^the URL cannot be read$/],
  ["another scheme", "ftp://127.0.0.1", {}, /^the URL is neither/],
  ["a password", "http://u:secret@127.0.0.1", {}, /^the URL has a user or password in it$/],
  ["a bad header", "http://127.0.0.1", { "a b": "secret" }, /^a header has a name or value/],
])("%s ends it at once, because no repeat can mend it", async (_, url, headers, message) => {
  const wanted = { code: "request_invalid", message: expect.stringMatching(message) as string };
  const { take, reconnects } = run({ url, headers });
  await expect(take(1)).rejects.toMatchObject(wanted);
  expect(reconnects).toEqual([]);
  await expect(publish({ url, headers, topic: "a", data: "x" })).rejects.toMatchObject(wanted);
});

test("every port that the client refuses is one that fetch blocks", async () => {
  for (const port of PORTS_BLOCKED) {
    const failure = fetch(`http://127.0.0.1:${port}`);
    await expect(failure, `port ${port}`).rejects.toMatchObject({
      cause: expect.objectContaining({ message: "bad port" }) as Error,
    });
  }
});

test("leaving the loop closes the connection", async () => {
  const world = await startWorld();
  await post(world, "/v1/topics/a", "x");
  for await (const item of subscribe({ url: world.url, topics: ["a"], from: "earliest" })) {
    expect(item.type).toBe("event");
    break;
  }
  while (world.hub.subscribersNow > 0) await new Promise((resolve) => setImmediate(resolve));
});

test("a base with a path is where Sluice is mounted", async () => {
  const stub = await startStub(status(204));
  await run({ url: `${stub.url}/mounted/`, topics: ["a/b c"] }).take(1);
  expect(stub.requests[0]?.url).toBe("/mounted/v1/topics/a/b%20c?on_overload=status");
});
