// Requests that drip. The limits are the product's own, so all of it runs at once, in `beforeAll`.
import { execFile } from "node:child_process";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createMemoryBroker } from "../../src/brokers/memory.ts";
import { Hub } from "../../src/core/hub.ts";
import { startServer } from "../../src/gateway/server.ts";
import type { RunningServer } from "../../src/gateway/server.ts";
import { systemRuntime } from "../../src/internal/clock.ts";
import { describeWith, needs } from "../support/programs.ts";
import { openStream, post, startWorld } from "./support.ts";
import type { World } from "./support.ts";

const run = promisify(execFile);
const TOPIC = "/v1/topics/drip";
const POST = `POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\n`;
const CHUNKED = `${POST}Transfer-Encoding: chunked\r\n\r\n`;
const sized = (bytes: number, post = POST): string => `${post}Content-Length: ${bytes}\r\n\r\n`;
const PATIENCE = { timeout: 25_000, interval: 50 };
/** "408 and closed within 12 s", and room for a busy machine. */
const CLOSED_MS_MAX = 13_500;

interface Dripped {
  readonly text: string;
  /** From the last byte that was no drip until the connection was closed. */
  readonly ms: number;
}

interface Drip {
  readonly start: string;
  /** Sent again and again; nothing if empty. */
  readonly more?: string;
  readonly everyMs?: number;
}

describe("a request that drips", () => {
  const sockets: Socket[] = [];
  let hub: Hub;
  let server: RunningServer;
  let results: Readonly<Record<keyof typeof DRIPS, Dripped>>;
  let headers: readonly Dripped[];

  const drip = ({ start, more = "", everyMs = 500 }: Drip): Promise<Dripped> => {
    const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
    sockets.push(socket);
    const startedAt = performance.now();
    let text = "";
    socket.write(start);
    const timer = setInterval(() => socket.writable && socket.write(more), everyMs);
    socket.on("error", () => {});
    socket.on("data", (bytes) => (text += bytes.toString()));
    return new Promise((resolve) => {
      socket.on("close", () => {
        clearInterval(timer);
        resolve({ text, ms: performance.now() - startedAt });
      });
    });
  };

  const DRIPS = {
    body: { start: sized(4_096), more: "x" },
    stopped: { start: `${sized(4_096)}xxx` },
    chunked: { start: CHUNKED, more: "1\r\nx\r\n", everyMs: 700 },
    fastThenSlow: { start: sized(900_000) + "x".repeat(800_000), more: "x" },
    /** 3.5 KiB/s, for 14 s. */
    slowLink: {
      start: sized(14 * 3_584, `${POST}Connection: close\r\n`),
      more: "x".repeat(3_584),
      everyMs: 1_000,
    },
    refused: { start: sized(4_096, POST.replace("drip", "drip?nonsense=1")), more: "x" },
    unread: { start: sized(4_096, POST.replace("POST", "OPTIONS")), more: "x" },
  } satisfies Record<string, Drip>;
  const HEADERS = ["", "G", `GET ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nX-`];

  beforeAll(async () => {
    hub = new Hub({ broker: createMemoryBroker(), runtime: systemRuntime() });
    const address = { host: "127.0.0.1", port: 0, adminHost: "127.0.0.1", adminPort: 0 };
    server = await startServer(hub, address);
    const slowHeaders = Array.from({ length: 30 }, (_, n) => {
      const start = HEADERS[n % HEADERS.length] ?? "";
      return drip({ start, more: start.endsWith("X-") ? "a" : "", everyMs: 400 + n });
    });
    const named = Object.entries(DRIPS).map(async ([name, one]) => [name, await drip(one)]);
    results = Object.fromEntries(await Promise.all(named)) as typeof results;
    headers = await Promise.all(slowHeaders);
  });

  afterAll(async () => {
    for (const socket of sockets) socket.destroy();
    await server.close();
  });

  const expectTimeout = ({ text, ms }: Dripped): void => {
    expect(text).toMatch(/^HTTP\/1\.1 408 [^]*"code":"request_timeout"/);
    expect(text.match(/HTTP\/1\.1 [0-9]/g)).toHaveLength(1);
    expect(ms).toBeGreaterThan(9_000);
    expect(ms).toBeLessThan(CLOSED_MS_MAX);
  };

  test("F17 S12 headers that drip, or never come, are answered 408 and closed within 12 s", () => {
    for (const one of headers) expectTimeout(one);
    expect(hub.metrics.get("sluice_rejected_total", "header_timeout")).toBe(30);
  });

  test("F18 S12 a body that drips or stops is answered 408 and closed within 12 s, and not published", () => {
    expectTimeout(results.body);
    expectTimeout(results.stopped);
    expectTimeout(results.chunked);
    expect(hub.metrics.get("sluice_rejected_total", "body_timeout")).toBe(4);
    // That of the slow link.
    expect(hub.metrics.plain.sluice_publications_total).toBe(1);
  });

  test("F18 a body that was fast and then drips is given up 12 s later, not after minutes", () => {
    expectTimeout(results.fastThenSlow);
  });

  test("F18 a body on a slow link is taken, however long it takes in all", () => {
    expect(results.slowLink.text).toMatch(/^HTTP\/1\.1 201 /);
    expect(results.slowLink.ms).toBeGreaterThan(12_000);
  });

  test("F18 a body that drips behind the answer is closed without a second one", () => {
    for (const { text, ms } of [results.refused, results.unread]) {
      expect(text).toMatch(/^HTTP\/1\.1 (400|204) /);
      expect(text.match(/HTTP\/1\.1 [0-9]/g)).toHaveLength(1);
      expect(ms).toBeLessThan(CLOSED_MS_MAX);
    }
  });
});

describeWith({ slowhttptest: needs("slowhttptest") }, "slowhttptest", ({ slowhttptest }) => {
  const attack = (url: string, ...kind: string[]): Promise<unknown> =>
    run(slowhttptest, [...kind, "-c", "100", "-r", "100", "-u", url]);

  test("F17 F18 slow headers and slow bodies: all are closed, and others are served meanwhile", async () => {
    const world = await startWorld();
    const url = `${world.url}${TOPIC}`;
    const attacked = [
      attack(url, "-l", "18", "-H", "-i", "3", "-t", "GET"),
      attack(url, "-l", "18", "-B", "-i", "3", "-s", "8192", "-x", "10"),
    ];
    const stream = await openStream(world, "/v1/topics/other");
    await post(world, "/v1/topics/other", "x");
    expect((await stream.take(1))[0]?.data).toBe("x");
    const rejected = (reason: string): number =>
      world.hub.metrics.get("sluice_rejected_total", reason);
    await vi.waitUntil(
      () => rejected("header_timeout") === 100 && rejected("body_timeout") === 100,
      PATIENCE,
    );
    expect(world.hub.metrics.plain.sluice_publications_total).toBe(1);
    await Promise.all(attacked);
  });

  test("F19 S10 slow reads: each is a slow reader, and is cut at the stall deadline", async () => {
    const world: World = await startWorld({
      hub: { heartbeat: { heartbeatMs: 1_000, stallMs: 3_000 } },
    });
    const data = "x".repeat(900_000);
    for (let n = 0; n < 12; n += 1) {
      await world.hub.publish({ tenant: "default", topic: "drip", events: [{ data }] });
    }
    // A byte each 10 s, from a window of 512 bytes.
    const slowly = ["-l", "10", "-X", "-w", "512", "-y", "512", "-n", "10", "-z", "1"];
    const attacked = attack(`${world.url}${TOPIC}?last_event_id=earliest`, ...slowly);
    const { metrics } = world.hub;
    await vi.waitUntil(
      () => metrics.get("sluice_disconnects_total", "slow_consumer") === 100,
      PATIENCE,
    );
    expect(world.hub.subscribersNow).toBe(0);
    await attacked;
  });
});
