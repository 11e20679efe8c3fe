import { createServer } from "node:http";
import { createServer as createHttp2 } from "node:http2";
import type { ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { createGateway } from "../../../src/gateway/gateway.ts";
import { createHub } from "../../../src/gateway/hub.ts";
import { ROUTE_DEFAULTS } from "../../../src/gateway/proxy/route.ts";
import { parseOrigin } from "../../../src/upstreams/origin.ts";
import { eventually, openStream, send } from "../support.ts";
import type { OpenStream } from "../support.ts";
import {
  ASKS,
  BROWSER,
  event,
  SSE_HEADERS,
  startCountingOrigin,
  startFront,
  startOrigin,
} from "./support.ts";
import type { Front } from "./support.ts";

describe("an origin without room", () => {
  test("R25, law 16: who needs another upstream stream is refused as it survives; who is attached stays", async () => {
    const origin = await startCountingOrigin();
    const front = await startFront(origin, {}, {}, { socketsMax: 4 });
    const streams: OpenStream[] = [];
    for (const url of ["/a", "/b", "/c", "/d"]) streams.push(await openStream(front, url, ASKS));
    await eventually(() => origin.open.size === 4);
    const soft = await send(front, "/e", { headers: BROWSER });
    expect([soft.status, soft.text]).toEqual([
      200,
      expect.stringMatching(/^retry: \d+\n\n: close overloaded\n\n$/),
    ]);
    const status = await send(front, "/e", { headers: ASKS });
    expect(status.status).toBe(503);
    expect(status.text).toMatch(/^Connection pool exhausted\. Retry in \d+s\.$/);
    // Sharing needs none.
    const fifth = await openStream(front, "/a", ASKS);
    origin.emit(3);
    for (const stream of [...streams, fifth]) await stream.take(3);
    expect(origin.requests).toHaveLength(4);
  });

  test("R25: while the circuit is open new streams are refused softly; who is attached stays, and goes on", async () => {
    const origin = await startCountingOrigin();
    const breaker = { failures: 3, openMs: 500 };
    const front = await startFront(origin, {}, {}, { breaker });
    const stays = await openStream(front, "/s", ASKS);
    await eventually(() => origin.open.size === 1);
    origin.emit(2);
    await stays.take(2);
    await origin.stop();
    for (let count = 0; count < 3; count += 1) {
      const soft = await send(front, "/new", { headers: BROWSER });
      expect([soft.status, soft.text]).toEqual([
        200,
        expect.stringContaining(": close overloaded"),
      ]);
    }
    origin.emit(2);
    await origin.start();
    await stays.take(4);
    expect(stays.events.map(({ data }) => data)).toEqual(["e1", "e2", "e3", "e4"]);
    const after = await openStream(front, "/new", ASKS);
    await after.take(4);
  });

  test("law 23: every gauge is zero again when all have gone", async () => {
    const origin = await startCountingOrigin();
    const front = await startFront(origin, { lingerMs: 0 });
    const streams = await Promise.all(
      Array.from({ length: 50 }, (_, at) => openStream(front, `/u${at % 7}`, ASKS)),
    );
    await eventually(() => origin.open.size === 7);
    origin.emit(2);
    await Promise.all(streams.map((stream) => stream.take(2)));
    expect(front.hub.metrics.plain.sluice_feeds).toBe(7);
    for (const stream of streams) stream.cut();
    await eventually(() => origin.open.size === 0);
    const { plain } = front.hub.metrics;
    await eventually(() => plain.sluice_feeds === 0 && plain.sluice_upstream_streams === 0);
    await eventually(() => front.hub.subscribersNow === 0);
  });
});

describe("a drain", () => {
  test("P06: readers of a proxied stream are told in a comment, and resume elsewhere", async () => {
    const origin = await startCountingOrigin();
    const front = await startFront(origin);
    const stream = await openStream(front, "/s", ASKS);
    await eventually(() => origin.open.size === 1);
    origin.emit(3);
    await stream.take(3);
    const report = await front.drain({ ackWaitMs: 50, deadlineMs: 5_000 });
    expect(report.isForced).toBe(false);
    expect(await stream.ended).toBe(true);
    expect(stream.events).toHaveLength(3);
    await eventually(() => origin.open.size === 0);
  });

  test("law 20: a run is let to its end, and nothing of it is cut", async () => {
    const gate = Promise.withResolvers<void>();
    const origin = await startOrigin((_request, response) => {
      response.writeHead(200, SSE_HEADERS);
      response.write(event("begin"));
      void gate.promise.then(() => response.end(event("end")));
    });
    const front = await startFront(origin);
    const answer = send(front, "/chat", { method: "POST", body: "x" });
    await eventually(() => front.hub.connectionsNow === 1);
    const drained = front.drain({ ackWaitMs: 50, deadlineMs: 20_000 });
    await new Promise((resolve) => setTimeout(resolve, 200));
    gate.resolve();
    const { text } = await answer;
    expect(text).toMatch(/data: begin[^]*data: end/);
    expect(text).not.toContain("pool_draining");
    expect((await drained).isForced).toBe(false);
  });
});

describe("a drain, and requests that may become runs", () => {
  const modelAfter = (ms: number) =>
    startOrigin((_request, response) => {
      setTimeout(() => {
        response.writeHead(200, SSE_HEADERS);
        response.write(event("begin"));
        setTimeout(() => response.end(event("end")), 200);
      }, ms);
    });

  test("law 20: it waits for what the origin has not answered yet, and for the run that this becomes", async () => {
    const origin = await modelAfter(300);
    const front = await startFront(origin);
    const answer = send(front, "/chat", { method: "POST", body: "x" });
    await eventually(() => origin.open.size === 1);
    const report = await front.drain({ ackWaitMs: 50, deadlineMs: 20_000 });
    expect(report.isForced).toBe(false);
    const { text } = await answer;
    expect(text).toMatch(/data: begin[^]*data: end/);
    expect(text).not.toContain("event: error");
  });

  test("what begins when open runs were told of the end is refused, and says why", async () => {
    const origin = await modelAfter(900);
    const front = await startFront(origin);
    const answer = send(front, "/chat", { method: "POST", body: "x" });
    await eventually(() => origin.open.size === 1);
    const drained = front.drain({ ackWaitMs: 50, deadlineMs: 1_000 });
    const reply = await answer;
    expect([reply.status, reply.json["code"]]).toEqual([503, "shutting_down"]);
    expect((await drained).isForced).toBe(true);
    await eventually(() => origin.open.size === 0);
  });

  test("what asks for a stream by name passes the door, whatever its method", async () => {
    const origin = await modelAfter(0);
    const admission = { perIpMax: 1, trustedProxies: ["127.0.0.1"] };
    const front = await startFront(origin, {}, { gateway: { admission } });
    const headers = { ...ASKS, "x-forwarded-for": "203.0.113.9" };
    const stays = await openStream(front, "/s", headers);
    const ask = { method: "POST", body: "x", headers };
    expect((await send(front, "/chat", ask)).status).toBe(429);
    expect(origin.requests).toHaveLength(1);
    stays.cut();
    await eventually(() => front.hub.connectionsNow === 0);
    expect((await send(front, "/chat", ask)).text).toContain("data: end");
  });
});

describe("isolation", () => {
  /** Says whose request it is, again and again, and remembers which ids it was given by whom. */
  function nonces(who: string, write: (text: string) => boolean): () => void {
    let count = 0;
    const timer = setInterval(() => {
      count += 1;
      write(event(who, `${who}-${count}`));
    }, 5);
    return () => clearInterval(timer);
  }

  async function churn(front: Front, seen: readonly (readonly [string, string])[]): Promise<void> {
    let foreign = 0;
    const client = async (at: number): Promise<void> => {
      const who = `user${at % 40}`;
      let place = "";
      for (let round = 0; round < 4; round += 1) {
        const stream = await openStream(front, "/mine", {
          ...ASKS,
          cookie: who,
          ...(place !== "" && { "last-event-id": place }),
        });
        await stream.take(1 + ((at * 7 + round) % 5));
        for (const { data } of stream.events) if (data !== who) foreign += 1;
        place = stream.events.at(-1)?.lastEventId ?? "";
        stream.cut();
      }
    };
    await Promise.all(Array.from({ length: 200 }, (_, at) => client(at)));
    expect(foreign).toBe(0);
    expect(seen.length).toBeGreaterThan(0);
    for (const [who, id] of seen) expect(id === "" || id.startsWith(`${who}-`)).toBe(true);
  }

  const pool = { socketsMax: 200, ageMsMax: 500, idleMs: 200, tenantPercentMax: 100 };

  test("S06, law 22: over HTTP/1 nobody gets another's events, and no origin another's id", async () => {
    const seen: [string, string][] = [];
    const origin = await startOrigin((request, response) => {
      const who = request.headers.cookie ?? "";
      seen.push([who, String(request.headers["last-event-id"] ?? "")]);
      response.writeHead(200, SSE_HEADERS);
      response.once(
        "close",
        nonces(who, (text) => response.write(text)),
      );
    });
    const front = await startFront(origin, { lingerMs: 5 }, {}, pool);
    await churn(front, seen);
  }, 60_000);

  test("S06, law 22: over HTTP/2 nobody gets another's events, and no origin another's id", async () => {
    const seen: [string, string][] = [];
    const server = createHttp2();
    server.on("stream", (stream: ServerHttp2Stream, headers) => {
      const { cookie: who = "", "last-event-id": id = "" } = headers;
      seen.push([who, String(id)]);
      stream.on("error", () => {});
      stream.respond({ ":status": 200, "content-type": "text/event-stream" });
      const stop = nonces(who, (text) => !stream.closed && stream.write(text));
      stream.once("close", stop);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const front = await startFront({ url }, { lingerMs: 5 }, {}, { ...pool, http2: "prior" });
    await churn(front, seen);
  }, 60_000);
});

describe("in a library", () => {
  test("when the gateway has drained, the pool is closed behind the last request", async () => {
    const origin = await startOrigin((request, response) => {
      if (request.url === "/s") {
        response.writeHead(200, SSE_HEADERS);
        response.write(event("one", 1));
      } else setTimeout(() => response.end("late"), 300);
    });
    const hub = createHub();
    onTestFinished(() => hub.close());
    const target = parseOrigin(origin.url, { isNamed: true });
    const routes = [{ ...ROUTE_DEFAULTS, match: "/**", origin: target }];
    const gateway = createGateway(hub, { upstreams: { routes } });
    const server = createServer(gateway.handler);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const front = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
    const stream = await openStream(front, "/s", ASKS);
    await stream.take(1);
    const late = send(front, "/late");
    await eventually(() => origin.requests.length === 2);
    await gateway.drain({ ackWaitMs: 10 });
    expect((await late).text).toBe("late");
    await eventually(() => origin.open.size === 0);
    expect((await send(front, "/s", { headers: ASKS })).status).toBe(503);
  });
});
