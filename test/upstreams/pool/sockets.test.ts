import { once } from "node:events";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { expect, test } from "vitest";
import type { Dial } from "../../../src/upstreams/pool/channel.ts";
import { get, textOf } from "./origins.ts";
import { codeOf, http1Origin, openPool, rawHttp1Origin, until } from "./pool-world.ts";

/** Dials, and lets a test have the sockets. */
function dialing(port: number): { dial: Dial; sockets: Socket[] } {
  const sockets: Socket[] = [];
  const dial: Dial = async () => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    await once(socket, "connect");
    sockets.push(socket);
    return { kind: "http1", socket };
  };
  return { dial, sockets };
}

test("R13: an error on a socket, idle or leased, is handled: the socket is destroyed and given back", async () => {
  const origin = await http1Origin((request, response) => {
    response.write("a");
    if (request.url === "/end") response.end();
  });
  const { dial, sockets } = dialing(origin.port);
  const { pool, metrics, status } = openPool({ dial });
  await textOf((await pool.request(get(origin.port, "/end"))).body);
  await until(() => expect(status().sockets.idle).toBe(1));
  sockets[0]?.destroy(new Error("broken while idle"));
  await until(() => expect(status().sockets).toMatchObject({ idle: 0, dead: 0 }));
  expect(metrics.get("sluice_upstream_evicted_total", "error")).toBe(1);
  const { body } = await pool.request(get(origin.port, "/held"));
  const told = codeOf(textOf(body));
  sockets[1]?.destroy(new Error("broken while leased"));
  expect(await told).toBe("upstream_protocol");
  await until(() => expect(status().sockets).toMatchObject({ leased: 0, dead: 0 }));
  expect(status()).toMatchObject({ streamsNow: 0, tenants: 0, evictedTotal: 2 });
  expect(metrics.plain.sluice_upstream_double_releases_total).toBe(0);
});

test("A socket that was closed before the pool had it is not kept, nor counted", async () => {
  const origin = await http1Origin((_request, response) => response.end("ok"));
  let dials = 0;
  const dial: Dial = async () => {
    dials += 1;
    const socket = connect(origin.port, "127.0.0.1");
    await once(socket, "connect");
    if (dials === 1) {
      socket.destroy();
      await once(socket, "close");
    }
    return { kind: "http1", socket };
  };
  const { pool, status } = openPool({ dial });
  expect(await textOf((await pool.request(get(origin.port))).body)).toBe("ok");
  await until(() => expect(status().sockets).toMatchObject({ idle: 1, dead: 0 }));
  expect(dials).toBe(2);
});

test("R14 law 22: a socket in the pool has the handlers that it had when it came, and no request", async () => {
  const origin = await http1Origin((_request, response) => response.end("ok"));
  const { dial, sockets } = dialing(origin.port);
  const { pool, status } = openPool({ dial });
  const heard: unknown[] = [];
  for (let index = 0; index < 20; index += 1) {
    await textOf((await pool.request(get(origin.port))).body);
    await until(() => expect(status().sockets.idle).toBe(1));
    const [socket] = sockets as unknown as [Socket & { _httpMessage?: unknown; parser?: unknown }];
    expect([socket._httpMessage ?? null, socket.parser ?? null]).toEqual([null, null]);
    heard.push(socket.eventNames().map((name) => [String(name), socket.listenerCount(name)]));
  }
  expect(sockets.length).toBe(1);
  expect(new Set(heard.map((one) => JSON.stringify(one))).size).toBe(1);
});

test("R13: a socket on which somebody has left a handler is not used again", async () => {
  let end = (): unknown => undefined;
  const origin = await http1Origin((_request, response) => {
    response.write("o");
    end = () => response.end("k");
  });
  const { dial, sockets } = dialing(origin.port);
  const { pool, metrics, status } = openPool({ dial });
  const { body } = await pool.request(get(origin.port));
  sockets[0]?.on("drain", () => {});
  end();
  await textOf(body);
  await until(() => expect(status().evictedTotal).toBe(1));
  expect(metrics.get("sluice_upstream_evicted_total", "unclean")).toBe(1);
});

test("R13: bytes of a request that are still to be sent end the socket with it", async () => {
  // It answers at once and reads nothing: the request stays in our buffer.
  const port = await rawHttp1Origin((socket) => {
    socket.pause();
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  const { pool, status } = openPool();
  const body = Buffer.alloc(32 * 1024 * 1024, "x");
  const response = await pool.request(get(port, "/", { method: "POST", body }));
  expect(await textOf(response.body)).toBe("ok");
  await until(() => expect(status().sockets).toMatchObject({ idle: 0, leased: 0, dead: 0 }));
  expect(status()).toMatchObject({ streamsNow: 0, evictedTotal: 1 });
});
