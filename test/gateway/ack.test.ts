import { createServer } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import { createGateway, createHub } from "../../src/index.ts";
import type { Gateway, GatewayOptions, LocalHub } from "../../src/index.ts";
import { listen } from "../../src/gateway/listen.ts";
import { openStream, send } from "./support.ts";
import type { OpenStream, Reply } from "./support.ts";

interface Served {
  readonly url: string;
  readonly hub: LocalHub;
  readonly gateway: Gateway;
}

async function serve(options: GatewayOptions = {}): Promise<Served> {
  const hub = createHub();
  const gateway = createGateway(hub, options);
  const server = createServer(gateway.handler);
  const url = await listen(server, "127.0.0.1", 0);
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await hub.close();
  });
  return { url, hub, gateway };
}

function idOf({ headers }: OpenStream): string {
  return String(headers["sluice-connection"]);
}

function ack(
  world: { url: string },
  id: string,
  headers: Record<string, string> = {},
): Promise<Reply> {
  return send(world, `/v1/connections/${id}/ack`, { method: "POST", headers });
}

test("P06 an ACK of goodbye ends the stream cleanly, and its answer closes its own connection", async () => {
  const world = await serve();
  const stream = await openStream(world, "/v1/topics/a");
  const drained = world.gateway.drain();
  await stream.take(1);
  const reply = await ack(world, idOf(stream));
  expect([reply.status, reply.text, reply.headers["connection"]]).toEqual([204, "", "close"]);
  expect(await stream.ended).toBe(true);
  expect(await drained).toMatchObject({ total: 1, byHow: { ack: 1 }, isForced: false });
  const { metrics } = world.hub.core;
  expect(metrics.get("sluice_acks_total", "accepted")).toBe(1);
  expect(metrics.get("sluice_drain_closed_total", "ack")).toBe(1);
});

test("A09 an ACK that nothing waits for is refused, and ends nothing", async () => {
  const world = await serve();
  const stream = await openStream(world, "/v1/topics/a");
  for (let count = 0; count < 100; count += 1) {
    const reply = await ack(world, idOf(stream));
    expect([reply.status, reply.json["code"]]).toEqual([409, "ack_unexpected"]);
  }
  await world.hub.publish("a", "still here");
  const [event] = await stream.take(1);
  expect(event?.data).toBe("still here");
  expect(world.hub.core.metrics.get("sluice_acks_total", "unexpected")).toBe(100);
});

test("A08 A09 forged, foreign and malformed ids have one answer, and end nothing", async () => {
  const world = await serve({ tenantOf: (request) => String(request.headers["x-tenant"]) });
  const stream = await openStream(world, "/v1/topics/a", { "x-tenant": "one" });
  const other = await openStream(world, "/v1/topics/a", { "x-tenant": "two" });
  void world.gateway.drain({ ackWaitMs: 60_000, deadlineMs: 60_000 });
  await Promise.all([stream.take(1), other.take(1)]);
  const id = idOf(stream);
  const forged = ["x", id.slice(0, -1), `${id}x`, "%00", "..%2f", "constructor", "A".repeat(9_000)];
  const answers = new Set<string>();
  for (const guess of [id, ...forged]) {
    const { status, text, headers } = await ack(world, guess, { "x-tenant": "two" });
    expect([status, headers["content-type"]]).toEqual([404, "application/problem+json"]);
    answers.add(text);
  }
  expect([...answers]).toHaveLength(1);
  expect([...answers][0]).toContain('"code":"connection_unknown"');
  expect(world.hub.core.connectionsNow).toBe(2);
  expect((await ack(world, idOf(stream), { "x-tenant": "one" })).status).toBe(204);
  expect(await stream.ended).toBe(true);
  expect(world.hub.core.connectionsNow).toBe(1);
  expect(world.hub.core.metrics.get("sluice_acks_total", "unknown")).toBe(8);
});

test("A09 a repeated ACK is refused", async () => {
  const world = await serve();
  const stream = await openStream(world, "/v1/topics/a");
  const another = await openStream(world, "/v1/topics/a");
  void world.gateway.drain({ ackWaitMs: 60_000, deadlineMs: 60_000 });
  await Promise.all([stream.take(1), another.take(1)]);
  // At once: the stream is still open when the second is judged, or just gone.
  const replies = await Promise.all([1, 2, 3].map(() => ack(world, idOf(stream))));
  const statuses = replies.map(({ status }) => status).toSorted((a, b) => a - b);
  expect(statuses[0]).toBe(204);
  for (const status of statuses.slice(1)) expect([404, 409]).toContain(status);
  expect(world.hub.core.connectionsNow).toBe(1);
});

test("a page may send an ACK without a preflight; a page of a foreign origin may not", async () => {
  const world = await serve({ corsOrigins: ["http://app.example"] });
  const stream = await openStream(world, "/v1/topics/a");
  void world.gateway.drain({ ackWaitMs: 60_000, deadlineMs: 60_000 });
  await stream.take(1);
  const foreign = await ack(world, idOf(stream), { origin: "http://evil.example" });
  expect([foreign.status, foreign.json["code"]]).toEqual([403, "origin_forbidden"]);
  // What `fetch(url, { method: "POST" })` sends: a simple request (Fetch, CORS protocol).
  const reply = await ack(world, idOf(stream), { origin: "http://app.example" });
  expect([reply.status, reply.headers["access-control-allow-origin"]]).toEqual([
    204,
    "http://app.example",
  ]);
  expect(await stream.ended).toBe(true);
});

test("only POST, no body, no parameters", async () => {
  const world = await serve();
  const stream = await openStream(world, "/v1/topics/a");
  const path = `/v1/connections/${idOf(stream)}/ack`;
  const got = await send(world, path);
  expect([got.status, got.headers["allow"]]).toEqual([405, "POST, OPTIONS"]);
  const options = await send(world, path, { method: "OPTIONS" });
  expect([options.status, options.headers["allow"]]).toEqual([204, "POST, OPTIONS"]);
  const body = await send(world, path, { method: "POST", body: "x" });
  expect([body.status, body.json["code"]]).toEqual([400, "request_malformed"]);
  const parameter = await send(world, `${path}?now=1`, { method: "POST" });
  expect([parameter.status, parameter.json["code"]]).toEqual([400, "parameter_invalid"]);
});
