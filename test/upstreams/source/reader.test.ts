import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { Metrics } from "../../../src/core/metrics.ts";
import { VirtualRuntime } from "../../../src/testing/virtual-runtime.ts";
import { readStream } from "../../../src/upstreams/source/reader.ts";
import { lastEventIdOf, runScript } from "./scripted.ts";

const text = ({ fields }: { fields: Uint8Array }): string => Buffer.from(fields).toString();

describe("while the sink makes it wait, a source", () => {
  test("U11 ends at once when the sink refuses, also if the stream has broken meanwhile", async () => {
    for (const isBroken of [false, true]) {
      const { promise, reject } = Promise.withResolvers<void>();
      const { source, runtime, asked } = runScript({
        answer: (body) => void body.push("id: 1\ndata: a\n\n"),
        event: () => promise,
      });
      await runtime.run(1);
      if (isBroken) asked[0]?.body.destroy(new Error("reset"));
      await runtime.run(1);
      reject(new Error("no room"));
      const end = await runtime.resolve(source.ended);
      expect([end.reason, end.error?.code]).toEqual(["failed", "internal_error"]);
      expect(asked).toHaveLength(1);
      expect(asked[0]?.body.destroyed).toBe(true);
    }
  });

  test("law 12 U11 stops at once, also if the stream has broken meanwhile and the sink never answers", async () => {
    for (const isBroken of [false, true]) {
      const { source, runtime, asked } = runScript({
        answer: (body) => void body.push("id: 1\ndata: a\n\n"),
        event: () => new Promise(() => {}),
      });
      await runtime.run(1);
      if (isBroken) asked[0]?.body.destroy(new Error("reset"));
      await runtime.run(1);
      source.stop();
      expect(await runtime.resolve(source.ended, 1)).toEqual({ reason: "aborted" });
      expect(runtime.timersNow).toBe(0);
    }
  });

  test("U11 U18 calls no silence of its own the upstream's", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { runtime, asked, events } = runScript({
      answer: (body) => void body.push("id: 1\ndata: a\n\n"),
      event: ({ id }) => (id === "1" ? promise : undefined),
    });
    await runtime.run(600_000);
    resolve();
    await runtime.run(59_000);
    asked[0]?.body.push("id: 2\ndata: b\n\n");
    await runtime.run(1);
    expect(events.map(({ id }) => id)).toEqual(["1", "2"]);
    expect(asked).toHaveLength(1);
  });

  test("U03 asks again only when all that came before the break was taken, and behind that", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { runtime, asked } = runScript({
      answer: (body, index) => {
        if (index === 0) body.push("id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: ha");
      },
      event: ({ id }) => (id === "2" ? promise : undefined),
    });
    await runtime.run(1);
    asked[0]?.body.destroy(new Error("reset"));
    await runtime.run(40_000);
    expect(asked).toHaveLength(1);
    resolve();
    await runtime.run(40_000);
    expect(asked.map(({ request }) => lastEventIdOf(request))).toEqual([undefined, "2"]);
  });
});

describe("the watchdog", () => {
  test("U18 does not blame the upstream when this process has stood still", async () => {
    const { runtime, asked, events } = runScript({ answer: () => {} });
    const after = runtime.after.bind(runtime);
    // Timers come before what lies in the sockets, as in the event loop.
    runtime.after = (ms, task) =>
      after(ms, () => {
        if (events.length === 0) runtime.defer(() => asked[0]?.body.push("data: a\n\n"));
        task();
      });
    await runtime.run(100_000);
    expect(events).toHaveLength(1);
    expect(asked).toHaveLength(1);
  });

  test("U18 law 19 lets a quiet stream that is cut now and then go on for ever, by its comments alone", async () => {
    const { source, runtime, asked } = runScript({ answer: () => {} });
    for (let beat = 1; beat <= 400; beat += 1) {
      await runtime.run(15_000);
      const body = asked.at(-1)?.body;
      if (beat % 16 === 0) body?.destroy(new Error("cut"));
      else body?.push(": beat\n\n");
    }
    expect(asked.length).toBeGreaterThan(20);
    expect(await Promise.race([source.ended, Promise.resolve("goes on")])).toBe("goes on");
  });

  test("U18 gives an origin up that only ever accepts and falls silent", async () => {
    const { source, runtime, asked, metrics } = runScript({
      answer: (body) => void body.push(": hello\n\n"),
    });
    const end = await runtime.resolve(source.ended, 3_600_000);
    expect([end.reason, end.error?.code]).toEqual(["failed", "upstream_lost"]);
    expect(asked.length).toBeGreaterThan(2);
    expect(metrics.get("sluice_upstream_reconnects_total", "given_up")).toBe(1);
  });
});

describe("a place that the upstream", () => {
  test.each([
    ["takes back with an empty id", "id: 1\ndata: a\n\nid\ndata: b\n\n"],
    ["names with what no header can carry", "id: 1\ndata: a\n\nid: \u0001\ndata: b\n\n"],
    ["names at endless length", `id: 1\ndata: a\n\nid: ${"9".repeat(5_000)}\ndata: b\n\n`],
    ["never names", "data: a\n\ndata: b\n\n"],
    ["does not name because of a NUL", "id: 1\0\ndata: a\n\nid: \0\ndata: b\n\n"],
  ])("%s is none: it is asked to begin anew, and the sink is told (U12)", async (_name, stream) => {
    const { runtime, asked, events, resumes } = runScript({
      answer: (body, index) => {
        if (index === 0) body.push(stream);
      },
    });
    await runtime.run(1);
    asked[0]?.body.destroy(new Error("reset"));
    await runtime.run(40_000);
    expect(events.map(text)).toEqual(["data: a\n", "data: b\n"]);
    expect(events[1]?.id).toBeUndefined();
    expect(asked.map(({ request }) => lastEventIdOf(request))).toEqual([undefined, undefined]);
    expect(resumes).toEqual([false]);
  });

  test("takes back behind a resume is not the one that was asked for (U12)", async () => {
    const { runtime, asked, events, metrics } = runScript({
      options: { startLastEventId: "6" },
      answer: (body, index) => {
        if (index === 0) body.push("data: a\n\nid: 7\ndata: b\n\nid:\ndata: c\n\n");
      },
    });
    await runtime.run(1);
    asked[0]?.body.destroy(new Error("reset"));
    await runtime.run(40_000);
    expect(events.map(({ id }) => id)).toEqual(["6", "7", undefined]);
    expect(asked.map(({ request }) => lastEventIdOf(request))).toEqual(["6", undefined]);
    expect(metrics.get("sluice_upstream_events_dropped_total", "repeated")).toBe(0);
  });
});

test("A body that is closed before it is read is over at once", async () => {
  const body = new Readable({ read: () => {} });
  body.on("error", () => {}).destroy(new Error("reset"));
  await new Promise((resolve) => body.once("close", resolve));
  const runtime = new VirtualRuntime();
  const end = await readStream(body, {
    sink: { event: () => {} },
    runtime,
    metrics: new Metrics(),
    idleMsMax: 60_000,
    eventBytesMax: 1_000,
    lineBytesMax: 1_000,
    lastEventId: "7",
    signal: new AbortController().signal,
    onRetry: () => {},
    onLife: () => {},
  });
  expect(end).toMatchObject({ reason: "broken", lastEventId: "7" });
  expect(runtime.timersNow).toBe(0);
});
