import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import { createSecureServer, createServer as createHttp2Server } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import { createServer } from "node:net";
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { systemRuntime } from "../../../src/internal/clock.ts";
import { AddressBook } from "../../../src/upstreams/address.ts";
import { dialWith } from "../../../src/upstreams/pool/dial.ts";
import { describeWith, needs } from "../../support/programs.ts";
import { get, h2Origin, listen, makeIdentity, named, rawOrigin, textOf } from "./origins.ts";
import { END_HEADERS, END_STREAM, frame, HEADERS, OK_HEAD, u32 } from "./origins.ts";
import { brokenOff, codeOf, openPool, until } from "./pool-world.ts";

const answer = (stream: ServerHttp2Stream, path: string): void => {
  stream.respond({ ":status": 200 });
  stream.write(path);
  if (!path.startsWith("/held")) stream.end();
};

const held = (count: number): string[] => Array.from({ length: count }, (_, at) => `/held/${at}`);

test("20 streams go over one or two connections; under load there are two at least", async () => {
  const origin = await h2Origin(answer);
  const { pool, status } = openPool({ http2: "prior" });
  await Promise.all(held(10).map((path) => pool.request(get(origin.port, path))));
  expect(status()).toMatchObject({ http: "2", streamsNow: 10, openedTotal: 1 });
  await Promise.all(held(10).map((path) => pool.request(get(origin.port, path))));
  await until(() => expect(status().openedTotal).toBe(2));
  // What comes then goes where there is most room.
  await Promise.all(held(44).map((path) => pool.request(get(origin.port, path))));
  await until(() => expect(origin.sessions.size).toBe(2));
  expect(status()).toMatchObject({ streamsNow: 64, openedTotal: 2, waiting: 0 });
});

test("A crowd of 1,000 is carried by 16 sessions of 64 streams", async () => {
  const origin = await h2Origin(answer);
  const { pool, status } = openPool({ http2: "prior" });
  const responses = await Promise.all(
    held(1_000).map((path) => pool.request(get(origin.port, path))),
  );
  expect(status()).toMatchObject({ streamsNow: 1_000, waiting: 0 });
  expect(status().openedTotal).toBeLessThanOrEqual(17);
  for (const { body } of responses) body.destroy();
  await until(() => expect(status().streamsNow).toBe(0));
});

test("U14: streams beyond the last session wait, and have a deadline", async () => {
  const origin = await h2Origin(answer);
  const { pool, status } = openPool({
    http2: "prior",
    socketsMax: 2,
    streamsPerSession: 3,
    acquireMsMax: 1_000,
  });
  const codes = held(8).map((path) => codeOf(pool.request(get(origin.port, path))));
  const counted = (await Promise.all(codes)).toSorted();
  expect(counted).toEqual([
    ...Array.from({ length: 6 }, () => "resolved"),
    "upstream_exhausted",
    "upstream_exhausted",
  ]);
  expect(status()).toMatchObject({ streamsNow: 6, isRefusing: true });
});

test("A session that the origin drains keeps its streams; what comes goes over another one", async () => {
  const origin = await h2Origin((stream, path) => {
    stream.respond({ ":status": 200 });
    stream.write("a");
    if (path === "/next") stream.end();
  });
  const { pool, metrics, status } = openPool({ http2: "prior" });
  const { body } = await pool.request(get(origin.port, "/held"));
  const [first] = origin.sessions;
  first?.goaway(0);
  await until(() => expect(status().sockets.draining).toBe(1));
  expect(await textOf((await pool.request(get(origin.port, "/next"))).body)).toBe("a");
  expect(status()).toMatchObject({ openedTotal: 2, streamsNow: 1 });
  for (const stream of origin.streams) stream.end("b");
  expect(await textOf(body)).toBe("ab");
  await until(() => expect(status().sockets.draining).toBe(0));
  expect(metrics.get("sluice_upstream_evicted_total", "goaway")).toBe(1);
});

test("A stream that the origin has refused goes again, whatever its method, once", async () => {
  const port = await rawOrigin((socket, stream) => {
    if (stream === 1) return void socket.write(frame(3, 0, stream, u32(7)));
    socket.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, OK_HEAD));
  });
  const { pool, metrics } = openPool({ http2: "prior" });
  const response = await pool.request(get(port, "/", { method: "POST" }));
  expect(response.status).toBe(200);
  expect(metrics.plain.sluice_upstream_retries_total).toBe(1);
});

test("U02: a stream without a head is upstream_timeout; its session goes on", async () => {
  const origin = await h2Origin((stream, path) => {
    if (path === "/") stream.respond({ ":status": 204 }, { endStream: true });
  });
  const { pool, status } = openPool({ http2: "prior", headersMsMax: 30 });
  expect(await codeOf(pool.request(get(origin.port, "/silent")))).toBe("upstream_timeout");
  expect((await pool.request(get(origin.port, "/"))).status).toBe(204);
  expect(status().openedTotal).toBe(1);
  await until(() => expect(origin.streams.size).toBe(0));
});

test("S15: a head and its reset in one packet is one upstream_protocol, also if nobody listens", async () => {
  const port = await rawOrigin((socket, stream) => {
    const head = frame(HEADERS, END_HEADERS, stream, OK_HEAD);
    socket.write(Buffer.concat([head, frame(3, 0, stream, u32(2))]));
  });
  const { pool, status } = openPool({ http2: "prior" });
  const asked = pool.request(get(port)).then(({ body }) => textOf(body));
  expect(await codeOf(asked)).toBe("upstream_protocol");
  await pool.request(get(port)).catch(() => {});
  await until(() => expect(status().streamsNow).toBe(0));
});

test("An origin that dies ends its streams with upstream_protocol, and who comes then connects anew", async () => {
  const origin = await h2Origin(answer);
  const { pool, status } = openPool({ http2: "prior" });
  const responses = await Promise.all(held(5).map((path) => pool.request(get(origin.port, path))));
  const codes = responses.map(({ body }) => codeOf(textOf(body)));
  for (const session of origin.sessions) session.destroy();
  expect(new Set(await Promise.all(codes))).toEqual(new Set(["upstream_protocol"]));
  expect(status()).toMatchObject({ streamsNow: 0, circuit: "closed" });
  expect((await pool.request(get(origin.port, "/"))).status).toBe(200);
});

test("U02: an upload that the origin stops reading is upstream_timeout; one that is slow itself is not", async () => {
  const origin = await h2Origin((stream, path) => {
    if (path === "/stops") return void stream.pause();
    stream.resume().once("end", () => stream.respond({ ":status": 204 }, { endStream: true }));
  });
  const { pool, status } = openPool({ http2: "prior", headersMsMax: 250 });
  const large = Readable.from(Array.from({ length: 64 }, () => Buffer.alloc(64 * 1024)));
  const stops = pool.request(get(origin.port, "/stops", { method: "POST", body: large }));
  expect(await codeOf(stops)).toBe("upstream_timeout");
  async function* slowly(): AsyncGenerator<Buffer> {
    yield Buffer.from("a");
    await new Promise((resolve) => setTimeout(resolve, 500));
    yield Buffer.from("b");
  }
  const body = Readable.from(slowly());
  const slow = await pool.request(get(origin.port, "/slow", { method: "POST", body }));
  expect(slow.status).toBe(204);
  slow.body.destroy();
  await until(() => expect(status().streamsNow).toBe(0));
});

test("U10: what came before a reset is read first, however slowly", async () => {
  const part = Buffer.alloc(10_000, "x");
  const sockets: Socket[] = [];
  const port = await rawOrigin((socket, stream) => {
    sockets.push(socket);
    socket.write(frame(HEADERS, END_HEADERS, stream, OK_HEAD));
    for (let at = 0; at < 9; at += 1) socket.write(frame(0, 0, stream, part));
    socket.write(frame(3, 0, stream, u32(2)));
  });
  const { pool, status } = openPool({ http2: "prior" });
  const { body } = await pool.request(get(port));
  body.once("readable", () => {});
  await until(() => expect(body.readableLength).toBe(90_000));
  const { text, code } = await brokenOff(body);
  expect([text.length, code]).toEqual([90_000, "upstream_protocol"]);
  await until(() => expect(status().streamsNow).toBe(0));
});

test("U14: what a tenant gives back late is for who waits, at once", async () => {
  const origin = await h2Origin((stream, path) => {
    stream.respond({ ":status": 200 });
    if (path === "/short") stream.end("x".repeat(30_000));
    else stream.write("held");
  });
  const limits = { socketsMax: 1, streamsPerSession: 4, tenantPercentMax: 50 };
  const { pool, status } = openPool({ http2: "prior", ...limits, acquireMsMax: 60_000 });
  await pool.request(get(origin.port, "/held", { tenant: "other" }));
  await pool.request(get(origin.port, "/held", { tenant: "full" }));
  const { body } = await pool.request(get(origin.port, "/short", { tenant: "full" }));
  // Its stream is over before its reader is.
  body.once("readable", () => {});
  await until(() => expect(origin.streams.size).toBe(2));
  const waits = pool.request(get(origin.port, "/held", { tenant: "full" }));
  await until(() => expect(status().waiting).toBe(1));
  await textOf(body);
  expect((await waits).status).toBe(200);
});

for (const isGoing of [false, true]) {
  test(`A session that nobody waits for is not asked for again and again (${isGoing ? "GOAWAY" : "refused"})`, async () => {
    const runtime = systemRuntime();
    const dial = dialWith(runtime, new AddressBook(runtime));
    let dials = 0;
    const sessions: ServerHttp2Session[] = [];
    const server = createHttp2Server();
    server.on("session", (session) => sessions.push(session));
    server.on("stream", (stream: ServerHttp2Stream, headers) => {
      stream.on("error", () => {});
      answer(stream, String(headers[":path"]));
    });
    const front = createServer((socket) => void server.emit("connection", socket));
    const port = await listen(front);
    const { pool, status } = openPool({
      http2: "prior",
      dial: (...args) => {
        dials += 1;
        return dials > 1_000 ? new Promise(() => {}) : dial(...args);
      },
    });
    await pool.request(get(port, "/held"));
    front.close();
    const all = await Promise.all(held(40).map((path) => pool.request(get(port, path))));
    if (isGoing) for (const session of sessions) session.goaway(0);
    if (isGoing) await until(() => expect(status().sockets.draining).toBe(1));
    // Each of them is an occasion.
    for (const { body } of all.slice(0, 20)) body.destroy();
    await until(() => expect(status().streamsNow).toBe(21));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(dials).toBeLessThan(10);
  });
}

test("An origin that takes no streams is not connected to more than once by who waits", async () => {
  let accepted = 0;
  const port = await listen(
    createServer((socket) => {
      accepted += 1;
      // SETTINGS_MAX_CONCURRENT_STREAMS: 0
      socket.resume().write(frame(4, 0, 0, Buffer.from([0, 3, 0, 0, 0, 0])));
    }),
  );
  const { pool } = openPool({ http2: "prior", acquireMsMax: 500 });
  expect(await codeOf(pool.request(get(port)))).toMatch(/^upstream_(timeout|exhausted)$/);
  expect(accepted).toBe(1);
});

describeWith({ openssl: needs("openssl") }, "ALPN", ({ openssl }) => {
  test("Before it is known what an origin speaks one connection is made, whoever comes", async () => {
    const identity = makeIdentity(openssl);
    for (const [http, server] of [
      ["2", createSecureServer(identity, (request, response) => response.end(request.url))],
      ["1.1", createHttpsServer(identity, (request, response) => response.end(request.url))],
    ] as const) {
      const port = await listen(server);
      const { pool, status } = openPool({ ca: identity.cert, socketsMax: 8 });
      const origin = named(`https://localhost:${port}`);
      const asked = Array.from({ length: 30 }, async (_, index) => {
        const { body } = await pool.request(get(port, `/${index}`, { origin }));
        return textOf(body);
      });
      expect(status().sockets.connecting).toBe(1);
      expect(await Promise.all(asked)).toEqual(Array.from({ length: 30 }, (_, at) => `/${at}`));
      expect(status().http).toBe(http);
      expect(status().openedTotal).toBeLessThanOrEqual(http === "2" ? 2 : 8);
    }
  });
});
