import { array, assert, asyncProperty, constantFrom, nat, oneof, uint8Array } from "fast-check";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { Metrics } from "../../../src/core/metrics.ts";
import { systemRuntime } from "../../../src/internal/clock.ts";
import { parseOrigin } from "../../../src/upstreams/origin.ts";
import { UpstreamPool } from "../../../src/upstreams/pool/pool.ts";
import { openSource } from "../../../src/upstreams/source/source.ts";
import type { SourceEvent, SourceOptions } from "../../../src/upstreams/source/source.ts";
import {
  chunk,
  CHUNKED_HEAD,
  LAST_CHUNK,
  startHostileOrigin,
  STREAM_HEAD,
} from "../../support/hostile-origin.ts";
import type { HostileOrigin } from "../../support/hostile-origin.ts";

/** Chance is the least of what it may be: no pause but those that somebody has asked for. */
const runtime = { ...systemRuntime(), random: () => 0 };
const text = (event: SourceEvent): string => Buffer.from(event.fields).toString();

function world(
  origin: Pick<HostileOrigin, "url">,
  options: SourceOptions = {},
  event: Taking = take(),
) {
  const metrics = new Metrics();
  const pool = new UpstreamPool({ runtime, metrics });
  onTestFinished(() => pool.close());
  const resumes: boolean[] = [];
  const source = openSource({
    pool,
    request: {
      origin: parseOrigin(origin.url, { isNamed: true }),
      method: "GET",
      path: "/events",
      headers: [["accept", "text/event-stream"]],
      tenant: "default",
    },
    sink: {
      event: (each) => event.sink(each),
      reconnected: (isResumed) => void resumes.push(isResumed),
    },
    runtime,
    metrics,
    options: { isResumable: true, ...options },
  });
  onTestFinished(() => source.stop());
  return { source, metrics, pool, resumes, events: event.events };
}

interface Taking {
  readonly events: SourceEvent[];
  sink(event: SourceEvent): void | Promise<void>;
}

function take(): Taking {
  const events: SourceEvent[] = [];
  return { events, sink: (event: SourceEvent): void => void events.push(event) };
}

describe("a source", () => {
  test("U03 U04 law 22 never forwards half an event, and goes on behind the upstream's last id", async () => {
    const origin = await startHostileOrigin((socket, { index }) => {
      if (index === 0) {
        socket.write(`${CHUNKED_HEAD}${chunk("id: 7\ndata: one\n\nid: 8\ndata: ha")}`, () =>
          socket.resetAndDestroy(),
        );
      } else if (index === 1) {
        socket.end(`${STREAM_HEAD}id: 8\ndata: two\n\nid: 9\ndata: cut`);
      } else {
        socket.write(`${CHUNKED_HEAD}${chunk("id: 9\ndata: three\n\n")}`);
      }
    });
    const { events, metrics, resumes } = world(origin);
    await vi.waitFor(() => expect(events).toHaveLength(3));
    expect(events.map(text)).toEqual(["data: one\n", "data: two\n", "data: three\n"]);
    expect(events.map(({ id }) => id)).toEqual(["7", "8", "9"]);
    expect(origin.requests.map((head) => /last-event-id: (.*)\r/i.exec(head)?.[1])).toEqual([
      undefined,
      "7",
      "8",
    ]);
    expect(resumes).toEqual([true, true]);
    expect(metrics.get("sluice_upstream_events_dropped_total", "cut")).toBe(2);
  });

  test("U10 forwards what came in one packet with broken framing, and goes on behind it", async () => {
    const origin = await startHostileOrigin((socket, { index }) => {
      const bytes =
        index === 0 ? `${chunk("id: 7\ndata: one\n\ndata: ha")}zz\r\n` : chunk("data: two\n\n");
      socket.write(`${CHUNKED_HEAD}${bytes}`);
    });
    const { events } = world(origin);
    await vi.waitFor(() => expect(events).toHaveLength(2));
    expect(events.map(text)).toEqual(["data: one\n", "data: two\n"]);
    expect(origin.requests[1]).toMatch(/last-event-id: 7\r/i);
  });

  test("U02 an origin that is not there is counted once", async () => {
    // Port 1: nothing listens there.
    const { source, metrics } = world({ url: "http://127.0.0.1:1" });
    expect((await source.ended).error?.code).toBe("upstream_unreachable");
    expect(metrics.get("sluice_upstream_errors_total", "upstream_unreachable")).toBe(1);
  });

  test("U07 U01 a reconnect that is answered with something else is tried again if that may pass, and Retry-After is honoured", async () => {
    const started = performance.now();
    const times: number[] = [];
    const origin = await startHostileOrigin((socket, { index }) => {
      times.push(performance.now() - started);
      if (index === 0) return void socket.end(`${STREAM_HEAD}id: 1\ndata: a\n\n`);
      if (index === 1) {
        return void socket.end("HTTP/1.1 503 No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n");
      }
      if (index === 2) {
        return void socket.end(
          "HTTP/1.1 502 Bad\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nnope",
        );
      }
      socket.write(`${STREAM_HEAD}data: b\n\n`);
    });
    const { events } = world(origin);
    await vi.waitFor(() => expect(events).toHaveLength(2), 5_000);
    expect(events.map(text)).toEqual(["data: a\n", "data: b\n"]);
    // Where the stream names no id of its own yet, the one that was asked for still holds.
    expect(events[1]?.id).toBe("1");
    expect((times[2] ?? 0) - (times[1] ?? 0)).toBeGreaterThanOrEqual(990);
  });

  test.each([
    ["HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "upstream_status"],
    [
      "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
      "upstream_status",
    ],
    [
      "HTTP/1.1 301 Moved\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n",
      "upstream_status",
    ],
    [
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n",
      "upstream_encoding",
    ],
  ])("U07 U08 U09 a reconnect answered with %j ends the source with %s", async (head, code) => {
    const origin = await startHostileOrigin((socket, { index }) => {
      socket.end(index === 0 ? `${STREAM_HEAD}id: 1\ndata: a\n\n` : head);
    });
    const { source, events } = world(origin);
    const end = await source.ended;
    expect([end.reason, end.error?.code]).toEqual(["failed", code]);
    expect(events).toHaveLength(1);
    // Nobody was sent elsewhere.
    expect(origin.requests).toHaveLength(2);
  });

  test("U07 law 14 stops for good when a reconnect is answered with 204", async () => {
    const origin = await startHostileOrigin((socket, { index }) => {
      socket.end(index === 0 ? `${STREAM_HEAD}id: 1\ndata: a\n\n` : "HTTP/1.1 204 No\r\n\r\n");
    });
    expect(await world(origin).source.ended).toEqual({ reason: "stopped" });
  });

  test.each(["gzip", "br", "zstd", "gzip, gzip", "deflate", "x"])(
    "U09 refuses a stream in the coding %s, which it did not ask for",
    async (coding) => {
      const origin = await startHostileOrigin((socket) => {
        socket.write(
          `HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: ${coding}\r\n\r\nxxxx`,
        );
      });
      const { source, events } = world(origin);
      await expect(source.opened).rejects.toMatchObject({ code: "upstream_encoding" });
      expect((await source.ended).reason).toBe("failed");
      expect(origin.requests[0]).toMatch(/accept-encoding: identity\r/i);
      expect(events).toEqual([]);
    },
  );

  test("U07 refuses a charset other than UTF-8; an answer of another type is the caller's", async () => {
    const latin = await startHostileOrigin((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=latin1\r\n\r\n");
    });
    await expect(world(latin).source.opened).rejects.toMatchObject({ code: "upstream_status" });
    const page = await startHostileOrigin((socket) => {
      socket.end("HTTP/1.1 500 Oh\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno");
    });
    const opened = await world(page).source.opened;
    if (opened.kind !== "response") throw new Error("not a stream");
    expect(opened.response.status).toBe(500);
    expect(await new Response(opened.response.body as never).text()).toBe("no");
  });

  test("U06 cuts an event that is too large, and buffers no more than the bound", async () => {
    let sent = 0;
    const origin = await startHostileOrigin((socket) => {
      const piece = "x".repeat(64 * 1024);
      socket.write(`${STREAM_HEAD}data: ok\n\ndata: `);
      const more = (): void => {
        while (!socket.destroyed && sent < 100e6 && socket.write(piece)) sent += piece.length;
        if (sent < 100e6) socket.once("drain", more);
      };
      more();
    });
    const { source, events } = world(origin, { eventBytesMax: 1024 * 1024 });
    const end = await source.ended;
    expect(end.error?.code).toBe("upstream_event_too_large");
    expect(events.map(text)).toEqual(["data: ok\n"]);
    expect(sent).toBeLessThan(30e6);
    expect(origin.requests).toHaveLength(1);
    await vi.waitFor(() => expect(origin.socketsNow).toBe(0));
  });

  test("U11 law 19 pauses the upstream while its events are not taken, and then misses none", async () => {
    const total = 40_000;
    let index = 0;
    const origin = await startHostileOrigin((socket) => {
      socket.write(STREAM_HEAD);
      const more = (): void => {
        while (index < total) {
          index += 1;
          if (!socket.write(`data: ${String(index).padEnd(1_000, "x")}\n\n`)) break;
        }
        if (index < total) socket.once("drain", more);
        else socket.end("data: last\n\n");
      };
      more();
    });
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    const events: SourceEvent[] = [];
    const { source } = world(
      origin,
      { isResumable: false, idleMsMax: 300 },
      {
        events,
        sink: (event) => {
          events.push(event);
          return events.length === 10 ? gate : undefined;
        },
      },
    );
    await vi.waitFor(() => expect(events.length).toBeGreaterThan(9));
    const { arrayBuffers } = process.memoryUsage();
    const stuckAt = await settled(() => index);
    expect(process.memoryUsage().arrayBuffers - arrayBuffers).toBeLessThan(8 * 1024 * 1024);
    // What is under way lies in the sockets' buffers, not in this process (40 MB were offered).
    expect(stuckAt).toBeLessThan(total / 2);
    expect(events.length).toBeLessThan(1_000);
    release();
    expect((await source.ended).reason).toBe("ended");
    expect(events).toHaveLength(total + 1);
    expect(events.slice(-1).map(text)).toEqual(["data: last\n"]);
  });

  test("U12 drops an event that a resumed origin repeats, and passes on whatever else it does with ids", async () => {
    const answers = [
      "id: a\ndata: 1\n\nid: b\ndata: 2\n\n",
      "id: b\ndata: 2\n\nid: 1\ndata: 3\n\nid: 1\ndata: 4\n\ndata: 5\n\n",
      "data: 6\n\nid: a\ndata: 7\n\n",
    ];
    const origin = await startHostileOrigin((socket, { index }) => {
      const answer = answers[index];
      if (answer === undefined) socket.write(STREAM_HEAD);
      else socket.end(STREAM_HEAD + answer);
    });
    const { events, metrics } = world(origin);
    await vi.waitFor(() => expect(origin.requests).toHaveLength(4));
    expect(events.map(text)).toEqual([1, 2, 3, 4, 5, 6, 7].map((n) => `data: ${n}\n`));
    expect(events.map(({ id }) => id)).toEqual(["a", "b", "1", "1", "1", "1", "a"]);
    expect(metrics.get("sluice_upstream_events_dropped_total", "repeated")).toBe(1);
  });

  test("U13 clamps what the origin asks with retry:, and never passes it on", async () => {
    const asked: number[] = [];
    const origin = await startHostileOrigin((socket, { index }) => {
      if (index > 2) return void socket.write(STREAM_HEAD);
      const retry = ["retry: 0", "retry: 1e12\nretry: abc", "retry: 999999999999"][index];
      socket.end(`${STREAM_HEAD}${retry}\nid: ${index}\ndata: x\n\n`);
    });
    const spy = { ...systemRuntime(), random: () => 1 };
    const after = spy.after.bind(spy);
    spy.after = (ms, task) => {
      // Reconnects only: the watchdog is 60 s.
      if (ms !== 60_000 && ms >= 1_000) asked.push(ms);
      return after(ms >= 1_000 && ms !== 60_000 && asked.length > 0 ? 1 : ms, task);
    };
    const metrics = new Metrics();
    const pool = new UpstreamPool({ runtime, metrics });
    onTestFinished(() => pool.close());
    const taking = take();
    const source = openSource({
      pool,
      request: {
        origin: parseOrigin(origin.url, { isNamed: true }),
        method: "GET",
        path: "/",
        headers: [],
        tenant: "t",
      },
      sink: { event: (each) => taking.sink(each) },
      runtime: spy,
      metrics,
      options: { isResumable: true, failForMsMax: 1e9 },
    });
    onTestFinished(() => source.stop());
    await vi.waitFor(() => expect(origin.requests).toHaveLength(4));
    expect(asked).toEqual([1_000, 1_000, 300_000]);
    expect(taking.events.map(text).join("")).not.toContain("retry");
  });

  test("U18 gives a silent stream up, and comments are life", async () => {
    let beats = 0;
    const origin = await startHostileOrigin((socket, { index }) => {
      socket.write(`${STREAM_HEAD}id: ${index}\ndata: x\n\n`);
      if (index > 0) return;
      const timer = setInterval(() => {
        beats += 1;
        socket.write(": beat\n\n");
        if (beats === 10) clearInterval(timer);
      }, 60);
      socket.on("close", () => clearInterval(timer));
    });
    const { events } = world(origin, { idleMsMax: 300 });
    await vi.waitFor(() => expect(events).toHaveLength(2), 5_000);
    expect(beats).toBe(10);
    expect(origin.requests[1]).toMatch(/last-event-id: 0\r/i);
  });

  test("ends with the stream where that gave no ids, and is told where it breaks and cannot be resumed", async () => {
    const clean = await startHostileOrigin((socket) => {
      socket.end(`${CHUNKED_HEAD}${chunk("data: a\n\n")}${LAST_CHUNK}`);
    });
    expect(await world(clean).source.ended).toEqual({ reason: "ended" });
    expect(clean.requests).toHaveLength(1);
    const broken = await startHostileOrigin((socket) => {
      socket.end(`${CHUNKED_HEAD}${chunk("data: a\n\n")}`);
    });
    for (const options of [{ isResumable: false }, { resumesOnlyById: true }]) {
      const end = await world(broken, options).source.ended;
      expect([end.reason, end.error?.code]).toEqual(["failed", "upstream_lost"]);
    }
    expect(broken.requests).toHaveLength(2);
  });

  test("law 12 stops at once, before the head, in mid-stream and in a pause, and leaves no socket", async () => {
    const silent = await startHostileOrigin(() => {});
    const early = world(silent);
    await vi.waitFor(() => expect(silent.requests).toHaveLength(1));
    early.source.stop();
    expect(await early.source.ended).toEqual({ reason: "aborted" });
    await expect(early.source.opened).rejects.toMatchObject({ name: "SluiceError" });
    const open = await startHostileOrigin((socket, { index }) => {
      if (index === 0) socket.write(`${STREAM_HEAD}data: a\n\n`);
      else socket.end(`${STREAM_HEAD}id: 1\nretry: 60000\ndata: a\n\n`);
    });
    const running = world(open);
    await vi.waitFor(() => expect(running.events).toHaveLength(1));
    running.source.stop();
    expect(await running.source.ended).toEqual({ reason: "aborted" });
    for (const origin of [silent, open]) {
      await vi.waitFor(() => expect(origin.socketsNow).toBe(0));
    }
  });
});

test("U05 law 22 gives the same events however the bytes are cut, and never throws", async () => {
  const pieces = [
    "data: ",
    "id: ",
    "event: ",
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    ": c",
    "é",
    "😀",
    "\ufeff",
    "a",
    "\0",
  ];
  const bytes = oneof(
    constantFrom(...pieces).map((piece) => Buffer.from(piece)),
    uint8Array({ minLength: 1, maxLength: 4 }).map((raw) => Buffer.from(raw)),
    constantFrom([0xed, 0xa0, 0x80], [0xc0, 0xaf], [0xf0, 0x9f]).map((raw) => Buffer.from(raw)),
  );
  await assert(
    asyncProperty(array(bytes, { maxLength: 40 }), array(nat(200)), async (all, cuts) => {
      const whole = Buffer.concat(all);
      const expected = await readPieces([whole]);
      expect(await readPieces(cut(whole, cuts))).toEqual(expected);
      expect(await readPieces([...whole].map((byte) => Buffer.from([byte])))).toEqual(expected);
    }),
    { numRuns: 300 },
  );
});

async function readPieces(pieces: readonly Buffer[]): Promise<string[]> {
  const { Readable } = await import("node:stream");
  const metrics = new Metrics();
  const taking = take();
  const source = openSource({
    pool: {
      request: async () => ({
        status: 200,
        headers: [["content-type", "text/event-stream"]],
        httpVersion: "1.1",
        body: Readable.from(pieces, { objectMode: false }),
      }),
    },
    request: {
      origin: parseOrigin("http://127.0.0.1:1", { isNamed: true }),
      method: "GET",
      path: "/",
      headers: [],
      tenant: "t",
    },
    sink: { event: (each) => taking.sink(each) },
    runtime,
    metrics,
  });
  expect((await source.ended).reason).toBe("ended");
  return taking.events.map((event) => `${event.id} ${text(event)}`);
}

function cut(whole: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((place) => place % (whole.length + 1)))].sort(
    (a, b) => a - b,
  );
  let from = 0;
  const pieces: Buffer[] = [];
  for (const place of [...places, whole.length]) {
    if (place > from) pieces.push(whole.subarray(from, place));
    from = Math.max(from, place);
  }
  return pieces;
}

/** The value once it has not changed for a while. */
async function settled(read: () => number): Promise<number> {
  let before = -1;
  await vi.waitFor(
    () => {
      const now = read();
      const isSame = now === before;
      before = now;
      expect(isSame).toBe(true);
    },
    { interval: 300, timeout: 10_000 },
  );
  return before;
}
