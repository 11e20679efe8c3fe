import { expect, test } from "vitest";
import type { Logger } from "../../src/gateway/logger.ts";
import { eventually, openStream, post, rawClient, send, startWorld } from "./support.ts";
import type { OpenStream, Reply, World } from "./support.ts";

type Line = { level: string; message: string } & Record<string, unknown>;

function recorder(): { logger: Logger; lines: Line[] } {
  const lines: Line[] = [];
  const log =
    (level: string) =>
    (fields: object, message: string): void =>
      void lines.push({ level, message, ...fields });
  return {
    lines,
    logger: { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") },
  };
}

function admin(
  world: World,
  path: string,
  method = "GET",
  headers: Record<string, string> = {},
): Promise<Reply> {
  return send({ url: world.adminUrl }, path, { method, headers });
}

interface Listed {
  readonly total: number;
  readonly connections: readonly Record<string, unknown>[];
}

async function list(world: World, query = ""): Promise<Listed> {
  const { status, json } = await admin(world, `/admin/connections${query}`);
  expect(status).toBe(200);
  return json as unknown as Listed;
}

const shortOf = (stream: OpenStream): string =>
  String(stream.headers["sluice-connection"]).slice(0, 8);

test("the list says of each connection what an operator asks, and never its secret", async () => {
  const world = await startWorld();
  const stream = await openStream(world, "/v1/events?topic=a&topic=b/*&topic=c");
  await post(world, "/v1/topics/a", "x");
  await post(world, "/v1/topics/b/1", "y");
  await stream.take(2);
  const { text } = await admin(world, "/admin/connections");
  expect(text).not.toContain(String(stream.headers["sluice-connection"]));
  expect(JSON.parse(text)).toEqual({
    total: 1,
    connections: [
      {
        id: shortOf(stream),
        peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/) as string,
        tenant: "default",
        topics: ["a", "c", "b/*"],
        topicsCount: 3,
        state: "live",
        ageMs: expect.any(Number) as number,
        events: 2,
        bytes: expect.any(Number) as number,
        pendingBytes: 0,
        lag: 0,
        heartbeat: "comment",
      },
    ],
  });
});

test("the filters pick by tenant, topic, state, address and age; the list is bounded and tells how many there are", async () => {
  const world = await startWorld();
  for (let index = 0; index < 5; index += 1) await openStream(world, `/v1/topics/t/${index}`);
  await openStream(world, "/v1/topics/t/**");
  await openStream(world, "/v1/topics/other");
  const totals = async (...queries: string[]): Promise<number[]> =>
    Promise.all(queries.map(async (query) => (await list(world, query)).total));
  expect(await totals("", "?topic=t/3", "?topic=t/**", "?topic=other", "?topic=no")).toEqual([
    7, 2, 1, 1, 0,
  ]);
  expect(await totals("?ip=127.0.0.1", "?ip=127.0.0.2", "?tenant=default", "?tenant=x")).toEqual([
    7, 0, 7, 0,
  ]);
  expect(
    await totals("?state=live", "?state=draining", "?longer_than=1h", "?longer_than=0"),
  ).toEqual([7, 0, 0, 7]);
  const page = await list(world, "?limit=2");
  expect([page.total, page.connections.length]).toEqual([7, 2]);
  expect((await list(world, "?limit=0")).connections).toEqual([]);
  for (const bad of ["?limit=x", "?limit=10001", "?state=asleep", "?longer_than=soon", "?no=1"]) {
    const reply = await admin(world, `/admin/connections${bad}`);
    expect([reply.status, reply.json["code"]]).toEqual([400, "parameter_invalid"]);
  }
});

test("one that is closed by its short id is told so, with when to come back, and ends cleanly", async () => {
  const { logger, lines } = recorder();
  const world = await startWorld({ logger });
  const raw = rawClient(world.port);
  raw.send("GET /v1/topics/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const head = await raw.until("\n\n", 2);
  const id = /Sluice-Connection: (.{8})/.exec(head)?.[1];
  const stays = await openStream(world, "/v1/topics/a");
  const reply = await admin(world, `/admin/connections/${id}`, "DELETE");
  expect([reply.status, reply.json]).toEqual([200, { closed: 1 }]);
  expect(await raw.closed).toMatch(
    /\r\nretry: \d+\n\nevent: close\ndata: closed_by_operator\n\n\r\n0\r\n\r\n$/,
  );
  await eventually(() => world.hub.connectionsNow === 1);
  await post(world, "/v1/topics/a", "x");
  await stays.take(1);
  expect(lines.filter(({ message }) => message === "connection ended")).toEqual([
    {
      level: "info",
      message: "connection ended",
      reason: "closed_by_operator",
      connection: id,
      peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/) as string,
      tenant: "default",
      durationMs: expect.any(Number) as number,
      events: 0,
      bytes: expect.any(Number) as number,
      lag: 0,
      pending: 0,
    },
  ]);
  const again = await admin(world, `/admin/connections/${id}`, "DELETE");
  expect([again.status, again.json["code"]]).toEqual([404, "connection_unknown"]);
});

test("many are closed by filters; all of them only if that is said", async () => {
  const world = await startWorld();
  const streams: OpenStream[] = [];
  for (let index = 0; index < 6; index += 1) {
    streams.push(await openStream(world, `/v1/topics/${index % 2 === 0 ? "even" : "odd"}`));
  }
  const bare = await admin(world, "/admin/connections", "DELETE");
  expect([bare.status, bare.json["code"]]).toEqual([400, "parameter_invalid"]);
  expect((await admin(world, "/admin/connections?topic=odd", "DELETE")).json).toEqual({
    closed: 3,
  });
  await eventually(() => world.hub.connectionsNow === 3);
  expect((await list(world, "?topic=even")).total).toBe(3);
  expect((await admin(world, "/admin/connections?all=1", "DELETE")).json).toEqual({ closed: 3 });
  for (const stream of streams) {
    expect(await stream.ended).toBe(true);
    expect(stream.events.at(-1)?.data).toBe("closed_by_operator");
  }
  await eventually(() => world.hub.connectionsNow === 0);
  expect(world.hub.metrics.get("sluice_evicted_total", "closed_by_operator")).toBe(6);
});

test("S23 no page of another origin may close anything or start a drain", async () => {
  const world = await startWorld();
  await openStream(world, "/v1/topics/a");
  for (const [path, method] of [
    ["/admin/connections?all=1", "DELETE"],
    ["/drain", "POST"],
  ] as const) {
    for (const origin of ["http://evil.example", "null"]) {
      const reply = await admin(world, path, method, { origin });
      expect([reply.status, reply.json["code"]]).toEqual([403, "origin_forbidden"]);
    }
    const rebound = await admin(world, path, method, { host: "evil.example" });
    expect([rebound.status, rebound.json["code"]]).toEqual([403, "host_forbidden"]);
  }
  expect((await list(world)).total).toBe(1);
  expect((await admin(world, "/readyz")).status).toBe(200);
});

test("A10 nothing of it is on the public listener, and the admin listener knows its methods", async () => {
  const world = await startWorld();
  for (const path of ["/drain", "/admin/connections", "/admin/connections/abcdefgh"]) {
    expect((await send(world, path, { method: "POST" })).json["code"]).toBe("not_found");
  }
  const patch = await admin(world, "/admin/connections", "PATCH");
  expect([patch.status, patch.headers["allow"]]).toEqual([405, "GET, HEAD, DELETE"]);
  expect((await admin(world, "/admin/connections/x")).headers["allow"]).toBe("DELETE");
  expect((await admin(world, "/admin/connections/", "DELETE")).status).toBe(404);
  expect((await admin(world, "/drain", "DELETE")).headers["allow"]).toBe("GET, HEAD, POST");
});

test("F07 a reset is logged at debug, with how far the client was behind", async () => {
  const { logger, lines } = recorder();
  const world = await startWorld({ logger });
  const client = rawClient(world.port);
  client.send("GET /v1/topics/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await client.until("\n\n", 2);
  client.socket.resetAndDestroy();
  await eventually(() => world.hub.connectionsNow === 0);
  const [line] = lines.filter(({ message }) => message === "connection ended");
  expect(line).toMatchObject({ level: "debug", reason: "reset", events: 0, lag: 0 });
  expect(line?.["peer"]).toMatch(/^127\.0\.0\.1:\d+$/);
});
