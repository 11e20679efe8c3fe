import type { ServerHttp2Stream } from "node:http2";
import { createSecureServer } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import { expect, test } from "vitest";
import { describeWith, needs } from "../../support/programs.ts";
import { get, h2Origin, listen, makeIdentity, named, rawOrigin, textOf } from "./origins.ts";
import { END_HEADERS, END_STREAM, frame, HEADERS, OK_HEAD, u32 } from "./origins.ts";
import { codeOf, openPool, until } from "./pool-world.ts";

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
