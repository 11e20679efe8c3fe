import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import express from "express";
import fastify from "fastify";
import { createGateway } from "sluice";
import type { Gateway } from "sluice";
import { describe, expect, onTestFinished, test } from "vitest";
import { openRaw } from "../support/raw-stream.ts";
import { openHub } from "./support.ts";

type Mount = (gateway: Gateway) => Promise<number>;

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

const overNodeHttp: Mount = async ({ handler }) =>
  listen(
    createServer((request, response) => {
      if (request.url === "/own") response.end("own");
      else handler(request, response);
    }),
  );

const overExpress: Mount = async ({ handler }) => {
  const app = express();
  app.use(handler);
  app.use(express.json());
  app.get("/own", (_request, response) => void response.send("own"));
  return listen(createServer(app));
};

const overFastify: Mount = async ({ handler }) => {
  const app = fastify();
  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    // Sluice reads the body itself.
    scope.addContentTypeParser("*", (_request, _body, done) => done(null));
    scope.all("/v1/*", (request, reply) => {
      reply.hijack();
      handler(request.raw, reply.raw);
    });
  });
  app.get("/own", () => "own");
  onTestFinished(() => app.close());
  onTestFinished(() => app.server.closeAllConnections());
  await app.listen({ port: 0, host: "127.0.0.1" });
  return (app.server.address() as AddressInfo).port;
};

describe.each([
  ["node:http", overNodeHttp],
  ["Express", overExpress],
  ["Fastify", overFastify],
])("createGateway(hub).handler under %s", (_name, mount) => {
  const open = async (): Promise<{ hub: ReturnType<typeof openHub>; port: number }> => {
    const hub = openHub();
    return { hub, port: await mount(createGateway(hub)) };
  };

  test("a stream gets what is posted and what the program publishes, in order", async () => {
    const { hub, port } = await open();
    const stream = openRaw({ port, path: "/v1/topics/orders/1" });
    await stream.until(() => stream.places.length === 1, "the primer");
    expect(stream.reader.status).toBe(200);
    expect(stream.reader.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    const ids: string[] = [];
    for (const body of ['{"n":1}', '{"n":2}']) {
      const answer = await fetch(`http://127.0.0.1:${port}/v1/topics/orders/1`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body,
      });
      expect(answer.status).toBe(201);
      ids.push(((await answer.json()) as { id: string }).id);
    }
    ids.push((await hub.publish("orders/1", "3")).id);
    await stream.until(() => stream.events.length === 3, "the events");
    expect(stream.data).toEqual(['{"n":1}', '{"n":2}', "3"]);
    expect(stream.events.map(({ lastEventId }) => lastEventId)).toEqual(ids);
    expect(stream.reader.tornChunks).toBe(0);
  });

  test("a stream that was cut resumes at exactly the next event", async () => {
    const { hub, port } = await open();
    for (let n = 1; n <= 5; n += 1) await hub.publish("orders", String(n));
    const first = openRaw({ port, path: "/v1/topics/orders?last_event_id=last:3" });
    await first.until(() => first.events.length >= 1, "an event");
    const cursor = first.events[0]?.lastEventId ?? "";
    first.socket.resetAndDestroy();
    await hub.publish("orders", "6");
    const headers = { "Last-Event-ID": cursor };
    const second = openRaw({ port, path: "/v1/topics/orders", headers });
    await second.until(() => second.events.length === 3, "the rest");
    expect(second.data).toEqual(["4", "5", "6"]);
  });

  test("a batch of lines and many topics on one connection", async () => {
    const { port } = await open();
    const stream = openRaw({ port, path: "/v1/events?topic=a&topic=b/*&last_event_id=earliest" });
    await stream.until(() => stream.places.length === 1, "the primer");
    for (const topic of ["a", "b/1", "c"]) {
      const answer = await fetch(`http://127.0.0.1:${port}/v1/topics/${topic}`, {
        method: "POST",
        headers: { "Content-Type": "application/x-ndjson" },
        body: '1\n"two"\n',
      });
      expect(await answer.json()).toMatchObject({ count: 2 });
    }
    await stream.until(() => stream.events.length === 4, "four events");
    expect(stream.data.map((data) => JSON.parse(data) as unknown)).toEqual([
      { topic: "a", data: "1" },
      { topic: "a", data: '"two"' },
      { topic: "b/1", data: "1" },
      { topic: "b/1", data: '"two"' },
    ]);
  });

  test("curl's form body is taken as text, and refusals are problem documents", async () => {
    const { port } = await open();
    const post = (path: string, type: string, body: string): Promise<Response> =>
      fetch(`http://127.0.0.1:${port}${path}`, {
        method: "POST",
        headers: { "Content-Type": type },
        body,
      });
    const accepted = await post("/v1/topics/a", "application/x-www-form-urlencoded", "a=1&b=%20");
    expect(accepted.status).toBe(201);
    const refused = await post("/v1/topics/a", "application/json", "{");
    expect([refused.status, refused.headers.get("content-type")]).toEqual([
      400,
      "application/problem+json",
    ]);
    expect(await refused.json()).toMatchObject({ code: "body_not_json" });
    const stream = openRaw({ port, path: "/v1/topics/a?last_event_id=earliest" });
    await stream.until(() => stream.events.length === 1, "the event");
    expect(stream.data).toEqual(["a=1&b=%20"]);
  });

  test("a client that leaves is forgotten, and the end of a topic ends its streams", async () => {
    const { hub, port } = await open();
    const leaving = openRaw({ port, path: "/v1/topics/a" });
    const staying = openRaw({ port, path: "/v1/topics/a" });
    await leaving.until(() => leaving.places.length === 1, "the primer");
    await staying.until(() => staying.places.length === 1, "the primer");
    leaving.socket.destroy();
    await hub.topic("a").end("done");
    await staying.closed();
    expect(staying.events.map(({ event }) => event)).toEqual(["end"]);
    expect(staying.reader.isFinished).toBe(true);
    const again = openRaw({
      port,
      path: "/v1/topics/a",
      headers: { "Last-Event-ID": staying.lastEventId },
    });
    await again.until(() => again.reader.isFinished, "the answer");
    expect(again.reader.status).toBe(204);
    expect(hub.core.subscribersNow).toBe(0);
  });

  test("the program's own routes stay its own", async () => {
    const { port } = await open();
    const answer = await fetch(`http://127.0.0.1:${port}/own`);
    expect(await answer.text()).toBe("own");
  });
});
