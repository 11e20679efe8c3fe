import { createServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { SOCKET_STATES } from "../../../src/upstreams/pool/socket-state.ts";
import { get, listen } from "./origins.ts";
import { openPool, until } from "./pool-world.ts";

const below = (bound: number): number => Math.floor(Math.random() * bound);

interface Answer {
  write(text: string): unknown;
  end(text: string): unknown;
  readonly stream?: { destroy(): unknown };
  readonly socket: { destroy(): unknown } | null;
}

/** Whole, half, late, never, with the request's body read or not. */
function answer(response: Answer): void {
  const cut = (): unknown => (response.stream ?? response.socket)?.destroy();
  const kind = below(8);
  if (kind === 0) cut();
  else if (kind === 1) setTimeout(() => response.end("late"), below(50));
  else if (kind === 2) response.write("held");
  else if (kind === 3) {
    response.write("x".repeat(below(200_000)));
    setTimeout(cut, below(20));
  } else if (kind > 4) response.end("x".repeat(below(300_000)));
}

for (const http2 of ["off", "prior"] as const) {
  test(`law 23: whatever comes together, nothing is left (http2 ${http2})`, async () => {
    const server =
      http2 === "off"
        ? createServer((request, response) => {
            request.on("error", () => {});
            if (below(2) === 0) request.resume();
            answer(response);
          })
        : createHttp2Server((request, response) => {
            request.on("error", () => {});
            if (below(2) === 0) request.resume();
            answer(response);
          });
    const port = await listen(server);
    const { pool, metrics, status } = openPool({
      http2,
      socketsMax: 6,
      streamsPerSession: 5,
      queueMax: 50,
      acquireMsMax: 300,
      headersMsMax: 200,
      probeMsMax: 200,
      idleMs: 200,
      ageMsMax: 400,
      breaker: { failures: 1_000_000 },
    });
    const ask = async (at: number): Promise<void> => {
      const control = new AbortController();
      if (below(3) === 0) setTimeout(() => control.abort(), below(60));
      const parts = Array.from({ length: below(20) }, () => Buffer.alloc(20_000));
      const body = [undefined, Buffer.alloc(below(200_000)), Readable.from(parts)][at % 3];
      const method = body === undefined ? "GET" : "POST";
      const { signal } = control;
      const request = get(port, "/", { method, body, tenant: `${below(3)}`, signal });
      const response = await pool.request(request);
      if (below(2) === 0) await sleep(below(80));
      if (below(2) === 0) return void response.body.destroy();
      setTimeout(() => response.body.destroy(), 400);
      for await (const _ of response.body) if (below(4) === 0) await sleep(below(10));
    };
    const asked: Promise<void>[] = [];
    for (let at = 0; at < 600; at += 1) {
      // How each of them ends is not the question here.
      asked.push(ask(at).catch(() => {}));
      if (at % 10 === 0) await sleep(8);
    }
    await Promise.all(asked);
    await until(() => {
      expect(status()).toMatchObject({ streamsNow: 0, waiting: 0, tenants: 0 });
      expect(status().sockets).toMatchObject({ connecting: 0, leased: 0, draining: 0, dead: 0 });
    });
    pool.close();
    await until(() => {
      const left = SOCKET_STATES.map((state) => metrics.get("sluice_upstream_sockets", state));
      expect(left).toEqual(SOCKET_STATES.map(() => 0));
    });
    expect(metrics.plain.sluice_upstream_streams).toBe(0);
    expect(metrics.plain.sluice_upstream_waiting).toBe(0);
    expect(metrics.plain.sluice_upstream_double_releases_total).toBe(0);
  });
}
