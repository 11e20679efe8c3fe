import { describe, expect, test, vi } from "vitest";
import { selectTopics } from "../../../src/core/selection.ts";
import { feedTenant } from "../../../src/core/feed-tenant.ts";
import { systemRuntime } from "../../../src/internal/clock.ts";
import { seededRandom } from "../../../src/testing/random.ts";
import { runsOf } from "../../../src/upstreams/runs/registry.ts";
import { createScanner } from "../../../src/wire/scan.ts";
import type { ScannedEvent } from "../../../src/wire/scan.ts";
import { startHostileOrigin, STREAM_HEAD } from "../../support/hostile-origin.ts";
import { eventually, openStream, rawClient, send } from "../support.ts";
import { event, SSE_HEADERS, startFront, startOrigin } from "./support.ts";
import type { Front } from "./support.ts";

function ask(front: Front, headers: Record<string, string> = {}) {
  const client = rawClient(front.port);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  client.send(
    `POST /chat HTTP/1.1\r\nHost: 127.0.0.1:${front.port}\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n${lines.join("")}\r\nhi`,
  );
  return client;
}

const runOf = (text: string): string => /^Sluice-Run: (.+)\r$/m.exec(text)?.[1] ?? "";
const tokensOf = (text: string): string[] =>
  [...text.matchAll(/^data: (.+)$/gm)].map((match) => match[1] ?? "");

describe("DELETE of a run", () => {
  for (const [where, first] of [
    ["before the first byte", undefined],
    ["in mid-stream", event("token")],
  ] as const) {
    test(`law 12: aborts the upstream within 200 ms ${where}, and its readers are told`, async () => {
      const origin = await startOrigin((_request, response) => {
        response.writeHead(200, SSE_HEADERS).flushHeaders();
        if (first !== undefined) response.write(first);
      });
      const front = await startFront(origin);
      const client = ask(front);
      const id = runOf(await client.until(first === undefined ? "\r\n\r\n" : "data: token"));
      const since = performance.now();
      const stopped = send(front, `/v1/runs/${id}`, { method: "DELETE" });
      await eventually(() => origin.open.size === 0);
      expect(performance.now() - since).toBeLessThan(200);
      expect((await stopped).status).toBe(204);
      const text = await client.closed;
      expect(text.match(/^: end .*"reason":"stopped"/gm)).toHaveLength(1);
      const reader = await openStream(front, `/v1/runs/${id}`);
      await reader.ended;
      expect(reader.events.map(({ data }) => data)).toEqual(first === undefined ? [] : ["token"]);
    });
  }
});

describe("an upstream that breaks in mid-run", () => {
  test("U03: goes on behind its last id where origin and client have made the request repeatable", async () => {
    const bodies: string[] = [];
    const origin = await startOrigin((request, response) => {
      request.on("data", (bytes: Buffer) => bodies.push(bytes.toString()));
      request.on("end", () => {
        response.writeHead(200, SSE_HEADERS);
        const last = Number(request.headers["last-event-id"] ?? 0);
        for (let id = last + 1; id <= last + 3 && id <= 8; id += 1)
          response.write(event(`t${id}`, id));
        if (last + 3 >= 8) response.end();
        else setTimeout(() => response.destroy(), 20);
      });
    });
    const front = await startFront(origin);
    const text = await ask(front, { "Idempotency-Key": "k" }).closed;
    expect(tokensOf(text)).toEqual(["t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8"]);
    expect(text.match(/^: end .*"reason":"done"/gm)).toHaveLength(1);
    expect(bodies).toEqual(["hi", "hi", "hi"]);
    expect(origin.requests.map(({ headers }) => headers["last-event-id"])).toEqual([
      undefined,
      "3",
      "6",
    ]);
    expect(origin.requests.map(({ headers }) => headers["idempotency-key"])).toEqual([
      "k",
      "k",
      "k",
    ]);
  }, 20_000);

  test("ends with one typed error where it gave no ids, began anew, or must not be asked twice", async () => {
    for (const [ids, headers, requests] of [
      [false, { "Idempotency-Key": "k" }, 1],
      [true, {}, 1],
      // It takes no notice of Last-Event-ID.
      [true, { "Idempotency-Key": "k" }, 2],
    ] as const) {
      const origin = await startOrigin((_request, response) => {
        response.writeHead(200, SSE_HEADERS);
        for (const id of [1, 2]) response.write(event(`t${id}`, ids ? id : undefined));
        setTimeout(() => response.destroy(), 20);
      });
      const front = await startFront(origin);
      const text = await ask(front, headers).closed;
      expect(text.match(/^event: error$/gm)).toHaveLength(1);
      expect(text).toContain('"code":"upstream_lost"');
      expect(text.match(/^: end .*"reason":"error"/gm)).toHaveLength(1);
      expect(tokensOf(text).slice(0, -1)).toEqual(["t1", "t2"]);
      expect(origin.requests).toHaveLength(requests);
    }
  }, 20_000);

  test("law 19 U18: silence is given up by the watchdog alone, and told once; comments are life", async () => {
    const origin = await startOrigin((_request, response) => {
      response.writeHead(200, SSE_HEADERS).flushHeaders();
      let comments = 8;
      const timer = setInterval(() => {
        comments -= 1;
        if (comments === 0) response.write(event("late"));
        else if (comments > 0) response.write(": thinking\n\n");
      }, 100);
      response.once("close", () => clearInterval(timer));
    });
    const front = await startFront(origin, { idleMsMax: 600, headersMsMax: 600 });
    const text = await ask(front).closed;
    expect(tokensOf(text)[0]).toBe("late");
    expect(text.match(/^event: error$/gm)).toHaveLength(1);
    expect(text).toContain("was silent for 600 ms");
    expect(origin.open.size).toBe(0);
  });
});

test("law 18: what a run says is what its origin said, however its bytes came", async () => {
  const bytes = Buffer.from(
    "\ufeff: c\rdata: one\r\ndata: two\rdata\n\nid: a\0b\ndata: nul\n\ndata:\n\n" +
      "event: e\r\ndata:  spaced \r\n\r\nretry: 5\nunknown: x\ndata: é\u{1f600}\n\nevent: only\n\ndata: half\n",
  );
  const pairs = (events: readonly ScannedEvent[]) => events.map((e) => [e.event, e.data]);
  const direct: ScannedEvent[] = [];
  const scanner = createScanner({ onEvent: (each) => direct.push(each) });
  scanner.push(bytes);
  expect(direct).toHaveLength(5);
  for (const size of [1, 2, 7, bytes.length]) {
    const origin = await startHostileOrigin(async (socket) => {
      socket.write(STREAM_HEAD);
      for (let at = 0; at < bytes.length; at += size) {
        socket.write(bytes.subarray(at, at + size));
        await new Promise((resolve) => setImmediate(resolve));
      }
      socket.end();
    });
    const front = await startFront(origin);
    const [head = "", ...rest] = (await ask(front).closed).split("\r\n\r\n");
    const id = runOf(`${head}\r\n`);
    expect(rest).not.toEqual([]);
    const reader = await openStream(front, `/v1/runs/${id}`);
    await reader.ended;
    expect(pairs(reader.events)).toEqual(pairs(direct));
  }
});

test("R03 law 23: hundreds of runs whose clients leave at random leave no request, reader, run or event", async () => {
  const random = seededRandom(4);
  const origin = await startOrigin((_request, response) => {
    const say = (): void => {
      response.writeHead(200, SSE_HEADERS);
      let left = Math.floor(random() * 6);
      const timer = setInterval(() => {
        left -= 1;
        if (left < 0) response.end();
        else response.write(event("token"));
      }, 5);
      response.once("close", () => clearInterval(timer));
    };
    setTimeout(say, random() * 20);
  });
  const front = await startFront(origin, { onReadersGone: { kind: "cancel" }, runTtlMs: 50 });
  const { hub } = front;
  const runs = runsOf(hub, systemRuntime());
  const clients: Promise<string>[] = [];
  for (let count = 0; count < 300; count += 1) {
    const keyed: Record<string, string> =
      count % 3 === 0 ? { "Idempotency-Key": `k${count % 50}` } : {};
    const client = ask(front, keyed);
    clients.push(client.closed);
    setTimeout(() => client.socket.destroy(), random() * 60);
    if (count % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await Promise.all(clients);
  await vi.waitFor(() => {
    expect([origin.open.size, runs.openNow, runs.runsNow, hub.subscribersNow]).toEqual([
      0, 0, 0, 0,
    ]);
  }, 10_000);
  for (const state of ["open", "done", "error", "stopped", "expired"]) {
    expect(hub.metrics.get("sluice_runs", state)).toBe(0);
  }
  await vi.waitFor(async () => {
    const { publications } = await hub.broker.read({
      tenant: feedTenant("default"),
      selection: selectTopics(["runs/**"]),
      from: "earliest",
      upTo: Number.MAX_SAFE_INTEGER,
      bytesMax: 1,
    });
    expect(publications).toEqual([]);
  }, 10_000);
}, 30_000);

test("U11: a run is not ahead of its only reader by more than it keeps, and goes on without it", async () => {
  const events = 3_000;
  let sent = 0;
  const origin = await startOrigin((_request, response) => {
    response.writeHead(200, SSE_HEADERS);
    const pump = (): void => {
      while (sent < events) {
        sent += 1;
        if (!response.write(event(`${sent} ${"x".repeat(10_000)}`))) return;
      }
      response.end();
    };
    response.on("drain", pump);
    pump();
  });
  const front = await startFront(origin);
  const client = ask(front);
  const id = runOf(await client.until("\r\n\r\n"));
  client.socket.pause();
  // It has stopped: the origin waits, far from its end.
  await vi.waitFor(
    async () => {
      const before = sent;
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(sent).toBe(before);
    },
    { timeout: 10_000 },
  );
  expect(sent).toBeLessThan(2_500);
  client.socket.resume();
  const text = await client.closed;
  expect(text).not.toContain(": gap");
  expect(tokensOf(text).map((token) => Number.parseInt(token, 10))).toEqual(
    Array.from({ length: events }, (_, at) => at + 1),
  );
  // Nobody reads the next one: nothing holds it up.
  sent = 0;
  const other = ask(front);
  expect(runOf(await other.until("\r\n\r\n"))).not.toBe(id);
  other.socket.destroy();
  await eventually(() => sent === events);
}, 30_000);
