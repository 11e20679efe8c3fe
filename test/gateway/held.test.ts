import { expect, test } from "vitest";
import { eventually, post, rawClient, send, startWorld } from "./support.ts";
import type { World } from "./support.ts";

const HOST = "Host: localhost\r\n";

function get(path: string, headers = ""): string {
  return `GET ${path} HTTP/1.1\r\n${HOST}${headers}\r\n`;
}

function publish(topic: string, body: string): string {
  return `POST /v1/topics/${topic} HTTP/1.1\r\n${HOST}Content-Length: ${body.length}\r\n\r\n${body}`;
}

/** The judgement of the next streams waits until `proceed` is called; `asked` says that one does. */
function holdReads({ hub: { broker } }: World): { asked: Promise<void>; proceed: () => void } {
  const read = broker.read.bind(broker);
  let proceed = (): void => {};
  const allowed = new Promise<void>((resolve) => (proceed = resolve));
  const asked = new Promise<void>((resolve) => {
    broker.read = async (request) => {
      resolve();
      await allowed;
      return read(request);
    };
  });
  return { asked, proceed };
}

test("F22 a publish behind a stream request in one segment is not done, and the stream runs", async () => {
  const world = await startWorld();
  const client = rawClient(world.port);
  client.send(get("/v1/topics/a") + publish("a", "never told"));
  await client.until("\n\n", 2);
  await post(world, "/v1/topics/a", "seen");
  const text = await client.until("data: seen");
  expect(text.match(/HTTP\/1\.1 [0-9]/g)).toHaveLength(1);
  expect(text).not.toContain("data: never");
  expect(world.hub.metrics.plain.sluice_publications_total).toBe(1);
});

test("F22 nothing is done of what came while a stream was judged, and the stream's end is noticed", async () => {
  const world = await startWorld();
  const { asked, proceed } = holdReads(world);
  const client = rawClient(world.port);
  client.send(
    get("/v1/topics/a") +
      publish("a", "never told") +
      `DELETE /v1/topics/a HTTP/1.1\r\n${HOST}\r\n` +
      publish("a", "x".repeat(300_000)),
  );
  await asked;
  // A whole request later all heads have been read.
  await send(world, "/v1/topics/a", { method: "HEAD" });
  proceed();
  await client.until("\n\n", 2);
  await post(world, "/v1/topics/a", "seen");
  expect(await client.until("data: seen")).not.toContain("data: never");
  expect(world.hub.metrics.plain.sluice_publications_total).toBe(1);
  // A body that nobody reads does not hide that the client has gone.
  client.socket.end();
  await eventually(() => world.hub.subscribersNow === 0);
  expect(world.hub.metrics.get("sluice_disconnects_total", "client_closed")).toBe(1);
});

test("what is pipelined behind a stream request that gets no stream is answered, in order", async () => {
  const world = await startWorld();
  const ended = await send(world, "/v1/topics/ended", { method: "DELETE" });
  const end = `Last-Event-ID: ${String(ended.json["id"])}\r\n`;
  const client = rawClient(world.port);
  client.send(
    get("/v1/topics/ended", end) +
      publish("a", "1") +
      get("/v1/topics/a?on_gap=refuse&last_event_id=x.1") +
      publish("a", "2") +
      get("/v1/topics/a?last_event_id=earliest") +
      publish("a", "3"),
  );
  const text = await client.until("data: 2");
  expect(text.match(/HTTP\/1\.1 [0-9]+/g)).toEqual(
    [204, 201, 409, 201, 200].map((status) => `HTTP/1.1 ${status}`),
  );
  await post(world, "/v1/topics/a", "4");
  expect(await client.until("data: 4")).not.toContain("data: 3");
  expect(world.hub.metrics.plain.sluice_publications_total).toBe(3);
});

test("nothing is done of what waits behind a stream request when the client leaves", async () => {
  const world = await startWorld();
  const { asked, proceed } = holdReads(world);
  const client = rawClient(world.port);
  client.send(get("/v1/topics/a") + publish("a", "x"));
  await asked;
  client.socket.destroy();
  await client.closed;
  // A whole request later the server has seen it.
  await send(world, "/v1/topics/a", { method: "HEAD" });
  proceed();
  await eventually(() => world.hub.subscribersNow === 0);
  expect(world.hub.metrics.plain.sluice_publications_total).toBe(0);
});

test("more than 64 requests behind a stream request close the connection, and none is done", async () => {
  const world = await startWorld();
  const { proceed } = holdReads(world);
  const client = rawClient(world.port);
  client.send(get("/v1/topics/a") + publish("a", "x").repeat(65));
  expect(await client.closed).toBe("");
  proceed();
  await eventually(() => world.hub.subscribersNow === 0);
  expect(world.hub.metrics.plain.sluice_publications_total).toBe(0);
});

test("a publish that is pipelined behind a refused body, whose answer closes the connection, is not done", async () => {
  const world = await startWorld({ hub: { eventBytesMax: 10 } });
  const client = rawClient(world.port);
  const size = 100_000;
  client.send(`POST /v1/topics/a HTTP/1.1\r\n${HOST}Content-Length: ${size}\r\n\r\n`);
  await client.until("}\n");
  client.send("x".repeat(size) + publish("a", "x"));
  expect((await client.closed).match(/HTTP\/1\.1 [0-9]+/g)).toEqual(["HTTP/1.1 413"]);
  expect(world.hub.metrics.plain.sluice_publications_total).toBe(0);
});
