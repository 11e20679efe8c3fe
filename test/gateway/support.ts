// A gateway on a free port of this machine, and clients that see bytes.
import { connect } from "node:net";
import type { Socket } from "node:net";
import { request as httpRequest } from "node:http";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { onTestFinished } from "vitest";
import { createMemoryBroker } from "../../src/brokers/memory.ts";
import type { MemoryBrokerOptions } from "../../src/brokers/memory.ts";
import { Hub } from "../../src/core/hub.ts";
import type { HubOptions } from "../../src/core/hub.ts";
import { startServer } from "../../src/gateway/server.ts";
import type { RunningServer, ServerOptions } from "../../src/gateway/server.ts";
import { systemRuntime } from "../../src/internal/clock.ts";
import { createScanner } from "../../src/wire/scan.ts";
import type { ScannedEvent } from "../../src/wire/scan.ts";

export interface World extends RunningServer {
  readonly hub: Hub;
  readonly port: number;
}

export interface WorldOptions {
  readonly gateway?: ServerOptions["gateway"];
  readonly logger?: ServerOptions["logger"];
  readonly broker?: MemoryBrokerOptions;
  readonly hub?: Partial<HubOptions>;
  /** Windows, TLS and the like. */
  readonly server?: Partial<ServerOptions>;
}

/** Starts a gateway that the end of the test closes. */
export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const hub = new Hub({
    broker: createMemoryBroker(options.broker),
    runtime: systemRuntime(),
    ...options.hub,
  });
  const server = await startServer(hub, {
    host: "127.0.0.1",
    port: 0,
    adminHost: "127.0.0.1",
    adminPort: 0,
    ...(options.gateway !== undefined && { gateway: options.gateway }),
    ...(options.logger !== undefined && { logger: options.logger }),
    ...options.server,
  });
  onTestFinished(() => server.close());
  return { ...server, hub, port: Number(new URL(server.url).port) };
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  // Whatever the body says; a test that reads it asserts it.
  readonly json: Record<string, unknown>;
}

export interface Send {
  readonly method?: string;
  readonly headers?: Record<string, string | string[]>;
  readonly body?: string | Uint8Array;
}

/** One whole request and its answer. `url` may be a path of `world`. */
export function send(world: { url: string }, path: string, options: Send = {}): Promise<Reply> {
  const { method = "GET", headers = {}, body } = options;
  return new Promise((resolve, reject) => {
    // The path as it is: a URL object would normalise what is wrong with it.
    const { hostname, port } = new URL(world.url);
    const sent = httpRequest({ hostname, port, path, method, headers, agent: false });
    sent.once("error", reject);
    sent.once("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.once("error", reject);
      response.once("end", () => {
        const text = Buffer.concat(chunks).toString();
        const isJson = /json/.test(response.headers["content-type"] ?? "");
        const json = isJson && text !== "" ? (JSON.parse(text) as Record<string, unknown>) : {};
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json });
      });
    });
    sent.end(body);
  });
}

export function post(
  world: { url: string },
  path: string,
  body: string | Uint8Array,
  headers: Record<string, string> = {},
): Promise<Reply> {
  return send(world, path, { method: "POST", body, headers });
}

export interface OpenStream {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly events: readonly ScannedEvent[];
  /** Resolves when `count` events have come, with all of them. */
  take(count: number): Promise<readonly ScannedEvent[]>;
  /** The body has ended; `true` if it ended cleanly. */
  readonly ended: Promise<boolean>;
  cut(): void;
}

/** Subscribes, and resolves when the response's head has come. */
export function openStream(
  world: { url: string },
  path: string,
  headers: Record<string, string> = {},
): Promise<OpenStream> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(`${world.url}${path}`, { headers, agent: false });
    onTestFinished(() => void sent.destroy());
    sent.once("error", reject);
    sent.once("response", (response) => resolve(readStream(response)));
    sent.end();
  });
}

function readStream(response: IncomingMessage): OpenStream {
  const events: ScannedEvent[] = [];
  let notify = (): void => {};
  const scanner = createScanner({ onEvent: (event) => events.push(event) });
  const ended = new Promise<boolean>((resolve) => {
    response.once("close", () => {
      resolve(response.complete);
      notify();
    });
  });
  response.on("error", () => {});
  response.on("data", (chunk: Buffer) => {
    scanner.push(chunk);
    notify();
  });
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    events,
    ended,
    cut: () => response.destroy(),
    async take(count) {
      while (events.length < count) {
        if (response.closed) throw new Error(`ended with ${events.length} of ${count} events`);
        await new Promise<void>((resolve) => (notify = resolve));
      }
      return events;
    },
  };
}

export interface RawClient {
  readonly socket: Socket;
  /** Everything received, as Latin-1. */
  readonly text: string;
  send(bytes: string | Uint8Array): void;
  /** Resolves when `text` holds `part` (`count` times). Rejects if the connection ends before. */
  until(part: string, count?: number): Promise<string>;
  /** Resolves with `text` when the connection has closed. */
  readonly closed: Promise<string>;
}

/** A TCP connection that sends and shows bytes as they are. */
export function rawClient(port: number, from = "127.0.0.1"): RawClient {
  const socket = connect({ host: "127.0.0.1", port, localAddress: from });
  onTestFinished(() => void socket.destroy());
  let text = "";
  let notify = (): void => {};
  let isClosed = false;
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
    notify();
  });
  const closed = new Promise<string>((resolve) => {
    socket.once("close", () => {
      isClosed = true;
      notify();
      resolve(text);
    });
  });
  return {
    socket,
    closed,
    get text() {
      return text;
    },
    send: (bytes) => void socket.write(bytes),
    async until(part, count = 1) {
      while (text.split(part).length <= count) {
        if (isClosed) throw new Error(`closed before ${JSON.stringify(part)}: ${text}`);
        await new Promise<void>((resolve) => (notify = resolve));
      }
      return text;
    },
  };
}

/** Asserts nothing; waits until `isTrue`, a turn of the loop at a time. The test's own limit bounds it. */
export async function eventually(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setImmediate(resolve));
}
