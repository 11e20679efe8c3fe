import { expect, test } from "vitest";
import { publish, subscribe } from "../../src/client/index.ts";
import { startWorld } from "../gateway/support.ts";
import { startProxy } from "./proxy.ts";
import { problem, startStub, status } from "./stub.ts";

const backoff = { baseMs: 1, capMs: 5 };

test("an event is in the log when publish resolves", async () => {
  const { url } = await startWorld();
  const receipt = await publish({ url, topic: "a/b", data: "hello", event: "tick", key: "k" });
  expect(receipt).toEqual({
    id: receipt.id,
    first: receipt.id,
    count: 1,
    durability: "memory",
    isDuplicate: false,
  });
  for await (const item of subscribe({ url, topics: ["a/b"], from: "earliest" })) {
    expect(item).toMatchObject({ id: receipt.id, event: "tick", data: "hello" });
    break;
  }
});

test("a batch is one request, and its receipt has both ends", async () => {
  const { url } = await startWorld();
  const receipt = await publish({ url, topic: "a", type: "ndjson", data: '{"n":1}\n{"n":2}\n3\n' });
  expect(receipt.count).toBe(3);
  expect([receipt.first, receipt.id].map((id) => id.split(".")[1])).toEqual(["1", "3"]);
});

test("a publish whose answer was lost is repeated with the same key, and appended once", async () => {
  const world = await startWorld();
  const proxy = await startProxy(world.url);
  proxy.cutNextAfter([0, 20]);
  const receipt = await publish({ url: proxy.url, topic: "a", data: "once", backoff });
  expect(proxy.connectionsTotal).toBe(3);
  expect(receipt).toMatchObject({ isDuplicate: true });
  expect(receipt.id).toMatch(/\.1$/);
});

test("a server that may be tried again is, for as often as was allowed", async () => {
  const document = { title: "The broker did not answer", status: 503, code: "broker_unavailable" };
  const stub = await startStub(problem(503, document));
  const attempt = publish({ url: stub.url, topic: "a", data: "x", backoff, attemptsMax: 3 });
  await expect(attempt).rejects.toMatchObject({ code: "refused", problem: document });
  expect(stub.requests).toHaveLength(3);
  const keys = new Set(stub.requests.map(({ headers }) => headers["idempotency-key"]));
  expect(keys.size).toBe(1);
});

test("a refusal is not repeated", async () => {
  const { url } = await startWorld();
  await expect(publish({ url, topic: "a b", data: "x" })).rejects.toMatchObject({
    code: "refused",
    problem: { code: "topic_name_invalid", status: 400 },
  });
  await expect(publish({ url, topic: "a", type: "json", data: "{" })).rejects.toMatchObject({
    problem: { code: "body_not_json" },
  });
});

test("nobody there is unreachable, with the reason as cause", async () => {
  const { url, stop } = await startProxy("http://127.0.0.1:1");
  await stop();
  const failure = await publish({ url, topic: "a", data: "x", backoff }).catch(
    (error: unknown) => error,
  );
  expect(failure).toMatchObject({ code: "unreachable", message: `no answer from ${url}` });
});

test("what answers but is no Sluice is told", async () => {
  const stub = await startStub(status(200, { "Content-Type": "application/json" }, '{"ok":true}'));
  await expect(publish({ url: stub.url, topic: "a", data: "x" })).rejects.toMatchObject({
    code: "not_sluice",
  });
});

test("an aborted publish rejects with the signal's reason", async () => {
  const stub = await startStub(() => {});
  const reason = new Error("enough");
  const stop = new AbortController();
  const attempt = publish({ url: stub.url, topic: "a", data: "x", signal: stop.signal });
  stop.abort(reason);
  await expect(attempt).rejects.toBe(reason);
});
