import { expect, onTestFinished, test } from "vitest";
import { systemRuntime } from "../../../src/internal/clock.ts";
import { seededRandom } from "../../../src/testing/random.ts";
import { runsOf } from "../../../src/upstreams/runs/registry.ts";
import { eventually, rawClient, send } from "../support.ts";
import { event, SSE_HEADERS, startFront, startOrigin } from "./support.ts";
import type { Front, TestOrigin } from "./support.ts";

const SEED = 20_261_123;
const CLIENTS = 12;
const REQUESTS = 25;

/** Refuses, breaks off, ends and streams as chance has it; only some of its streams have ids. */
function moodyOrigin(random: () => number): Promise<TestOrigin> {
  return startOrigin((request, response) => {
    request.resume();
    const mood = random();
    if (mood < 0.1) return void response.destroy();
    if (mood < 0.2) return void response.writeHead(503).end();
    if (mood < 0.25) return void response.writeHead(204).end();
    if (mood < 0.3) return void response.end("a page");
    response.writeHead(200, SSE_HEADERS);
    let count = 0;
    const timer = setInterval(() => {
      count += 1;
      response.write(event(`e${count}`, request.url?.startsWith("/id") ? count : undefined));
      const end = random();
      if (end < 0.05) response.end();
      else if (end < 0.1) response.destroy();
    }, 5);
    response.once("close", () => clearInterval(timer));
  });
}

/** Comes, reads a while and leaves, again and again; with places of others, and stopping runs. */
async function moodyClient(front: Front, random: () => number, places: string[]): Promise<void> {
  const pick = (count: number): number => Math.floor(random() * count);
  for (let left = REQUESTS; left > 0; left -= 1) {
    const client = rawClient(front.port);
    const isGet = random() < 0.5;
    const lines = [
      `${isGet ? "GET" : "POST"} /${random() < 0.5 ? "id" : "none"}${pick(3)} HTTP/1.1`,
      `Host: 127.0.0.1:${front.port}`,
      ...(random() < 0.8 ? ["Accept: text/event-stream"] : []),
      ...(random() < 0.5 ? [`Last-Event-ID: ${places[pick(places.length)] ?? "7"}`] : []),
      ...(isGet ? [] : ["Content-Length: 2"]),
      ...(random() < 0.5 ? [`Idempotency-Key: k${pick(20)}`] : []),
    ];
    client.send(`${lines.join("\r\n")}\r\n\r\n${isGet ? "" : "hi"}`);
    const stays = new Promise((resolve) => setTimeout(resolve, random() * 100));
    await Promise.race([client.closed, stays]);
    const [, place] = /^id: (\S+)$/m.exec(client.text) ?? [];
    if (place !== undefined) places.push(place);
    const [, run] = /^Sluice-Run: (\S+)/m.exec(client.text) ?? [];
    if (run !== undefined && random() < 0.3) {
      await send(front, `/v1/runs/${run}`, { method: "DELETE" });
    }
    client.socket.destroy();
  }
}

test("law 23: whatever origins and clients do, no request, reader, stream or run is left, and nothing is unhandled", async () => {
  const random = seededRandom(SEED);
  const unhandled: unknown[] = [];
  const note = (error: unknown): void => void unhandled.push(error);
  process.on("unhandledRejection", note).on("uncaughtException", note);
  onTestFinished(() => {
    process.off("unhandledRejection", note).off("uncaughtException", note);
  });
  const origin = await moodyOrigin(random);
  const route = { lingerMs: 5, onReadersGone: { kind: "grace", ms: 5 } } as const;
  // Its moods are no reason to leave it alone here.
  const breaker = { failures: 100_000 };
  const front = await startFront(origin, route, {}, { breaker });
  const places: string[] = [];
  await Promise.all(Array.from({ length: CLIENTS }, () => moodyClient(front, random, places)));
  const { plain } = front.hub.metrics;
  const runs = runsOf(front.hub, systemRuntime());
  await eventually(() => origin.open.size + runs.openNow + front.hub.subscribersNow === 0);
  await eventually(() => plain.sluice_feeds + plain.sluice_upstream_streams === 0);
  expect([plain.sluice_upstream_waiting, front.hub.connectionsNow, unhandled]).toEqual([0, 0, []]);
}, 60_000);
