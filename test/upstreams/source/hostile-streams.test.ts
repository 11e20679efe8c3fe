// Streams that break or never end, from an origin that is scripted byte by byte, through the real pool.
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
  startHostileOrigin,
  STREAM_HEAD,
} from "../../support/hostile-origin.ts";
import type { HostileOrigin } from "../../support/hostile-origin.ts";

const MIB = 1024 * 1024;

function read(origin: HostileOrigin, options: SourceOptions = {}) {
  const runtime = systemRuntime();
  const metrics = new Metrics();
  const pool = new UpstreamPool({ runtime, metrics });
  onTestFinished(() => pool.close());
  const events: SourceEvent[] = [];
  const source = openSource({
    pool,
    request: {
      origin: parseOrigin(origin.url, { isNamed: true }),
      method: "GET",
      path: "/",
      headers: [],
      tenant: "default",
    },
    sink: { event: (event) => void events.push(event) },
    runtime,
    metrics,
    options,
  });
  onTestFinished(() => source.stop());
  const texts = (): string[] => events.map(({ fields }) => Buffer.from(fields).toString());
  return { source, metrics, events, texts };
}

const LENGTH_HEAD =
  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 99\r\n\r\n";

describe("U10 a body that is cut or broken is lost and never ended, and what was whole before it stays", () => {
  const chunked = `${CHUNKED_HEAD}${chunk("data: a\n\n")}`;
  test.each([
    ["ends in a chunk", chunked, "20\r\ndata: b\n\n"],
    ["ends between chunks", chunked, ""],
    ["ends in the last chunk", chunked, "0\r\n"],
    ["has a chunk size that is no number", chunked, "zz\r\ndata: b"],
    ["has a negative chunk size", chunked, "-1\r\n"],
    ["has a chunk longer than its size", chunked, "1\r\ndata: b\n\n"],
    ["is shorter than its Content-Length", `${LENGTH_HEAD}data: a\n\n`, "data: b"],
  ])("it %s", async (_name, good, bad) => {
    let goOn = (): void => {};
    const origin = await startHostileOrigin((socket) => {
      socket.write(good);
      goOn = () => void socket.end(bad);
    });
    const { source, texts, metrics } = read(origin);
    await vi.waitFor(() => expect(texts()).toEqual(["data: a\n"]));
    goOn();
    const end = await source.ended;
    expect([end.reason, end.error?.code]).toEqual(["failed", "upstream_lost"]);
    expect(end.error?.cause).toMatchObject({ code: "upstream_protocol" });
    expect(texts().filter((text) => text !== "data: a\n" && text !== "data: b\n")).toEqual([]);
    expect(metrics.get("sluice_upstream_errors_total", "upstream_lost")).toBe(1);
    await vi.waitFor(() => expect(origin.socketsNow).toBe(0));
  });

  test("U10 trailers and chunk extensions are no part of the stream", async () => {
    const origin = await startHostileOrigin((socket) => {
      socket.end(`${CHUNKED_HEAD}9;id=5;data="x"\r\ndata: a\n\n\r\n0\r\nData: b\r\nId: 9\r\n\r\n`);
    });
    const { source, texts, events } = read(origin);
    expect(await source.ended).toEqual({ reason: "ended" });
    expect(texts()).toEqual(["data: a\n"]);
    expect(events[0]?.id).toBeUndefined();
  });
});

describe("U06 what never ends is cut at its bound", () => {
  test.each([
    ["a data line", "data: ", "x"],
    ["a comment", ": ", "x"],
    ["an id", "id: ", "1"],
    ["an event name", "event: ", "e"],
    ["a field that nobody knows", "", "x"],
    ["data lines", "data: x\n", "data: x\n"],
    ["empty data lines", "data\n", "data\n"],
  ])("%s", async (_name, first, unit) => {
    const piece = unit.repeat(Math.ceil((64 * 1024) / unit.length));
    let sent = 0;
    const origin = await startHostileOrigin((socket) => {
      socket.write(`${STREAM_HEAD}data: ok\n\n${first}`);
      const more = (): void => {
        while (!socket.destroyed && sent < 100 * MIB) {
          sent += piece.length;
          if (!socket.write(piece)) break;
        }
        if (sent < 100 * MIB) socket.once("drain", more);
      };
      more();
    });
    const memory = peak();
    const { source, texts } = read(origin, { eventBytesMax: MIB });
    const end = await source.ended;
    expect([end.reason, end.error?.code]).toEqual(["failed", "upstream_event_too_large"]);
    expect(texts()).toEqual(["data: ok\n"]);
    // The scanner's documented bound, and what both ends' sockets may hold.
    expect(memory.stop()).toBeLessThan(32 * MIB);
    await vi.waitFor(() => expect(origin.socketsNow).toBe(0));
    expect(sent).toBeLessThan(40 * MIB);
  });

  test("U06 a million short data lines are one event within the bound; a frame many times its data is not", async () => {
    const lines = "data: 1\n".repeat(1_000_000);
    const origin = await startHostileOrigin((socket, { index }) => {
      const body = index === 0 ? lines : "data\n".repeat(4_000_000);
      socket.end(`${STREAM_HEAD}${body}\ndata: next\n\n`);
    });
    const whole = read(origin);
    expect(await whole.source.ended).toEqual({ reason: "ended" });
    expect(whole.texts()).toEqual([lines, "data: next\n"]);
    // 4 MB of data, which would leave as 28 MB.
    const blown = read(origin, { eventBytesMax: 4 * MIB });
    expect((await blown.source.ended).error?.code).toBe("upstream_event_too_large");
    expect(blown.events).toEqual([]);
    expect(blown.metrics.get("sluice_upstream_events_dropped_total", "too_large")).toBe(1);
  });
});

/** The most that array buffers held beyond what they hold now, in bytes. */
function peak(): { stop(): number } {
  const before = process.memoryUsage().arrayBuffers;
  let most = before;
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage().arrayBuffers);
  }, 5);
  const stop = (): number => {
    clearInterval(timer);
    return most - before;
  };
  onTestFinished(() => void stop());
  return { stop };
}
