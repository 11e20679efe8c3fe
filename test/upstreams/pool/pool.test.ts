import type { Socket } from "node:net";
import { expect, test } from "vitest";
import type { Runtime } from "../../../src/internal/clock.ts";
import { systemRuntime } from "../../../src/internal/clock.ts";
import { VirtualRuntime } from "../../../src/testing/virtual-runtime.ts";
import type { UpstreamRequest, UpstreamResponse } from "../../../src/upstreams/message.ts";
import { parseOrigin } from "../../../src/upstreams/origin.ts";
import { get, named, textOf } from "./origins.ts";
import { codeOf, http1Origin, openPool, rawHttp1Origin, until } from "./pool-world.ts";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

test("U01: a status is passed on as it is, once, with its Retry-After", async () => {
  let requests = 0;
  const origin = await http1Origin((request, response) => {
    requests += 1;
    response.writeHead(Number(request.url?.slice(1)), { "retry-after": "7" }).end("why");
  });
  const { pool, status } = openPool({ breaker: { failures: 1 } });
  for (const code of [429, 500, 502, 503, 301]) {
    const response = await pool.request(get(origin.port, `/${code}`));
    expect(response.status).toBe(code);
    expect(response.headers).toContainEqual(["retry-after", "7"]);
    expect(await textOf(response.body)).toBe("why");
  }
  expect(requests).toBe(5);
  expect(status()).toMatchObject({ circuit: "closed", errorsTotal: 0 });
});

test("U02: an origin that accepts and says nothing is upstream_timeout, and opens the circuit", async () => {
  const port = await rawHttp1Origin(() => {});
  const { pool, metrics, status } = openPool({
    headersMsMax: 30,
    breaker: { failures: 2, withinMs: 60_000, openMs: 60_000 },
  });
  const origin = named(`http://127.0.0.1:${port}`);
  expect(pool.isRefusing(origin)).toBe(false);
  for (let index = 0; index < 2; index += 1) {
    expect(await codeOf(pool.request(get(port)))).toBe("upstream_timeout");
  }
  expect(status()).toMatchObject({ circuit: "open", streamsNow: 0 });
  expect(pool.isRefusing(origin)).toBe(true);
  expect(await codeOf(pool.request(get(port)))).toBe("upstream_unavailable");
  expect(metrics.plain.sluice_upstream_circuit_opened_total).toBe(1);
  expect(metrics.get("sluice_upstream_rejected_total", "circuit")).toBe(1);
  await until(() => expect(status().sockets.dead).toBe(0));
});

test("U02: headersMsMax of the request counts; a stream that is silent after its head lives on (law 19)", async () => {
  const origin = await http1Origin((request, response) => {
    if (request.url === "/stream") response.write("first");
  });
  const { pool } = openPool({ headersMsMax: 40 });
  const { body } = await pool.request(get(origin.port, "/stream"));
  expect(await codeOf(pool.request(get(origin.port, "/silent")))).toBe("upstream_timeout");
  const asked = pool.request(get(origin.port, "/silent", { headersMsMax: 20 }));
  expect(await codeOf(asked)).toBe("upstream_timeout");
  expect(body.destroyed).toBe(false);
});

test("The circuit lets one request try after its time, and closes when that is answered", async () => {
  const held: Socket[] = [];
  let isWell = false;
  const port = await rawHttp1Origin((socket) => {
    if (isWell) held.push(socket);
    else socket.destroy();
  });
  const runtime = new VirtualRuntime();
  const { pool, status } = openPool({
    runtime,
    breaker: { failures: 3, withinMs: 1_000, openMs: 5_000 },
  });
  for (let index = 0; index < 3; index += 1) {
    expect(await codeOf(pool.request(get(port)))).toBe("upstream_protocol");
  }
  expect(status().circuit).toBe("open");
  await runtime.run(4_999);
  expect(await codeOf(pool.request(get(port)))).toBe("upstream_unavailable");
  await runtime.run(1);
  expect(status()).toMatchObject({ circuit: "half_open", isRefusing: false });
  isWell = true;
  const trying = pool.request(get(port));
  expect(await codeOf(pool.request(get(port)))).toBe("upstream_unavailable");
  expect(status().isRefusing).toBe(true);
  await until(() => expect(held.length).toBe(1));
  held[0]?.write(OK);
  expect(await textOf((await trying).body)).toBe("ok");
  expect(status()).toMatchObject({ circuit: "closed", isRefusing: false });
});

test("A request that goes while it tries an origin decides nothing: the next one tries", async () => {
  const port = await rawHttp1Origin((socket, head) => {
    if (head.startsWith("GET /well")) socket.write(OK);
    else if (head.startsWith("GET /ill")) socket.destroy();
  });
  const runtime = new VirtualRuntime();
  const { pool, status } = openPool({ runtime, breaker: { failures: 1 } });
  expect(await codeOf(pool.request(get(port, "/ill")))).toBe("upstream_protocol");
  await runtime.run(5_000);
  const control = new AbortController();
  const trying = pool.request(get(port, "/silent", { signal: control.signal }));
  control.abort(new Error("gone"));
  await expect(trying).rejects.toThrow("gone");
  expect(status().circuit).toBe("half_open");
  expect((await pool.request(get(port, "/well"))).status).toBe(200);
  expect(status().circuit).toBe("closed");
});

test("Nothing that listens is upstream_unreachable for each that asks, and then upstream_unavailable", async () => {
  const { pool, status } = openPool({ breaker: { failures: 3, withinMs: 60_000 } });
  const asked = Array.from({ length: 10 }, () => codeOf(pool.request(get(1, "/"))));
  const codes = await Promise.all(asked);
  expect(codes.filter((code) => code === "upstream_unreachable").length).toBeGreaterThanOrEqual(3);
  expect(new Set(codes)).toContain("upstream_unreachable");
  expect(status()).toMatchObject({ circuit: "open", waiting: 0 });
  await until(() => expect(status().sockets).toMatchObject({ connecting: 0, dead: 0 }));
});

test("U14 R06 R25: nobody waits for ever: the queue is bounded, and has a deadline", async () => {
  const origin = await http1Origin((_request, response) => void response.write("held"));
  const runtime = new VirtualRuntime();
  const { pool, metrics, status } = openPool({ runtime, socketsMax: 2, queueMax: 3 });
  await Promise.all([pool.request(get(origin.port)), pool.request(get(origin.port))]);
  expect(pool.isRefusing(named(`http://127.0.0.1:${origin.port}`))).toBe(true);
  const waiting = Array.from({ length: 3 }, () => codeOf(pool.request(get(origin.port))));
  expect(await codeOf(pool.request(get(origin.port)))).toBe("upstream_exhausted");
  expect(metrics.get("sluice_upstream_rejected_total", "queue_full")).toBe(1);
  expect(status().waiting).toBe(3);
  await runtime.run(4_999);
  expect(status().waiting).toBe(3);
  await runtime.run(1);
  expect(await Promise.all(waiting)).toEqual(Array.from({ length: 3 }, () => "upstream_exhausted"));
  expect(metrics.get("sluice_upstream_rejected_total", "deadline")).toBe(3);
  expect(metrics.plain.sluice_upstream_waiting).toBe(0);
  expect(metrics.plain.sluice_upstream_wait_seconds_total).toBeCloseTo(15);
  expect(origin.acceptedTotal).toBe(2);
  expect(status().circuit).toBe("closed");
});

test("Who waits is served when a socket is given back, or leaves when it is aborted", async () => {
  const origin = await http1Origin((request, response) => {
    response.write(request.url);
    if (request.url !== "/held") response.end();
  });
  const { pool, status } = openPool({ socketsMax: 1 });
  const held = await pool.request(get(origin.port, "/held"));
  const control = new AbortController();
  const gone = pool.request(get(origin.port, "/gone", { signal: control.signal }));
  const served = pool.request(get(origin.port, "/served"));
  expect(status().waiting).toBe(2);
  control.abort(new Error("gone"));
  await expect(gone).rejects.toThrow("gone");
  expect(status().waiting).toBe(1);
  held.body.destroy();
  expect(await textOf((await served).body)).toBe("/served");
  expect(origin.acceptedTotal).toBe(2);
  await expect(
    pool.request(get(origin.port, "/", { signal: AbortSignal.abort(new Error("never")) })),
  ).rejects.toThrow("never");
});

test("U14: a tenant that asks ten times as often leaves the other its share of the sockets", async () => {
  const origin = await http1Origin((request, response) => {
    setTimeout(() => response.end(request.url), 2);
  });
  const { pool } = openPool({ socketsMax: 10, acquireMsMax: 60_000 });
  const served = { noisy: 0, quiet: 0 };
  let isOver = false;
  const ask = async (tenant: "noisy" | "quiet"): Promise<void> => {
    while (!isOver) {
      const { body } = await pool.request(get(origin.port, "/", { tenant }));
      await textOf(body);
      served[tenant] += 1;
      if (served.noisy + served.quiet >= 1_000) isOver = true;
    }
  };
  await Promise.all([
    ...Array.from({ length: 200 }, () => ask("noisy")),
    ...Array.from({ length: 20 }, () => ask("quiet")),
  ]);
  expect(served.quiet / (served.quiet + served.noisy)).toBeGreaterThanOrEqual(0.4);
});

test("U14: with endless streams too 40 % of the sockets are left to others", async () => {
  const origin = await http1Origin((_request, response) => void response.write("held"));
  const { pool, status } = openPool({ socketsMax: 10, acquireMsMax: 1_000 });
  const ask = (tenant: string): Promise<UpstreamResponse> =>
    pool.request(get(origin.port, "/", { tenant }));
  await ask("quiet");
  const noisy = await Promise.allSettled(Array.from({ length: 100 }, () => ask("noisy")));
  expect(noisy.filter((one) => one.status === "fulfilled").length).toBe(6);
  await Promise.all(Array.from({ length: 3 }, () => ask("quiet")));
  expect(status()).toMatchObject({ streamsNow: 10, tenants: 2, isRefusing: true });
});

test("A tenant that is alone may have every socket", async () => {
  const origin = await http1Origin((_request, response) => void response.write("held"));
  const { pool, status } = openPool({ socketsMax: 10 });
  await Promise.all(Array.from({ length: 10 }, () => pool.request(get(origin.port))));
  expect(status().streamsNow).toBe(10);
});

test("U16: an idle socket that is closed at the moment of reuse: an idempotent request goes again, once", async () => {
  const heads: string[] = [];
  // Reads the request and hangs up: what happens when FIN and request cross.
  const port = await rawHttp1Origin((socket, head, index) => {
    heads.push(head);
    if (index % 2 === 0) socket.write(OK);
    else socket.destroy();
  });
  const { pool, metrics, status } = openPool();
  await textOf((await pool.request(get(port))).body);
  await until(() => expect(status().sockets.idle).toBe(1));
  expect(await textOf((await pool.request(get(port, "/again"))).body)).toBe("ok");
  expect(heads.map((head) => head.split(" ")[1])).toEqual(["/", "/again", "/again"]);
  expect(metrics.plain.sluice_upstream_retries_total).toBe(1);
  expect(status()).toMatchObject({ circuit: "closed", openedTotal: 2 });
});

test("U16: what is not idempotent, or was answered in part, or fails on a new socket does not go again", async () => {
  let heads = 0;
  const port = await rawHttp1Origin((socket, head, index) => {
    heads += 1;
    if (index === 0 || head.startsWith("GET /first")) socket.write(OK);
    else if (head.startsWith("GET /part")) socket.end("HTTP/1.1 20");
    else socket.destroy();
  });
  const { pool, metrics, status } = openPool({ breaker: { failures: 100 } });
  const again = async (more: Partial<UpstreamRequest>): Promise<void> => {
    await textOf((await pool.request(get(port, "/first"))).body);
    await until(() => expect(status().sockets.idle).toBe(1));
    const before = heads;
    expect(await codeOf(pool.request(get(port, "/", more)))).toBe("upstream_protocol");
    expect(heads).toBe(before + 1);
  };
  await again({ method: "POST", body: Buffer.from("x") });
  await again({ path: "/part" });
  const before = heads;
  await until(() => expect(status().sockets).toMatchObject({ idle: 0, dead: 0 }));
  expect(await codeOf(pool.request(get(port, "/new")))).toBe("upstream_protocol");
  expect(heads).toBe(before + 1);
  expect(metrics.plain.sluice_upstream_retries_total).toBe(0);
});

test("U16: an idle socket that breaks or is closed is evicted at once, without a word", async () => {
  for (const how of ["end", "resetAndDestroy"] as const) {
    let socket: Socket | undefined;
    const port = await rawHttp1Origin((accepted) => {
      socket = accepted;
      accepted.write(OK);
    });
    const { pool, status } = openPool();
    await textOf((await pool.request(get(port))).body);
    await until(() => expect(status().sockets.idle).toBe(1));
    socket?.[how]();
    await until(() => expect(status().sockets).toMatchObject({ idle: 0, dead: 0 }));
    expect(status().evictedTotal).toBe(1);
    expect(await textOf((await pool.request(get(port))).body)).toBe("ok");
  }
});

test("U16: while the origin closes idle sockets as fast as it can, no request is lost", async () => {
  // Node closes after its keep-alive time, and does not tell of it here.
  const origin = await http1Origin(
    (request, response) => {
      response.writeHead(200, [["Keep-Alive", "x"]] as never);
      response.end(request.url);
    },
    { keepAliveMs: 1 },
  );
  const { pool } = openPool({ breaker: { failures: 1_000 } });
  for (let index = 0; index < 200; index += 1) {
    const { body } = await pool.request(get(origin.port, `/${index}`));
    expect(await textOf(body)).toBe(`/${index}`);
    await new Promise((resolve) => setTimeout(resolve, index % 3));
  }
});

/** Real timers for what is waited for, a clock that can be put forward for all else. */
function shifted(): Runtime & { shiftMs: number } {
  const real = systemRuntime();
  const runtime = { ...real, shiftMs: 0, now: () => real.now() + runtime.shiftMs };
  return runtime;
}

test("A socket is closed when it was idle for too long, or for as long as the origin says", async () => {
  for (const head of ["", "Keep-Alive: timeout=5, max=9\r\n"]) {
    const port = await rawHttp1Origin((socket) =>
      socket.write(`HTTP/1.1 200 OK\r\n${head}Content-Length: 2\r\n\r\nok`),
    );
    const runtime = shifted();
    const { pool, metrics, status } = openPool({ runtime });
    await textOf((await pool.request(get(port))).body);
    await until(() => expect(status().sockets.idle).toBe(1));
    runtime.shiftMs = head === "" ? 30_000 : 4_000;
    await until(() => expect(status().sockets.idle).toBe(0));
    expect(metrics.get("sluice_upstream_evicted_total", "idle")).toBe(1);
  }
});

test("A socket that is too old takes no further request; what it carries goes on", async () => {
  const origin = await http1Origin((request, response) => {
    response.write("a");
    request.socket.once("x", () => response.end("b"));
  });
  const runtime = shifted();
  const { pool, metrics, status } = openPool({ runtime });
  const { body } = await pool.request(get(origin.port));
  runtime.shiftMs = 700_000;
  await until(() => expect(status().sockets.draining).toBe(1));
  for (const socket of origin.sockets) socket.emit("x");
  expect(await textOf(body)).toBe("ab");
  await until(() => expect(status().sockets).toMatchObject({ idle: 0, draining: 0, dead: 0 }));
  expect(metrics.get("sluice_upstream_evicted_total", "age")).toBe(1);
});

test("Connection: close is honoured", async () => {
  const origin = await http1Origin((_request, response) => {
    response.writeHead(200, { connection: "close" }).end("ok");
  });
  const { pool, metrics, status } = openPool();
  await textOf((await pool.request(get(origin.port))).body);
  await until(() => expect(status().sockets).toMatchObject({ idle: 0, leased: 0, dead: 0 }));
  expect(status().evictedTotal).toBe(1);
  expect(metrics.get("sluice_upstream_sockets", "leased")).toBe(0);
});

test("The active check finds an origin ill after two answers, and well after one", async () => {
  let status = 503;
  let isAsked = 0;
  const origin = await http1Origin((request, response) => {
    if (request.url === "/health") isAsked += 1;
    response.writeHead(request.url === "/health" ? status : 200).end("ok");
  });
  const { pool, status: poolStatus } = openPool({ health: { path: "/health", intervalMs: 50 } });
  await textOf((await pool.request(get(origin.port))).body);
  await until(() => expect(poolStatus().health).toBe("unhealthy"));
  expect(isAsked).toBeGreaterThanOrEqual(2);
  expect(await codeOf(pool.request(get(origin.port)))).toBe("upstream_unavailable");
  expect(poolStatus().isRefusing).toBe(true);
  status = 200;
  await until(() => expect(poolStatus().health).toBe("healthy"));
  expect((await pool.request(get(origin.port))).status).toBe(200);
});

test("The active check says nothing of an origin whose sockets are all in use", async () => {
  let isAsked = 0;
  const origin = await http1Origin((request, response) => {
    if (request.url === "/health") isAsked += 1;
    if (request.url === "/health") response.end("ok");
    else response.writeHead(200).write("held");
  });
  const health = { path: "/health", intervalMs: 50 };
  const { pool, status, metrics } = openPool({ socketsMax: 1, acquireMsMax: 100, health });
  const { body } = await pool.request(get(origin.port));
  await until(() => {
    expect(metrics.get("sluice_upstream_rejected_total", "deadline")).toBeGreaterThan(2);
  });
  expect([status().health, isAsked]).toEqual(["unknown", 0]);
  body.destroy();
  await until(() => expect(status().health).toBe("healthy"));
});

test("The active check closes the circuit as soon as the origin is back", async () => {
  let isWell = false;
  const origin = await http1Origin((request, response) => {
    if (isWell) response.end("ok");
    else request.socket.destroy();
  });
  const { pool, status } = openPool({
    breaker: { failures: 1, openMs: 3_600_000 },
    health: { path: "/health", intervalMs: 50 },
  });
  expect(await codeOf(pool.request(get(origin.port)))).toBe("upstream_protocol");
  expect(status().circuit).toBe("open");
  isWell = true;
  await until(() => expect(status()).toMatchObject({ circuit: "closed", health: "healthy" }));
});

test("close() ends what waits, what is under way and what is idle", async () => {
  const origin = await http1Origin((request, response) => {
    response.write("a");
    if (request.url === "/end") response.end();
  });
  const { pool, status } = openPool({ socketsMax: 2 });
  const [idle, held] = await Promise.all([
    pool.request(get(origin.port, "/end")),
    pool.request(get(origin.port)),
  ]);
  await textOf(idle.body);
  const second = await pool.request(get(origin.port));
  const waiting = codeOf(pool.request(get(origin.port)));
  pool.close();
  expect(await waiting).toBe("shutting_down");
  expect(await codeOf(textOf(held.body))).toBe("upstream_protocol");
  expect(await codeOf(textOf(second.body))).toBe("upstream_protocol");
  await until(() => expect(origin.sockets.size).toBe(0));
  expect(await codeOf(pool.request(get(origin.port)))).toBe("shutting_down");
  await until(() => expect(status().sockets.dead).toBe(0));
});

test("S20: an origin of a request never gets a socket of the same origin of the configuration", async () => {
  const origin = await http1Origin((_request, response) => response.end("ok"));
  const { pool, status } = openPool();
  await textOf((await pool.request(get(origin.port))).body);
  await until(() => expect(status().sockets.idle).toBe(1));
  const foreign = parseOrigin(`http://127.0.0.1:${origin.port}`, { isNamed: false });
  const asked = pool.request(get(origin.port, "/", { origin: foreign }));
  expect(await codeOf(asked)).toBe("upstream_forbidden");
});

test("Other origins are unaffected by one that is given up", async () => {
  const well = await http1Origin((_request, response) => response.end("ok"));
  const ill = await rawHttp1Origin((socket) => socket.destroy());
  const { pool } = openPool({ breaker: { failures: 1 } });
  expect(await codeOf(pool.request(get(ill)))).toBe("upstream_protocol");
  expect(await codeOf(pool.request(get(ill)))).toBe("upstream_unavailable");
  expect((await pool.request(get(well.port))).status).toBe(200);
});
