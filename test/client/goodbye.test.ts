import { expect, onTestFinished, test } from "vitest";
import { publish, subscribe } from "../../src/client/index.ts";
import type { ReceivedItem, Reconnect, SubscribeOptions } from "../../src/client/index.ts";
import { eventually, openStream, startWorld } from "../gateway/support.ts";
import { startStub, status, stream } from "./stub.ts";
import type { Answer } from "./stub.ts";

const BACKOFF = { baseMs: 1, capMs: 5 };

/** Reads all there is, and tells each reconnect; `leave` ends it. */
function read(options: Omit<SubscribeOptions, "topics">): {
  items: ReceivedItem[];
  reconnects: Reconnect[];
  leave: () => void;
  done: Promise<void>;
} {
  const items: ReceivedItem[] = [];
  const reconnects: Reconnect[] = [];
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  const run = async (): Promise<void> => {
    const onReconnect = (reconnect: Reconnect): void => {
      reconnects.push(reconnect);
      options.onReconnect?.(reconnect);
    };
    const all = { topics: ["a"], backoff: BACKOFF, signal: stop.signal, ...options, onReconnect };
    for await (const item of subscribe(all)) items.push(item);
  };
  return { items, reconnects, leave: () => stop.abort(), done: run() };
}

test.each([
  ["503", 503, "30", 0, 30_000],
  ["503 and bad luck", 503, "30", 0.999, 45_000],
  ["429", 429, "7", 0, 7_000],
  ["503 for longer than any backoff", 503, "1800", 0, 1_800_000],
  ["503 until long after us all", 503, "999999999", 0, 3_600_000],
])("law 16 %s: it is asked again when it said, never earlier", async (...row) => {
  const [, code, retryAfter, luck, expected] = row;
  const stub = await startStub(status(code, { "Retry-After": retryAfter }, "Retry."));
  const reader = read({
    url: stub.url,
    backoff: { ...BACKOFF, random: () => luck },
    onReconnect: () => reader.leave(),
  });
  await reader.done;
  const [{ delayMs } = { delayMs: 0 }] = reader.reconnects;
  expect(delayMs).toBeGreaterThanOrEqual(Math.min(expected, Number(retryAfter) * 1_000));
  expect(Math.abs(delayMs - expected)).toBeLessThan(100);
  expect(stub.requests[0]?.url).toContain("on_overload=status");
});

test("a publish gives up where the server asks for a longer wait than it would ever make", async () => {
  const stub = await startStub(status(503, { "Retry-After": "30" }, "Retry in 30s."));
  const attempt = publish({ url: stub.url, topic: "a", data: "x", backoff: BACKOFF });
  await expect(attempt).rejects.toMatchObject({ code: "refused", problem: { status: 503 } });
  expect(stub.requests).toHaveLength(1);
});

test("P06 a drain's goodbye is acknowledged while the stream is open, and the next one comes after the told delay", async () => {
  const stub = await startStub(
    stream("id: e.1\n\nretry: 7\n\nevent: close\ndata: pool_draining\n\n", {
      ends: false,
      headers: { "Sluice-Connection": "an id/1" },
    }),
    status(204),
    status(204),
  );
  const headers = { Authorization: "Bearer x" };
  const { done, reconnects } = read({ url: `${stub.url}/at`, headers });
  await done;
  expect(stub.requests.map(({ method, url }) => `${method} ${url}`)).toEqual([
    "GET /at/v1/topics/a?on_overload=status",
    "POST /at/v1/connections/an%20id%2F1/ack",
    "GET /at/v1/topics/a?on_overload=status",
  ]);
  expect(stub.requests[1]?.headers["authorization"]).toBe("Bearer x");
  expect(reconnects).toEqual([
    { delayMs: 7, reason: 'the server said "pool_draining"', closing: "pool_draining" },
  ]);
});

test.each(["max_age", "overloaded", "closed_by_operator", "internal_error"])(
  "%s is followed by the next connection, without an ACK",
  async (reason) => {
    const stub = await startStub(
      stream(`retry: 3\n\nevent: close\ndata: ${reason}\n\n`, {
        headers: { "Sluice-Connection": "c" },
      }),
      status(204),
    );
    const { done, reconnects } = read({ url: stub.url });
    await done;
    expect(stub.requests.map(({ method }) => method)).toEqual(["GET", "GET"]);
    expect(reconnects).toMatchObject([{ delayMs: 3, closing: reason }]);
  },
);

test("a server that says goodbye each time is waited for longer each time", async () => {
  const goodbye = stream("retry: 2\n\nevent: close\ndata: overloaded\n\n");
  const stub = await startStub(goodbye, goodbye, goodbye, goodbye, status(204));
  const backoff = { baseMs: 1, capMs: 1_000, random: () => 0.999 };
  const { done, reconnects } = read({ url: stub.url, backoff });
  await done;
  expect(reconnects.map(({ delayMs }) => delayMs)).toEqual([2, 6, 10, 18]);
});

const FAILURES: [string, Answer][] = [
  ["404", status(404)],
  ["500", status(500)],
  ["a redirect", status(302, { Location: "http://evil.example/" })],
  ["a reset", (response) => response.destroy()],
  ["nothing at all", () => {}],
];

test.each(FAILURES)("an ACK that is answered by %s breaks nothing", async (_, answer) => {
  const stub = await startStub(
    stream("id: e.1\n\nevent: close\ndata: pool_draining\n\n", {
      ends: false,
      headers: { "Sluice-Connection": "c" },
    }),
    answer,
    stream("data: on\nid: e.2\n\n"),
    status(204),
  );
  const { done, items } = read({ url: stub.url });
  await done;
  expect(items).toMatchObject([{ data: "on", id: "e.2" }]);
});

test("without an id of the connection there is no ACK: its end is one as well", async () => {
  const stub = await startStub(
    stream("event: close\ndata: pool_draining\n\n", { ends: false }),
    status(204),
  );
  await read({ url: stub.url }).done;
  expect(stub.requests.map(({ method }) => method)).toEqual(["GET", "GET"]);
});

test("heartbeats are no items, but what is published under their name is", async () => {
  const stub = await startStub(
    stream(
      "id: e.1\n\nevent: heartbeat\ndata:\n\ndata: x\nid: e.2\n\nevent: heartbeat\ndata:\nid: e.3\n\n" +
        "event: heartbeat\ndata:\n\nid: e.9\n\nevent: heartbeat\ndata:\n\n",
    ),
    status(204),
  );
  const { done, items } = read({ url: stub.url, heartbeat: "event" });
  await done;
  expect(items).toMatchObject([
    { event: "message", data: "x", id: "e.2" },
    { event: "heartbeat", data: "", id: "e.3" },
  ]);
  expect(stub.requests.map(({ method, url }) => `${method} ${url}`)).toEqual([
    "GET /v1/topics/a?heartbeat=event&on_overload=status",
    "GET /v1/topics/a?heartbeat=event&on_overload=status",
  ]);
});

test("with heartbeat ack each heartbeat is acknowledged by itself, and the connection lives", async () => {
  const world = await startWorld({ hub: { heartbeat: { heartbeatMs: 300 } } });
  const { items, reconnects } = read({ url: world.url, heartbeat: "ack" });
  const { metrics } = world.hub;
  await eventually(() => metrics.get("sluice_acks_total", "accepted") >= 5);
  await publish({ url: world.url, topic: "a", data: "x" });
  await eventually(() => items.length === 1);
  expect(reconnects).toEqual([]);
  expect(metrics.get("sluice_disconnects_total", "ack_missed")).toBe(0);
});

test("P06 a gateway that drains is told by an ACK, and its client goes to the next one", async () => {
  const world = await startWorld();
  const { reconnects } = read({ url: world.url });
  await eventually(() => world.hub.subscribersNow === 1);
  await world.drain();
  expect(world.hub.metrics.get("sluice_acks_total", "accepted")).toBe(1);
  expect(world.hub.metrics.get("sluice_drain_closed_total", "ack")).toBe(1);
  await eventually(() => reconnects.length > 0);
  expect(reconnects[0]?.closing).toBe("pool_draining");
});

test("law 16 a gateway without room refuses our client by status, and has it back in time, with all it missed", async () => {
  const world = await startWorld({
    gateway: {
      admission: { maxConnections: 10, openPercent: 10, closePercent: 9, retryAfterMs: 1_000 },
    },
  });
  const only = await openStream(world, "/v1/topics/b");
  const { items, reconnects } = read({ url: world.url, from: "earliest" });
  await eventually(() => reconnects.length > 0);
  expect(world.hub.metrics.get("sluice_rejected_total", "capacity")).toBe(1);
  // A goodbye would be the form of EventSource.
  expect(reconnects[0]).toMatchObject({ reason: "HTTP 503 Service Unavailable" });
  expect(reconnects[0]?.delayMs).toBeGreaterThanOrEqual(1_000);
  expect(reconnects[0]?.delayMs).toBeLessThanOrEqual(1_505);
  await world.hub.publish({ tenant: "default", topic: "a", events: [{ data: "meanwhile" }] });
  only.cut();
  await eventually(() => items.length === 1);
  expect(items).toMatchObject([{ data: "meanwhile" }]);
});
