import { createServer } from "node:http";
import type { RequestListener, Server } from "node:http";
import type { AddressInfo } from "node:net";
import express from "express";
import { fastify } from "fastify";
import { expect, onTestFinished, test } from "vitest";
import { createMemoryBroker } from "../../src/brokers/memory.ts";
import { Hub } from "../../src/core/hub.ts";
import { gatewayOf } from "../../src/gateway/gateway.ts";
import type { Gateway, GatewayOptions } from "../../src/gateway/gateway.ts";
import { systemRuntime } from "../../src/internal/clock.ts";
import { openStream, post, send } from "./support.ts";

function newGateway(options: GatewayOptions = {}): Gateway {
  const hub = new Hub({ broker: createMemoryBroker(), runtime: systemRuntime() });
  onTestFinished(() => hub.close());
  return gatewayOf(hub, options);
}

async function serve(listener: RequestListener): Promise<{ url: string }> {
  return listening(createServer(listener));
}

async function listening(server: Server): Promise<{ url: string }> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function publishesAndStreams(world: { url: string }, prefix = ""): Promise<void> {
  const published = await post(world, `${prefix}/v1/topics/a`, '{"n":1}', {
    "content-type": "application/json",
  });
  expect(published.status).toBe(201);
  const stream = await openStream(world, `${prefix}/v1/topics/a?last_event_id=earliest`);
  expect(await stream.take(1)).toMatchObject([
    { data: '{"n":1}', lastEventId: published.json["id"] },
  ]);
}

test("the handler serves on a plain node:http server", async () => {
  const world = await serve(newGateway().handler);
  await publishesAndStreams(world);
  expect((await send(world, "/elsewhere")).json["code"]).toBe("not_found");
  expect((await send(world, "/")).status).toBe(404);
});

test("under Express it takes its own paths and leaves the others to the application", async () => {
  const app = express();
  app.use(newGateway().handler);
  app.get("/own", (_request, response) => void response.send("own"));
  const world = await serve(app);
  await publishesAndStreams(world);
  expect((await send(world, "/own")).text).toBe("own");
});

test("under a mount path of Express it serves below that path", async () => {
  const app = express();
  app.use("/events", newGateway().handler);
  await publishesAndStreams(await serve(app), "/events");
});

test("behind a body parser a publish is refused, because its body is gone", async () => {
  const app = express();
  app.use(express.json(), newGateway().handler);
  const reply = await post(await serve(app), "/v1/topics/a", "{}", {
    "content-type": "application/json",
  });
  expect([reply.status, reply.json["code"]]).toEqual([500, "internal_error"]);
  expect(reply.json["detail"]).toContain("ahead of body parsers");
});

test("under Fastify it serves hijacked requests whose bodies were left alone", async () => {
  const gateway = newGateway();
  const app = fastify();
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _payload, done) => done(null));
  app.all("/v1/*", (request, reply) => {
    reply.hijack();
    gateway.handler(request.raw, reply.raw);
  });
  await app.ready();
  onTestFinished(() => app.close());
  await publishesAndStreams(await listening(app.server));
});

test("what is no error of the table is logged, and nothing of it is told", async () => {
  const logged: object[] = [];
  const ignore = (): void => {};
  const world = await serve(
    newGateway({
      logger: {
        debug: ignore,
        info: ignore,
        warn: ignore,
        error: (fields) => void logged.push(fields),
      },
      tenantOf: () => {
        throw new Error("the password is hunter2");
      },
    }).handler,
  );
  const reply = await post(world, "/v1/topics/a", "x");
  expect([reply.status, reply.json["code"]]).toEqual([500, "internal_error"]);
  expect(reply.text).not.toContain("hunter2");
  expect(logged).toEqual([
    { err: expect.objectContaining({ message: "the password is hunter2" }) },
  ]);
});

test("the tenant comes from the hook: a cursor of one is foreign to the other", async () => {
  const world = await serve(
    newGateway({ tenantOf: (request) => String(request.headers["x-tenant"]) }).handler,
  );
  const { json } = await post(world, "/v1/topics/a", "of one", { "x-tenant": "one" });
  await post(world, "/v1/topics/a", "of two", { "x-tenant": "two" });
  const stream = await openStream(world, "/v1/topics/a", {
    "x-tenant": "two",
    "last-event-id": String(json["id"]),
  });
  const [gap, event] = await stream.take(2);
  expect(JSON.parse(gap?.data ?? "")).toMatchObject({ reason: "epoch", from: null });
  expect(event?.data).toBe("of two");
});

test("a gateway that drains says goodbye to its streams and opens no more", async () => {
  const gateway = newGateway();
  const world = await serve(gateway.handler);
  const stream = await openStream(world, "/v1/topics/a");
  const drained = gateway.drain({ ackWaitMs: 50 });
  expect(await stream.ended).toBe(true);
  expect(await drained).toMatchObject({ total: 1, byHow: { ack_timeout: 1 }, isForced: false });
  expect(stream.events).toMatchObject([{ event: "close", data: "pool_draining" }]);
  const refused = await send(world, "/v1/topics/a");
  expect([refused.status, refused.json["code"]]).toEqual([503, "shutting_down"]);
  expect([refused.headers["retry-after"], refused.headers["connection"]]).toEqual(["1", "close"]);
});
