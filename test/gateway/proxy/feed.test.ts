import { describe, expect, test, vi } from "vitest";
import { eventually, openStream, rawClient, send } from "../support.ts";
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

const dataOf = (stream: OpenStream): string[] => stream.events.map(({ data }) => data);
const lastIdOf = (stream: OpenStream): string => stream.events.at(-1)?.lastEventId ?? "";
const range = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, at) => `e${from + at}`);

describe("sharing", () => {
  test("law 13: 200 clients of 5 URLs are 5 upstream streams, and everybody gets everything once", async () => {
    const origin = await startOrigin((request, response) => {
      response.writeHead(200, SSE_HEADERS);
      for (let id = 1; id <= 20; id += 1) response.write(event(`${String(request.url)}#${id}`, id));
    });
    const front = await startFront(origin);
    const urls = Array.from({ length: 200 }, (_, at) => `/u${at % 5}`);
    const streams = await Promise.all(urls.map((url) => openStream(front, url, ASKS)));
    await Promise.all(streams.map((stream) => stream.take(20)));
    expect(origin.requests).toHaveLength(5);
    for (const [at, stream] of streams.entries()) {
      expect(dataOf(stream)).toEqual(
        Array.from({ length: 20 }, (_, id) => `${urls[at]}#${id + 1}`),
      );
    }
  });

  test("who comes later gets the response from its beginning", async () => {
    const origin = await startCountingOrigin();
    const front = await startFront(origin);
    const first = await openStream(front, "/s", ASKS);
    await eventually(() => origin.open.size === 1);
    origin.emit(10);
    await first.take(10);
    const second = await openStream(front, "/s", ASKS);
    await second.take(10);
    origin.emit(5);
    await Promise.all([first.take(15), second.take(15)]);
    expect(dataOf(second)).toEqual(range(1, 15));
    expect(origin.requests).toHaveLength(1);
  });

  test("S06: readers with other cookies or tokens get streams of their own", async () => {
    const origin = await startOrigin((request, response) => {
      const { cookie = "", authorization = "" } = request.headers;
      response.writeHead(200, { ...SSE_HEADERS, "set-cookie": `seen=${cookie}` });
      response.write(event(`${cookie}|${authorization}`));
    });
    const front = await startFront(origin);
    const whose = ["", "a=1", "a=2", "a=1"];
    for (const cookie of whose) {
      const stream = await openStream(front, "/s", cookie === "" ? ASKS : { ...ASKS, cookie });
      await stream.take(1);
      expect(dataOf(stream)).toEqual([`${cookie}|`]);
      expect(stream.headers).not.toHaveProperty("set-cookie");
    }
    const bearer = await openStream(front, "/s", { ...ASKS, authorization: "Bearer x" });
    await bearer.take(1);
    expect(dataOf(bearer)).toEqual(["|Bearer x"]);
    expect(origin.requests).toHaveLength(4);
  });

  test("S06: a place opens nothing of another reader's: the key is looked at first", async () => {
    const origin = await startOrigin((request, response) => {
      response.writeHead(200, SSE_HEADERS);
      response.write(event(`secret of ${request.headers.cookie}`, 1));
    });
    const front = await startFront(origin);
    const alice = await openStream(front, "/s", { ...ASKS, cookie: "alice" });
    await alice.take(1);
    const place = lastIdOf(alice);
    const mallory = await openStream(front, "/s", {
      ...ASKS,
      cookie: "mallory",
      "last-event-id": place,
    });
    await mallory.take(1);
    expect(dataOf(mallory)).toEqual(["secret of mallory"]);
    expect(origin.requests.map(({ headers }) => headers["last-event-id"])).toEqual([
      undefined,
      undefined,
    ]);
  });

  test("a route that shares nothing asks the origin for each reader", async () => {
    const origin = await startCountingOrigin();
    const front = await startFront(origin, { share: "never" });
    const streams = await Promise.all([1, 2, 3].map(() => openStream(front, "/s", ASKS)));
    await eventually(() => origin.open.size === 3);
    origin.emit(3);
    for (const stream of streams)
      expect(dataOf({ ...stream, events: await stream.take(3) })).toEqual(range(1, 3));
  });

  test("law 22: an id that Sluice did not give goes to the origin, on a request of its own", async () => {
    const origin = await startCountingOrigin();
    origin.emit(10);
    const front = await startFront(origin);
    const shared = await openStream(front, "/s", ASKS);
    await shared.take(10);
    const resumed = await openStream(front, "/s", { ...ASKS, "last-event-id": "7" });
    await resumed.take(3);
    expect(dataOf(resumed)).toEqual(["e8", "e9", "e10"]);
    expect(origin.requests.map(({ headers }) => headers["last-event-id"])).toEqual([
      undefined,
      "7",
    ]);
    const place = resumed.events[0]?.lastEventId ?? "";
    const again = await openStream(front, "/s", { ...ASKS, "last-event-id": place });
    await again.take(2);
    expect(dataOf(again)).toEqual(["e9", "e10"]);
    expect(origin.requests).toHaveLength(2);
  });

  test("places of streams that are alike but not shared are never taken for each other", async () => {
    const origin = await startCountingOrigin();
    origin.emit(5);
    const front = await startFront(origin);
    const shared = await openStream(front, "/s", ASKS);
    await shared.take(5);
    const client = rawStream(front, "/s", { "Last-Event-ID": "5" });
    const text = await client.until("id: ");
    await eventually(() => origin.open.size === 2);
    client.socket.destroy();
    // It has seen nothing but where it stands: behind the origin's fifth event.
    const place = /^id: (.+?)\r?$/m.exec(text)?.[1] ?? "";
    const own = await openStream(front, "/s", { ...ASKS, "last-event-id": place });
    const back = await openStream(front, "/s", { ...ASKS, "last-event-id": lastIdOf(shared) });
    origin.emit(1);
    await Promise.all([own.take(1), back.take(1), shared.take(6)]);
    expect(dataOf(own)).toEqual(["e6"]);
    expect(dataOf(back)).toEqual(["e6"]);
    expect(origin.requests).toHaveLength(2);
  });

  test("the beginning that is not kept any more is asked for again", async () => {
    const origin = await startCountingOrigin();
    const front = await startFront(origin, { windowBytes: 4096 });
    const first = await openStream(front, "/s", ASKS);
    await eventually(() => origin.open.size === 1);
    for (let count = 0; count < 20; count += 1) {
      origin.emit(10);
      await first.take((count + 1) * 10);
    }
    const second = await openStream(front, "/s", ASKS);
    const third = await openStream(front, "/s", ASKS);
    expect((await second.take(1))[0]?.data).toBe("e1");
    expect((await third.take(1))[0]?.data).toBe("e1");
    expect(origin.requests).toHaveLength(3);
  });
});

describe("resuming", () => {
  test("a reader that was cut off in mid-stream goes on at the very next event", async () => {
    const origin = await startCountingOrigin();
    const front = await startFront(origin);
    const first = await openStream(front, "/s", ASKS);
    await eventually(() => origin.open.size === 1);
    origin.emit(100);
    await first.take(100);
    const place = first.events[36]?.lastEventId ?? "";
    first.cut();
    origin.emit(50);
    const second = await openStream(front, "/s", { ...ASKS, "last-event-id": place });
    await second.take(113);
    expect(dataOf(second)).toEqual(range(38, 150));
    expect(origin.requests).toHaveLength(1);
  });

  test("U03: readers stay while the origin restarts, and miss nothing where it can resume", async () => {
    const origin = await startCountingOrigin();
    const front = await startFront(origin);
    const streams = await Promise.all(
      Array.from({ length: 20 }, () => openStream(front, "/s", ASKS)),
    );
    await eventually(() => origin.open.size === 1);
    origin.emit(10);
    await Promise.all(streams.map((stream) => stream.take(10)));
    await origin.stop();
    origin.emit(10);
    await origin.start();
    await Promise.all(streams.map((stream) => stream.take(20)));
    for (const stream of streams) expect(dataOf(stream)).toEqual(range(1, 20));
    expect(origin.requests.at(-1)?.headers["last-event-id"]).toBe("10");
  });

  test("U12: ids that are not ASCII go back to the origin as the bytes that they were", async () => {
    const given = ["", "é-1", "日本-2"];
    const origin = await startOrigin((request, response) => {
      const bytes = String(request.headers["last-event-id"] ?? "");
      const last = Buffer.from(bytes, "latin1").toString();
      const next = given.indexOf(last) + 1;
      response.writeHead(200, SSE_HEADERS);
      response.write(next < given.length ? event(`after ${last}`, given[next]) : event("all"));
      if (next < given.length) setTimeout(() => response.destroy(), 20);
    });
    const front = await startFront(origin);
    const stream = await openStream(front, "/s", ASKS);
    await stream.take(3);
    expect(dataOf(stream)).toEqual(["after ", "after é-1", "all"]);
    const foreign = Buffer.from("日本-2").toString("latin1");
    const other = await openStream(front, "/s", { ...ASKS, "last-event-id": foreign });
    await other.take(1);
    expect(dataOf(other)).toEqual(["all"]);
  });

  test("U12: where the origin has no ids, readers are told by a comment, and stay", async () => {
    let generation = 0;
    const origin = await startOrigin((_request, response) => {
      generation += 1;
      response.writeHead(200, SSE_HEADERS);
      response.write(event(`g${generation}`));
    });
    const front = await startFront(origin);
    const client = rawStream(front, "/s");
    await client.until("data: g1");
    await origin.stop();
    await origin.start();
    const text = await client.until("data: g2");
    expect(text).toMatch(/data: g1[^]*: gap \{"reason":"upstream"[^]*data: g2/);
    expect(text).not.toContain("event: gap");
  });

  test("the upstream stream outlives its readers for the linger, then it is given up", async () => {
    const origin = await startCountingOrigin();
    const front = await startFront(origin, { lingerMs: 300 });
    const first = await openStream(front, "/s", ASKS);
    await eventually(() => origin.open.size === 1);
    origin.emit(3);
    await first.take(3);
    const place = lastIdOf(first);
    first.cut();
    const second = await openStream(front, "/s", { ...ASKS, "last-event-id": place });
    origin.emit(1);
    await second.take(1);
    expect(dataOf(second)).toEqual(["e4"]);
    expect(origin.requests).toHaveLength(1);
    second.cut();
    await eventually(() => origin.open.size === 0);
    expect(front.hub.metrics.plain.sluice_feeds).toBe(0);
    // Who comes back later still goes on where it was: the origin is asked behind what it sent last.
    origin.emit(2);
    const third = await openStream(front, "/s", { ...ASKS, "last-event-id": place });
    await third.take(3);
    expect(dataOf(third)).toEqual(["e4", "e5", "e6"]);
    expect(origin.requests.at(-1)?.headers["last-event-id"]).toBe("4");
  });

  test("law 7: a place that is no more is told as a gap, in a comment, and never reaches the origin", async () => {
    const origin = await startCountingOrigin();
    origin.emit(3);
    const front = await startFront(origin);
    const client = rawStream(front, "/s", { "Last-Event-ID": "AAAAbbbb0000.99" });
    const text = await client.until("data: e3");
    expect(text).toMatch(/: gap \{"reason":"epoch"[^]*data: e1/);
    expect(origin.requests[0]?.headers["last-event-id"]).toBeUndefined();
  });

  test("law 14: an upstream that has ended is an end, then 204 for who comes back with it", async () => {
    const origin = await startOrigin((_request, response) => {
      response.writeHead(200, SSE_HEADERS);
      response.end(event("only"));
    });
    const front = await startFront(origin);
    const client = rawStream(front, "/s");
    const text = await client.closed;
    expect(text).toMatch(/data: only[^]*: end \{[^]*"done"/);
    const ids = [...text.matchAll(/^id: (.+)$/gm)].map((match) => match[1] ?? "");
    const again = await send(front, "/s", {
      headers: { ...ASKS, "last-event-id": ids.at(-1) ?? "" },
    });
    expect([again.status, again.text, text]).toEqual([204, "", text]);
    const fresh = await openStream(front, "/s", ASKS);
    await fresh.take(1);
    expect(origin.requests).toHaveLength(2);
  });

  test("S02: no id of the origin becomes an id of the stream", async () => {
    const origin = await startOrigin((_request, response) => {
      response.writeHead(200, SSE_HEADERS);
      response.write("id: evil\nevent: x\ndata: 1\n\nid\ndata: 2\n\nid: a\0b\ndata: 3\n\n");
    });
    const front = await startFront(origin);
    const stream = await openStream(front, "/s", ASKS);
    await stream.take(3);
    for (const { lastEventId } of stream.events) expect(lastEventId).toMatch(/^[\w-]{12}\.\d+$/);
    expect(stream.events[0]?.event).toBe("x");
  });
});

describe("what the origin may do", () => {
  test("law 19: a stream that is lost while a reader is being attached is lost for that one too", async () => {
    let isGone = false;
    const origin = await startOrigin((_request, response) => {
      if (isGone) return void response.writeHead(404).end();
      response.writeHead(200, SSE_HEADERS);
      response.write(event("e1", 1));
    });
    const front = await startFront(origin);
    const first = await openStream(front, "/s", ASKS);
    await first.take(1);
    const { broker } = front.hub;
    const read = broker.read.bind(broker);
    const gate = Promise.withResolvers<void>();
    const slow = vi.spyOn(broker, "read").mockImplementationOnce(async (options) => {
      await gate.promise;
      return read(options);
    });
    const second = openStream(front, "/s", ASKS);
    await eventually(() => slow.mock.calls.length > 0);
    isGone = true;
    for (const response of origin.open) response.destroy();
    await first.ended;
    gate.resolve();
    expect(await (await second).ended).toBe(true);
  }, 20_000);

  test("U01: before the first byte an EventSource gets what it survives, others the status itself", async () => {
    const origin = await startOrigin((_request, response) => {
      response.writeHead(503, { "retry-after": "30" }).end("busy");
    });
    const front = await startFront(origin);
    const soft = await send(front, "/s", { headers: BROWSER });
    expect(soft.status).toBe(200);
    expect(soft.headers["content-type"]).toMatch(/text\/event-stream/);
    expect(Number(/retry: (\d+)/.exec(soft.text)?.[1])).toBeGreaterThanOrEqual(30_000);
    expect(soft.text).toContain(": close overloaded");
    expect(soft.text).not.toContain("data:");
    const status = await send(front, "/s", { headers: ASKS });
    expect([status.status, status.headers["retry-after"], status.text]).toEqual([
      503,
      "30",
      "busy",
    ]);
  });

  test("U01: a passing error before the first byte is waited out", async () => {
    const origin = await startOrigin((_request, response) => {
      if (origin.requests.length < 3) {
        response.writeHead(502).end();
        return;
      }
      response.writeHead(200, SSE_HEADERS);
      response.write(event("at last", 1));
    });
    const front = await startFront(origin);
    const stream = await openStream(front, "/s", ASKS);
    await stream.take(1);
    expect(dataOf(stream)).toEqual(["at last"]);
  });

  test("R25: an origin that is not there is survived by an EventSource, and 502 for others", async () => {
    const origin = await startOrigin(() => {});
    const front = await startFront(origin);
    await origin.stop();
    const soft = await send(front, "/s", { headers: BROWSER });
    expect(soft.status).toBe(200);
    expect(soft.text).toMatch(/^retry: \d+\n\n: close overloaded\n\n$/);
    const status = await send(front, "/s", { headers: ASKS });
    expect([502, 503]).toContain(status.status);
  });

  test("what is no stream is passed through to everybody who waits", async () => {
    const origin = await startOrigin((request, response) => {
      setTimeout(() => response.writeHead(404).end(`nothing at ${request.url}`), 50);
    });
    const front = await startFront(origin);
    const replies = await Promise.all(
      Array.from({ length: 5 }, () => send(front, "/s", { headers: ASKS })),
    );
    for (const reply of replies) expect([reply.status, reply.text]).toEqual([404, "nothing at /s"]);
  });

  test("law 10: a client that leaves before the first byte is noticed", async () => {
    const origin = await startOrigin(() => {});
    const front = await startFront(origin, { lingerMs: 0 });
    const client = rawStream(front, "/s");
    await eventually(() => origin.open.size === 1);
    client.socket.destroy();
    await eventually(() => origin.open.size === 0);
  });

  test("U11: a slow reader holds the upstream up, and memory stays bounded", async () => {
    let written = 0;
    const origin = await startOrigin((_request, response) => {
      response.writeHead(200, SSE_HEADERS);
      const line = event("x".repeat(10_000));
      const pump = (): void => {
        if (response.destroyed || written >= 64 * 1024 * 1024) return;
        while (response.write(line)) written += line.length;
        written += line.length;
        response.once("drain", pump);
      };
      pump();
    });
    const front = await startFront(origin, { windowBytes: 256 * 1024 });
    const client = rawStream(front, "/s");
    await client.until("data: x");
    client.socket.pause();
    // It stands still: kernel buffers on both legs are full, and half of the window.
    let before = -1;
    for (let still = 0; still < 20;) {
      still = written === before ? still + 1 : 0;
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(written).toBeLessThan(40 * 1024 * 1024);
    expect(client.text).not.toContain(": gap");
    client.socket.resume();
    await eventually(() => written > before + 1024 * 1024);
    await client.until(`data: ${"x".repeat(10_000)}`, 200);
    expect(client.text).not.toContain(": gap");
  });

  test("control: events speaks as Sluice does on its own topics", async () => {
    const origin = await startOrigin((_request, response) => {
      response.writeHead(200, SSE_HEADERS);
      response.end(event("only"));
    });
    const front = await startFront(origin, { control: "events" });
    const stream = await openStream(front, "/s", ASKS);
    await stream.take(2);
    expect(stream.events[1]?.event).toBe("end");
  });
});

function rawStream(front: Front, path: string, headers: Record<string, string> = {}) {
  const client = rawClient(front.port);
  const lines = Object.entries({ Accept: "text/event-stream", ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  client.send(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${front.port}\r\n${lines.join("")}\r\n`);
  return client;
}
