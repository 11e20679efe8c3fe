// A pool of a test, and origins that speak HTTP/1.1.
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer as createRawServer } from "node:net";
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import { onTestFinished, vi } from "vitest";
import { SluiceError } from "../../../src/core/errors.ts";
import { Metrics } from "../../../src/core/metrics.ts";
import { systemRuntime } from "../../../src/internal/clock.ts";
import { UpstreamPool } from "../../../src/upstreams/pool/pool.ts";
import type { UpstreamPoolInput } from "../../../src/upstreams/pool/pool.ts";
import type { OriginStatus } from "../../../src/upstreams/pool/status.ts";
import { listen } from "./origins.ts";

export interface PoolWorld {
  readonly pool: UpstreamPool;
  readonly metrics: Metrics;
  /** Of the one origin that there is. */
  readonly status: () => OriginStatus;
}

/** The end of the test closes it. */
export function openPool(input: Partial<UpstreamPoolInput> = {}): PoolWorld {
  const metrics = new Metrics();
  const pool = new UpstreamPool({ runtime: systemRuntime(), metrics, ...input });
  onTestFinished(() => pool.close());
  return {
    pool,
    metrics,
    status() {
      const [only] = pool.status().origins;
      if (only === undefined) throw new Error("no origin was asked");
      return only;
    },
  };
}

export interface Http1Origin {
  readonly port: number;
  /** Open now. */
  readonly sockets: Set<Socket>;
  /** Accepted ever. */
  readonly acceptedTotal: number;
}

/** A `node:http` server. */
export async function http1Origin(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  options: { keepAliveMs?: number } = {},
): Promise<Http1Origin> {
  const server = createServer({ keepAliveTimeout: options.keepAliveMs ?? 60_000 }, answer);
  const sockets = new Set<Socket>();
  let acceptedTotal = 0;
  server.on("connection", (socket: Socket) => {
    acceptedTotal += 1;
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  const port = await listen(server);
  return {
    port,
    sockets,
    get acceptedTotal() {
      return acceptedTotal;
    },
  };
}

/** Answers each request head with bytes. */
export async function rawHttp1Origin(
  answer: (socket: Socket, head: string, index: number) => void,
): Promise<number> {
  let index = 0;
  const server = createRawServer({ noDelay: true }, (socket) => {
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      for (;;) {
        const end = text.indexOf("\r\n\r\n");
        if (end < 0) return;
        const head = text.slice(0, end + 4);
        text = text.slice(end + 4);
        answer(socket, head, index);
        index += 1;
      }
    });
  });
  return listen(server);
}

/** The code of the error that it rejects with. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof SluiceError) return error.code;
    throw error;
  }
  return "resolved";
}

/** What came of a body before it broke off, and the code of that; `resolved` if it did not. */
export async function brokenOff(body: Readable): Promise<{ text: string; code: string }> {
  let text = "";
  const code = await codeOf(
    (async () => {
      for await (const chunk of body) text += String(chunk);
    })(),
  );
  return { text, code };
}

/** Resolves when `check` throws no more: on a busy machine that may take a while. */
export const until = (check: () => void): Promise<void> =>
  vi.waitFor(check, { timeout: 10_000, interval: 10 });
