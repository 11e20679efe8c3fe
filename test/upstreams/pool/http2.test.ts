import { once } from "node:events";
import type { ServerHttp2Session } from "node:http2";
import { createServer } from "node:net";
import type { Socket } from "node:net";
import { PassThrough, Readable } from "node:stream";
import { describe, expect, onTestFinished, test } from "vitest";
import { systemRuntime } from "../../../src/internal/clock.ts";
import type { Runtime } from "../../../src/internal/clock.ts";
import { StreamRefused } from "../../../src/upstreams/pool/channel.ts";
import type { Http2Channel } from "../../../src/upstreams/pool/channel.ts";
import type { UpstreamRequest } from "../../../src/upstreams/message.ts";
import * as h2 from "./origins.ts";
import { dialHttp2, frame, get, h2Origin, rawOrigin, textOf, u32 } from "./origins.ts";

const PROTOCOL = { code: "upstream_protocol" };

/** A server that begins a stream of events on every request, and goes on. */
const endless = (stream: Parameters<Parameters<typeof h2Origin>[0]>[0]): void => {
  stream.respond({ ":status": 200, "content-type": "text/event-stream" });
  stream.write("data: 1\n\n");
};

/** Resolves when there is something to read. */
const begun = (body: Readable): Promise<unknown> => once(body, "readable");

function reasonsOf(session: Http2Channel): string[] {
  const reasons: string[] = [];
  session.onDraining((reason) => reasons.push(`draining: ${reason}`));
  session.onGone((reason) => reasons.push(`gone: ${reason}`));
  return reasons;
}

describe("a request", () => {
  test("goes out with its method, path, headers and body, and comes back with all headers", async () => {
    const heads: Record<string, unknown>[] = [];
    const echo = await h2Origin((stream) => {
      stream.respond({ ":status": 201, "set-cookie": ["a=1", "b=2"], "x-a": "b" });
      stream.pipe(stream);
    });
    const session = await dialHttp2(echo.port);
    for (const body of [Buffer.from("hello"), Readable.from([Buffer.from("hel"), "lo"])]) {
      const response = await session.request(
        get(echo.port, "/a?b=c", {
          method: "POST",
          body,
          headers: [
            ["host", "other.example"],
            ["cookie", "a=1"],
            ["connection", "close"],
            ["x-twice", "1"],
            ["x-twice", "2"],
          ],
        }),
      );
      heads.push({ status: response.status, version: response.httpVersion });
      expect(response.headers.filter(([name]) => name !== "date")).toEqual([
        ["set-cookie", "a=1"],
        ["set-cookie", "b=2"],
        ["x-a", "b"],
      ]);
      expect(await textOf(response.body)).toBe("hello");
    }
    expect(heads).toEqual([
      { status: 201, version: "2" },
      { status: 201, version: "2" },
    ]);
    await expect.poll(() => session.streamsNow).toBe(0);
  });

  test("hop-by-hop headers never go out, and :authority is Host", async () => {
    const seen: object[] = [];
    const { port } = await h2Origin((stream, _path, headers) => {
      seen.push(headers);
      stream.respond({ ":status": 204 }, { endStream: true });
    });
    const session = await dialHttp2(port);
    const names = ["connection", "keep-alive", "upgrade", "transfer-encoding", "te", "expect"];
    const headers = [
      ["host", "app.example"] as const,
      ...names.map((name) => [name, "x"] as const),
    ];
    const { body, status } = await session.request(get(port, "/", { headers }));
    expect([status, await textOf(body)]).toEqual([204, ""]);
    expect(seen[0]).toMatchObject({ ":authority": "app.example", ":path": "/", ":scheme": "http" });
    for (const name of ["host", ...names]) expect(seen[0]).not.toHaveProperty(name);
  });

  test("S15 what Connection names goes neither way, nor do other headers of one connection", async () => {
    const seen: object[] = [];
    const { port } = await h2Origin((stream, _path, headers) => {
      seen.push(headers);
      stream.respond(
        { ":status": 204, trailer: "x", "proxy-authenticate": "x" },
        { endStream: true },
      );
    });
    const session = await dialHttp2(port);
    const names = ["x-named", "proxy-authorization", "trailer", "http2-settings"];
    const headers = [
      ["connection", "x-named"] as const,
      ...names.map((name) => [name, "x"] as const),
    ];
    const response = await session.request(get(port, "/", { headers }));
    for (const name of names) expect(seen[0]).not.toHaveProperty(name);
    expect(response.headers.map(([name]) => name)).toEqual(["date"]);
    response.body.destroy();
  });

  test.each([
    ["a line break in a value", { headers: [["x", "a\r\nb: c"]] }],
    ["a NUL in a value", { headers: [["x", "a\0b"]] }],
    ["a character of two bytes", { headers: [["x", "\u010d\u010a"]] }],
    ["a line break in Host", { headers: [["host", "a\r\nb: c"]] }],
    ["a name that is none", { headers: [["a b", "c"]] }],
    ["a method that is none", { method: "A B" }],
  ] as const)("S15 %s is never sent, and costs the session nothing", async (_, more) => {
    const { port, streams } = await h2Origin(endless);
    const session = await dialHttp2(port);
    await expect(session.request(get(port, "/", more))).rejects.toMatchObject({
      code: "request_malformed",
    });
    expect([session.state, session.streamsNow, streams.size]).toEqual(["open", 0, 0]);
  });

  test("S15 states the length that its body has, whatever it is told", async () => {
    const seen: unknown[] = [];
    const { port } = await h2Origin((stream, _path, headers) => {
      seen.push(headers["content-length"]);
      stream.resume().once("end", () => {
        if (!stream.destroyed) stream.respond({ ":status": 204 }, { endStream: true });
      });
    });
    const session = await dialHttp2(port);
    const send = async (length: string, body?: UpstreamRequest["body"]): Promise<number> => {
      const headers = [["content-length", length] as const];
      return (await session.request(get(port, "/", { method: "POST", headers, body }))).status;
    };
    const eight = Buffer.from("12345678");
    expect(await send("5")).toBe(204);
    expect(await send("5", eight)).toBe(204);
    expect(await send("8", Readable.from([eight]))).toBe(204);
    expect(await send("+8", Readable.from([eight]))).toBe(204);
    expect(seen).toEqual([undefined, "8", "8", undefined]);
    await expect(send("5", Readable.from([eight]))).rejects.toThrow("longer than 5 bytes");
    await expect(send("50", Readable.from([eight]))).rejects.toThrow("8 of 50 bytes");
  });

  test("headers that HTTP/2 cannot carry are the request's fault, and cost the session nothing", async () => {
    const { port } = await h2Origin(endless);
    const session = await dialHttp2(port);
    const headers = [["content-type", "a"] as const, ["content-type", "b"] as const];
    await expect(session.request(get(port, "/", { headers }))).rejects.toMatchObject({
      code: "request_malformed",
    });
    expect([session.state, session.streamsNow]).toEqual(["open", 0]);
  });

  test("that is aborted before the head rejects with the reason, and the origin is told", async () => {
    const origin = await h2Origin(() => {});
    const session = await dialHttp2(origin.port);
    const controller = new AbortController();
    const response = session.request(get(origin.port), controller.signal);
    await expect.poll(() => origin.streams.size).toBe(1);
    controller.abort(new Error("not wanted"));
    await expect(response).rejects.toThrow("not wanted");
    await expect.poll(() => [origin.streams.size, session.streamsNow]).toEqual([0, 0]);
    expect(session.state).toBe("open");
  });

  test("that is aborted in its body: the body is destroyed with the reason, the origin is told", async () => {
    const origin = await h2Origin(endless);
    const session = await dialHttp2(origin.port);
    const controller = new AbortController();
    const { body } = await session.request(get(origin.port), controller.signal);
    await begun(body);
    controller.abort(new Error("not wanted"));
    await expect(textOf(body)).rejects.toThrow("not wanted");
    await expect.poll(() => [origin.streams.size, session.streamsNow]).toEqual([0, 0]);
  });

  test("whose body breaks off is reset, and rejects", async () => {
    const origin = await h2Origin((stream) => void stream.resume());
    const session = await dialHttp2(origin.port);
    const body = new PassThrough();
    const response = session.request(get(origin.port, "/", { method: "POST", body }));
    body.write("half");
    await expect.poll(() => origin.streams.size).toBe(1);
    body.destroy(new Error("client gone"));
    await expect(response).rejects.toThrow("client gone");
    await expect.poll(() => origin.streams.size).toBe(0);
  });
});

describe("a body", () => {
  test("that nobody reads closes the origin's window; other streams go on; nothing is lost", async () => {
    const chunk = Buffer.alloc(16 * 1024, "x");
    let written = 0;
    const origin = await h2Origin((stream, path) => {
      stream.respond({ ":status": 200 });
      if (path === "/small") return void stream.end("small");
      const write = (): void => {
        while (written < 8 * 1024 * 1024) {
          written += chunk.length;
          if (!stream.write(chunk)) return void stream.once("drain", write);
        }
        stream.end();
      };
      write();
    });
    const session = await dialHttp2(origin.port);
    const { body } = await session.request(get(origin.port));
    body.once("readable", () => {});
    let before = -1;
    // Until the origin is stuck: nothing more was taken for a while.
    await expect
      .poll(() => [before === written, (before = written)][0], { interval: 100 })
      .toBe(true);
    // The window, what waits here, and what a Node server holds itself.
    expect(written).toBeLessThan(512 * 1024);
    const small = await session.request(get(origin.port, "/small"));
    expect(await textOf(small.body)).toBe("small");
    expect((await textOf(body)).length).toBe(8 * 1024 * 1024);
  });

  test("U11 paused and resumed at any moment it goes on where it was, and the origin waits", async () => {
    const WHOLE = 6 * 1024 * 1024;
    let written = 0;
    const origin = await h2Origin((stream) => {
      stream.respond({ ":status": 200 });
      const write = (): void => {
        while (written < WHOLE) {
          // Large and small: what is taken at once, and what has to wait here.
          const size = written % 3 === 0 ? 16_384 : written % 3 === 1 ? 200 : 16;
          const chunk = Buffer.alloc(size);
          for (let at = 0; at < size; at += 4) chunk.writeUInt32BE((written + at) / 4, at);
          written += size;
          if (!stream.write(chunk)) return void stream.once("drain", write);
        }
        stream.end();
      };
      write();
    });
    const session = await dialHttp2(origin.port);
    const { body } = await session.request(get(origin.port));
    let read = 0;
    let aheadMax = 0;
    let pauses = 0;
    const rest: Buffer[] = [];
    body.on("data", (chunk: Buffer) => {
      rest.push(chunk);
      read += chunk.length;
      aheadMax = Math.max(aheadMax, written - read);
      const chance = (read * 2_654_435_761) % 64;
      if (chance > 2) return;
      pauses += 1;
      body.pause();
      const resume = (): void => {
        aheadMax = Math.max(aheadMax, written - read);
        body.resume();
      };
      if (chance === 0) setTimeout(resume, 5);
      else if (chance === 1) setImmediate(resume);
      else queueMicrotask(resume);
    });
    await once(body, "end");
    const all = Buffer.concat(rest);
    expect([all.length, written]).toEqual([written, read]);
    let wrong = 0;
    for (let at = 0; at < all.length; at += 4) if (all.readUInt32BE(at) !== at / 4) wrong += 1;
    expect(wrong).toBe(0);
    expect(pauses).toBeGreaterThan(20);
    expect(aheadMax).toBeLessThan(512 * 1024);
  });

  test("destroyed before its end resets the stream; read to its end it does not", async () => {
    const codes: number[] = [];
    const origin = await h2Origin((stream, path) => {
      stream.once("close", () => codes.push(stream.rstCode));
      stream.respond({ ":status": 200 });
      if (path === "/ends") stream.end("all");
      else stream.write("some");
    });
    const session = await dialHttp2(origin.port);
    const ends = await session.request(get(origin.port, "/ends"));
    await textOf(ends.body);
    ends.body.destroy();
    const { body } = await session.request(get(origin.port));
    await begun(body);
    body.destroy();
    await expect.poll(() => codes).toEqual([0, 8]);
  });

  test.each([
    ["RST_STREAM", (socket: Socket) => socket.write(frame(3, 0, 1, u32(2)))],
    ["RST_STREAM CANCEL", (socket: Socket) => socket.write(frame(3, 0, 1, u32(8)))],
    ["FIN", (socket: Socket) => socket.end()],
    ["RST", (socket: Socket) => setTimeout(() => socket.resetAndDestroy(), 20)],
    ["GOAWAY with an error", (socket: Socket) => socket.write(frame(7, 0, 0, u32(1, 2)))],
  ])("cut off by %s ends with upstream_protocol, not with an end", async (_, cut) => {
    const sockets: Socket[] = [];
    const cutting = await rawOrigin((socket) => {
      sockets.push(socket);
      socket.write(frame(1, 4, 1, h2.OK_HEAD));
      socket.write(frame(0, 0, 1, Buffer.from("data: half")));
    });
    for (const isRead of [true, false]) {
      const session = await dialHttp2(cutting);
      const { body } = await session.request(get(cutting));
      const failed = new Promise((resolve) => body.once("error", resolve));
      let text = "";
      const read = (): void => void body.on("data", (chunk) => (text += String(chunk)));
      if (isRead) read();
      else await begun(body);
      for (const socket of sockets.splice(0)) cut(socket);
      if (!isRead) {
        await expect.poll(() => session.streamsNow).toBe(0);
        read();
      }
      expect(await failed).toMatchObject(PROTOCOL);
      expect(text).toBe("data: half");
    }
  });

  test("that is whole can be read after GOAWAY and FIN have come behind it", async () => {
    const port = await rawOrigin((socket) => {
      socket.write(frame(1, 4, 1, h2.OK_HEAD));
      socket.write(frame(0, 0, 1, Buffer.alloc(10_000, "a")));
      socket.write(frame(0, 1, 1, Buffer.alloc(10_000, "b")));
      socket.end(frame(7, 0, 0, u32(1, 0)));
    });
    const session = await dialHttp2(port);
    const { body } = await session.request(get(port));
    await expect.poll(() => session.state).not.toBe("open");
    expect((await textOf(body)).length).toBe(20_000);
  });

  test.each([
    ["HEAD", "200"],
    ["GET", "304"],
  ])("of %s answered %s with a Content-Length is empty, and whole", async (method, status) => {
    const origin = await h2Origin((stream) => {
      stream.respond({ ":status": Number(status), "content-length": "10" }, { endStream: true });
    });
    const session = await dialHttp2(origin.port);
    const response = await session.request(get(origin.port, "/", { method }));
    expect(response.headers).toContainEqual(["content-length", "10"]);
    expect(await textOf(response.body)).toBe("");
  });

  test("shorter than announced ends with upstream_protocol, reset without an error or not", async () => {
    // HPACK: :status 200, and content-length (28 of the static table) 10, not indexed.
    const head = Buffer.concat([h2.OK_HEAD, Buffer.from([0x0f, 28 - 15, 2]), Buffer.from("10")]);
    const port = await rawOrigin((socket) => {
      socket.write(frame(1, 4, 1, head));
      socket.write(frame(0, 0, 1, Buffer.from("short")));
      socket.write(frame(3, 0, 1, u32(0)));
    });
    const session = await dialHttp2(port);
    const { body, headers } = await session.request(get(port));
    expect(headers).toEqual([["content-length", "10"]]);
    await expect(textOf(body)).rejects.toMatchObject(PROTOCOL);
  });
});

describe("a session", () => {
  test("carries 64 streams, or fewer if the origin says so, and tells when one is free", async () => {
    const origin = await h2Origin(endless);
    const session = await dialHttp2(origin.port);
    expect(session.streamsMax).toBe(64);
    let freed = 0;
    session.onFree(() => (freed += 1));
    const responses = await Promise.all(
      Array.from({ length: 64 }, () => session.request(get(origin.port))),
    );
    expect([session.streamsNow, session.isOpenForStreams]).toEqual([64, false]);
    await expect(session.request(get(origin.port))).rejects.toMatchObject({
      cause: expect.any(StreamRefused),
    });
    responses[0]?.body.destroy();
    await expect.poll(() => [session.isOpenForStreams, freed]).toEqual([true, 1]);
    const few = await h2Origin(endless, { maxConcurrentStreams: 3 });
    expect((await dialHttp2(few.port)).streamsMax).toBe(3);
  });

  test("GOAWAY: running streams go on to their end, no new one begins, the owner is told", async () => {
    let finish: () => void = () => {};
    const origin = await h2Origin((stream) => {
      endless(stream);
      finish = () => stream.end("data: 2\n\n");
    });
    const session = await dialHttp2(origin.port);
    const reasons = reasonsOf(session);
    const { body } = await session.request(get(origin.port));
    await begun(body);
    for (const one of origin.sessions) one.goaway(0);
    await expect.poll(() => reasons).toEqual(["draining: goaway"]);
    expect([session.state, session.isOpenForStreams]).toEqual(["draining", false]);
    await expect(session.request(get(origin.port))).rejects.toMatchObject({
      cause: expect.any(StreamRefused),
    });
    finish();
    expect(await textOf(body)).toBe("data: 1\n\ndata: 2\n\n");
    await expect.poll(() => reasons).toEqual(["draining: goaway", "gone: goaway"]);
    expect([session.state, session.streamsNow]).toEqual(["dead", 0]);
  });

  test.each([
    ["RST_STREAM REFUSED_STREAM", (socket: Socket) => socket.write(frame(3, 0, 1, u32(7)))],
    ["GOAWAY, graceful", (socket: Socket) => socket.write(frame(7, 0, 0, u32(0, 0)))],
    ["GOAWAY, with an error", (socket: Socket) => socket.write(frame(7, 0, 0, u32(0, 2)))],
  ])("%s before a stream was looked at: it may be sent again", async (_, refuse) => {
    const port = await rawOrigin((socket) => refuse(socket));
    const session = await dialHttp2(port);
    await expect(session.request(get(port, "/", { method: "POST" }))).rejects.toMatchObject({
      cause: expect.any(StreamRefused),
    });
  });

  test("lost before the head: upstream_protocol, and no promise that it was not looked at", async () => {
    const port = await rawOrigin((socket) => socket.destroy());
    const session = await dialHttp2(port);
    const reasons = reasonsOf(session);
    const error: unknown = await session.request(get(port)).catch((reason: unknown) => reason);
    expect(error).toMatchObject(PROTOCOL);
    expect((error as Error).cause).not.toBeInstanceOf(StreamRefused);
    await expect.poll(() => reasons.at(-1)).toMatch(/^gone: /);
  });

  test("answers of the origin to PING keep it; the first that is missing ends it and its streams", async () => {
    let isAnswering = true;
    let pings = 0;
    const port = await rawOrigin(
      (socket, stream) => socket.write(frame(1, 4, stream, h2.OK_HEAD)),
      (type, payload, socket) => {
        if (type !== 6) return;
        pings += 1;
        if (isAnswering) socket.write(frame(6, 1, 0, payload));
      },
    );
    const session = await dialHttp2(port, { options: { probeMs: 30, probeMsMax: 500 } });
    const reasons = reasonsOf(session);
    const { body } = await session.request(get(port));
    await expect.poll(() => pings).toBeGreaterThan(3);
    expect(session.state).toBe("open");
    isAnswering = false;
    await expect(textOf(body)).rejects.toMatchObject({
      code: "upstream_protocol",
      message: expect.stringContaining("PING"),
    });
    await expect.poll(() => reasons).toEqual(["draining: probe", "gone: probe"]);
  });

  test("drained, it closes with its last stream; destroyed, at once", async () => {
    const origin = await h2Origin((stream) => {
      stream.respond({ ":status": 200 });
      stream.write("a");
    });
    const drained = await dialHttp2(origin.port);
    const { body } = await drained.request(get(origin.port));
    drained.drain();
    expect(drained.state).toBe("draining");
    for (const stream of origin.streams) stream.end("b");
    expect(await textOf(body)).toBe("ab");
    await expect.poll(() => drained.state).toBe("dead");
    const destroyed = await dialHttp2(origin.port);
    const response = await destroyed.request(get(origin.port));
    destroyed.destroy();
    await expect(textOf(response.body)).rejects.toMatchObject(PROTOCOL);
    await expect.poll(() => [destroyed.state, destroyed.streamsNow]).toEqual(["dead", 0]);
    await expect.poll(() => origin.sessions.size).toBe(0);
  });
});

test("law 23 an answer before the body was taken ends the stream, though the origin never takes the rest", async () => {
  const port = await rawOrigin((socket, stream) => {
    socket.write(frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, stream, h2.OK_HEAD));
  });
  const session = await dialHttp2(port);
  const body = Buffer.alloc(300_000);
  const response = await session.request(get(port, "/", { method: "POST", body }));
  expect(await textOf(response.body)).toBe("");
  await expect.poll(() => session.streamsNow).toBe(0);
});

describe("an origin that never closes its side", () => {
  const hanging = (): Promise<number> => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => {}).resume();
      socket.write(frame(4, 0, 0));
    });
    return h2.listen(server);
  };

  test("law 23 is hung up on a while after a session was drained", async () => {
    const session = await dialHttp2(await hanging(), { options: { probeMsMax: 200 } });
    const reasons = reasonsOf(session);
    session.drain();
    await expect.poll(() => session.state, { timeout: 5_000 }).toBe("dead");
    expect(reasons).toEqual(["draining: drained", "gone: drained"]);
  });

  test("law 23 is hung up on at once by destroy(), also while it drains", async () => {
    const session = await dialHttp2(await hanging());
    session.drain();
    await new Promise((resolve) => setTimeout(resolve, 50));
    session.destroy();
    await expect.poll(() => session.state).toBe("dead");
  });
});

describe("cancels", () => {
  /** Streams that come and go, one after another, on as many sessions as it takes. */
  async function churn(
    count: number,
    port: number,
  ): Promise<{ sessions: number; reasons: string[] }> {
    const reasons: string[] = [];
    let session: Http2Channel | undefined;
    let sessions = 0;
    for (let at = 0; at < count; at += 1) {
      if (session === undefined || !session.isOpenForStreams) {
        session = await dialHttp2(port);
        session.onGone((reason) => reasons.push(reason));
        sessions += 1;
      }
      const { body } = await session.request(get(port));
      body.destroy();
    }
    return { sessions, reasons };
  }

  test("S13 two thousand in a row never trip the guard of a Node origin, which counts a thousand", async () => {
    const errors: string[] = [];
    const known = new WeakSet<ServerHttp2Session>();
    const origin = await h2Origin((stream) => {
      const { session } = stream;
      if (session !== undefined && !known.has(session as ServerHttp2Session)) {
        known.add(session as ServerHttp2Session);
        session.on("error", (error: NodeJS.ErrnoException) => errors.push(error.code ?? ""));
      }
      endless(stream);
    });
    const { sessions, reasons } = await churn(2_000, origin.port);
    await expect.poll(() => origin.streams.size).toBeLessThan(64);
    console.log(`2,000 cancels: ${sessions} sessions, ${errors.length} errors at the origin`);
    expect(errors).toEqual([]);
    expect(sessions).toBeLessThanOrEqual(Math.ceil(2_000 / 100));
    expect(reasons.filter((reason) => reason !== "cancels")).toEqual([]);
  });

  test("beyond a hundred in 10 s the session takes no new streams; 64 more are reset at once, the rest in their turn", async () => {
    let nowMs = 0;
    const real = systemRuntime();
    const timers: { at: number; task: () => void }[] = [];
    const runtime: Runtime = {
      ...real,
      now: () => nowMs,
      after(delayMs, task) {
        const timer = { at: nowMs + delayMs, task };
        timers.push(timer);
        return { cancel: () => void timers.splice(timers.indexOf(timer), 1) };
      },
    };
    const resets: number[] = [];
    const port = await rawOrigin(
      (socket, stream) => socket.write(frame(1, 4, stream, h2.OK_HEAD)),
      (type) => void (type === 3 && resets.push(nowMs)),
    );
    const session = await dialHttp2(port, { runtime, options: { streamsPerSession: 100 } });
    const reasons = reasonsOf(session);
    const stays = await session.request(get(port));
    for (let at = 0; at < 90; at += 1) (await session.request(get(port))).body.destroy();
    const last = await Promise.all(Array.from({ length: 90 }, () => session.request(get(port))));
    for (const { body } of last) body.destroy();
    await expect.poll(() => resets.length).toBe(164);
    expect([session.state, session.streamsNow]).toEqual(["draining", 17]);
    expect(reasons).toEqual(["draining: cancels"]);
    nowMs = 10_000;
    for (const { at, task } of timers.splice(0)) if (at <= nowMs) task();
    await expect.poll(() => resets.length).toBe(180);
    expect([session.state, session.streamsNow]).toEqual(["draining", 1]);
    expect(stays.body.destroyed).toBe(false);
  });

  test("law 23 what is over at the origin and was not read to its end leaves nothing", async () => {
    const origin = await h2Origin((stream, path) => {
      stream.respond({ ":status": 200 });
      stream.end("x".repeat(Number(path.slice(1))));
    });
    const session = await dialHttp2(origin.port);
    for (const length of [10, 100_000]) {
      const { body } = await session.request(get(origin.port, `/${length}`));
      await expect.poll(() => origin.streams.size).toBe(0);
      // Behind its answer all has come that was sent before.
      await textOf((await session.request(get(origin.port, "/1"))).body);
      body.destroy();
      await expect.poll(() => session.streamsNow).toBe(0);
    }
    expect(session.state).toBe("open");
  });

  test("a session on which nobody wants anything any more is closed at once", async () => {
    const origin = await h2Origin(endless);
    const session = await dialHttp2(origin.port);
    const reasons = reasonsOf(session);
    for (let at = 0; at < 60; at += 1) (await session.request(get(origin.port))).body.destroy();
    const last = await Promise.all(
      Array.from({ length: 50 }, () => session.request(get(origin.port))),
    );
    for (const { body } of last) body.destroy();
    await expect.poll(() => reasons).toEqual(["draining: cancels", "gone: cancels"]);
    await expect.poll(() => origin.streams.size).toBe(0);
  });
});

describe("a hostile origin", () => {
  const CONTINUATION = 9;
  const headers = (stream: number, ...fields: Buffer[]): Buffer =>
    frame(1, 4, stream, Buffer.concat([h2.OK_HEAD, ...fields]));
  /** A literal field, without indexing (RFC 7541, 6.2.2). */
  const field = (name: string, value: string): Buffer =>
    Buffer.concat([
      Buffer.from([0, name.length]),
      Buffer.from(name),
      value.length < 127
        ? Buffer.from([value.length])
        : Buffer.from([127, ((value.length - 127) & 127) | 128, (value.length - 127) >> 7]),
      Buffer.from(value),
    ]);

  const attacks: Record<string, (socket: Socket, stream: number) => void> = {
    "S13 CONTINUATION without end": (socket, stream) => {
      socket.write(frame(1, 0, stream, h2.OK_HEAD));
      for (let at = 0; at < 10_000 && !socket.destroyed; at += 1) {
        socket.write(frame(CONTINUATION, 0, stream, field(`x-${at}`, "y".repeat(100))));
      }
    },
    "S13 empty CONTINUATION without end": (socket, stream) => {
      socket.write(frame(1, 0, stream, h2.OK_HEAD));
      for (let at = 0; at < 10_000; at += 1) socket.write(frame(CONTINUATION, 0, stream));
    },
    "S13 a WINDOW_UPDATE of the stream that overflows": (socket, stream) => {
      socket.write(frame(8, 0, stream, u32(0x7fffffff)));
      socket.write(frame(8, 0, stream, u32(0x7fffffff)));
    },
    "S13 a WINDOW_UPDATE of the session that overflows": (socket) => {
      socket.write(frame(8, 0, 0, u32(0x7fffffff)));
    },
    "S13 a WINDOW_UPDATE of nothing": (socket, stream) => socket.write(frame(8, 0, stream, u32(0))),
    "S13 HPACK that points nowhere": (socket, stream) => {
      socket.write(frame(1, 4, stream, Buffer.from([0xff, 0xff, 0x7f])));
    },
    "S13 HEADERS for a stream that nobody has begun": (socket, stream) => {
      socket.write(headers(stream + 2));
    },
    "S13 a push": (socket, stream) => {
      socket.write(frame(5, 4, stream, Buffer.concat([u32(2), h2.OK_HEAD])));
    },
    "S13 padding longer than its frame": (socket, stream) => {
      socket.write(headers(stream));
      socket.write(frame(0, 8, stream, Buffer.from([200, 1, 2])));
    },
    "S13 a frame larger than was allowed": (socket, stream) => {
      socket.write(headers(stream));
      socket.write(frame(0, 0, stream, Buffer.alloc(20_000)));
    },
    "S13 a SETTINGS flood": (socket) => {
      for (let at = 0; at < 50; at += 1) {
        socket.write(Buffer.concat(Array.from({ length: 100 }, () => frame(4, 0, 0))));
      }
      socket.end();
    },
    "S13 a PING flood": (socket) => {
      for (let at = 0; at < 50; at += 1) {
        socket.write(Buffer.concat(Array.from({ length: 100 }, () => frame(6, 0, 0, u32(1, 2)))));
      }
      socket.end();
    },
    "S15 64 KiB of headers": (socket, stream) => {
      const parts = Array.from({ length: 4 }, (_, at) => field(`x-${at}`, "y".repeat(15_000)));
      socket.write(frame(1, 0, stream, Buffer.concat([h2.OK_HEAD])));
      for (const part of parts) socket.write(frame(CONTINUATION, 0, stream, part));
      socket.write(frame(CONTINUATION, 4, stream, field("x-last", "y".repeat(10_000))));
    },
    "S15 100 KiB of headers, at once with SETTINGS that are never acknowledged": (
      socket,
      stream,
    ) => {
      socket.write(frame(1, 0, stream, h2.OK_HEAD));
      for (let at = 0; at < 7; at += 1) {
        socket.write(
          frame(CONTINUATION, at === 6 ? 4 : 0, stream, field(`x-${at}`, "y".repeat(15_000))),
        );
      }
    },
    "S15 a thousand headers": (socket, stream) => {
      const fields = Array.from({ length: 1_000 }, (_, at) => field(`x-${at}`, "y"));
      socket.write(headers(stream, ...fields));
    },
    "S15 1xx without end": (socket, stream) => {
      for (let at = 0; at < 1_000; at += 1) {
        socket.write(frame(1, 4, stream, Buffer.from([0x08, 3, 0x31, 0x30, 0x33])));
      }
    },
    "S15 two Content-Lengths": (socket, stream) => {
      socket.write(headers(stream, field("content-length", "3"), field("content-length", "5")));
    },
    "S15 a Content-Length that is none": (socket, stream) => {
      socket.write(headers(stream, field("content-length", "3x")));
    },
    "S15 hop-by-hop headers, which HTTP/2 forbids": (socket, stream) => {
      socket.write(headers(stream, field("connection", "close")));
    },
    "S15 a header name in upper case": (socket, stream) => {
      socket.write(headers(stream, field("X-Upper", "1")));
    },
    "S15 no status": (socket, stream) => socket.write(frame(1, 5, stream, field("x-a", "b"))),
    "S15 more bytes than Content-Length": (socket, stream) => {
      socket.write(headers(stream, field("content-length", "3")));
      socket.write(frame(0, 1, stream, Buffer.from("hello")));
    },
    "S15 fewer bytes than Content-Length": (socket, stream) => {
      socket.write(headers(stream, field("content-length", "30")));
      socket.write(frame(0, 1, stream, Buffer.from("hello")));
    },
  };

  test.each(Object.keys(attacks))("%s: one upstream_protocol, and nothing else", async (name) => {
    const port = await rawOrigin((socket, stream) => {
      socket.on("error", () => {});
      attacks[name]?.(socket, stream);
    });
    const session = await dialHttp2(port);
    const stray: unknown[] = [];
    const onStray = (error: unknown): void => void stray.push(error);
    process.on("uncaughtException", onStray);
    onTestFinished(() => void process.off("uncaughtException", onStray));
    const before = process.memoryUsage().arrayBuffers;
    const request = session.request(get(port)).then(({ body }) => textOf(body));
    await expect(request).rejects.toMatchObject(PROTOCOL);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * 1024 * 1024);
    await expect.poll(() => session.streamsNow).toBe(0);
    expect(stray).toEqual([]);
  });

  test("S13 more DATA than the window: upstream_protocol, and no more of it is held", async () => {
    let sent = 0;
    const port = await rawOrigin((socket, stream) => {
      socket.on("error", () => {});
      socket.write(headers(stream));
      for (let at = 0; at < 1_000; at += 1) {
        sent += 16_384;
        socket.write(frame(0, 0, stream, Buffer.alloc(16_384)));
      }
    });
    const session = await dialHttp2(port);
    const { body } = await session.request(get(port));
    await expect.poll(() => session.state).toBe("dead");
    expect(sent).toBe(16_384_000);
    expect(body.readableLength).toBeLessThan(256 * 1024);
    await expect(textOf(body)).rejects.toMatchObject(PROTOCOL);
  });

  test("S15 a header with a line break in its value is left out", async () => {
    const port = await rawOrigin((socket, stream) => {
      socket.write(headers(stream, field("x-a", "b\r\nset-cookie: c=d"), field("x-b", "c")));
      socket.write(frame(0, 1, stream, Buffer.from("fine")));
    });
    const session = await dialHttp2(port);
    const response = await session.request(get(port));
    expect(response.headers).toEqual([["x-b", "c"]]);
    expect(await textOf(response.body)).toBe("fine");
  });

  test("S13 empty DATA and padding without end are not held, and delay no other origin", async () => {
    const port = await rawOrigin((socket, stream) => {
      socket.on("error", () => {});
      socket.write(headers(stream));
      const padded = frame(0, 8, stream, Buffer.alloc(256, 0).fill(255, 0, 1));
      const many = Buffer.concat(
        Array.from({ length: 200 }, (_, at) => (at % 2 === 0 ? frame(0, 0, stream) : padded)),
      );
      for (let at = 0; at < 50; at += 1) socket.write(many);
      socket.write(frame(0, 1, stream, Buffer.from("end")));
    });
    const session = await dialHttp2(port);
    const { body } = await session.request(get(port));
    const text = await textOf(body).catch((error: unknown) => error);
    if (text !== "end") expect(text).toMatchObject(PROTOCOL);
    expect(session.streamsNow).toBe(0);
  });

  test("S13 flood after flood: other origins are served meanwhile", async () => {
    const bad = await rawOrigin((socket, stream) =>
      attacks["S13 CONTINUATION without end"]?.(socket, stream),
    );
    const good = await h2Origin((stream) => {
      stream.respond({ ":status": 200 });
      stream.end("fine");
    });
    const fine = await dialHttp2(good.port);
    for (let at = 0; at < 5; at += 1) {
      const session = await dialHttp2(bad);
      const attack = session.request(get(bad)).catch((error: unknown) => error);
      const { body } = await fine.request(get(good.port));
      expect(await textOf(body)).toBe("fine");
      expect(await attack).toMatchObject(PROTOCOL);
    }
  });
});
