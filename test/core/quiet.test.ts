import { describe, expect, test } from "vitest";
import { Drain } from "../../src/core/drain.ts";
import { feedTenant, ownerOf, shownTenant } from "../../src/core/feed-tenant.ts";
import { formatCursor } from "../../src/wire/cursor.ts";
import { encodeFields } from "../../src/wire/frame.ts";
import { Bench } from "./bench.ts";

describe("the quiet form", () => {
  test("is the plain one, but what Sluice says itself comes in comments", async () => {
    const bench = new Bench();
    await bench.hub.declare("t", "a", { retention: { countMax: 2 } });
    const plain = await bench.join("a");
    const live = await bench.join("a", { form: "quiet", hasHello: true });
    const { first } = await bench.publish("a", "1", "2", "3");
    await bench.runtime.runTurns();
    const start = formatCursor(first.epoch, 1);
    const late = await bench.join("a", { form: "quiet", start });
    await bench.hub.end("t", "a", "done");
    await bench.runtime.runTurns();
    expect(live.data).toEqual(["1", "2", "3"]);
    expect(late.data).toEqual(["2", "3"]);
    expect(live.text).toMatch(/: hello \{"connection":"c2","topics":\["a"\]\}\n\n/);
    for (const client of [live, late]) {
      expect(client.text).toContain(': end {"topic":"a","reason":"done"}\nid: ');
      expect(client.text).not.toContain("event:");
      // The end moves the place of its reader, and dispatches nothing.
      expect(client.lastEventId).toBe(plain.lastEventId);
    }
    expect(plain.text).toContain('event: end\ndata: {"topic":"a","reason":"done"}\nid: ');
    // Where no end is in it, a batch of the quiet form is the very one of the plain form.
    expect(live.connection.batches[1]).toBe(plain.connection.batches[1]);
  });

  test("law 6 tells a gap in a comment, and goodbye too", async () => {
    const bench = new Bench();
    await bench.hub.declare("t", "a", { retention: { countMax: 2 } });
    const { first } = await bench.publish("a", "1", "2", "3", "4");
    const start = formatCursor(first.epoch, 1);
    const client = await bench.join("a", { form: "quiet", start });
    await bench.runtime.runTurns();
    expect(client.text).toMatch(/: gap \{"reason":"trimmed","from":"[^"]*","to":"[^"]*"/);
    expect(client.data).toEqual(["3", "4"]);
    const drained = new Drain(bench.hub, bench.runtime, { ackWaitMs: 10 }).start();
    await bench.runtime.resolve(drained);
    expect(client.text).toMatch(/\n\nretry: \d+\n\n: close pool_draining\n\n$/);
    expect(client.text).not.toContain("event:");
  });
});

describe("a subscriber that cannot come back", () => {
  test("is never too old, and a drain leaves it alone until it ends", async () => {
    const bench = new Bench({ heartbeat: { maxAgeMs: 60_000 } });
    const [staying, other] = [await bench.join("a", { isResumable: false }), await bench.join("b")];
    await bench.runtime.run(200_000);
    expect(other.connection.isOpen).toBe(false);
    expect(staying.subscriber.state).toBe("live");
    const drain = new Drain(bench.hub, bench.runtime, { deadlineMs: 25_000 });
    const drained = drain.start();
    await bench.runtime.run(10_000);
    expect(staying.text).not.toContain("close");
    await bench.publish("a", "1");
    await bench.hub.end("t", "a", "done");
    const report = await bench.runtime.resolve(drained);
    expect(staying.data[0]).toBe("1");
    expect(report).toMatchObject({ total: 1, isForced: false, byHow: { left: 1 } });
  });

  test("P06 is told at the deadline, and closed", async () => {
    const bench = new Bench();
    const staying = await bench.join("a", { isResumable: false, form: "quiet" });
    const drained = new Drain(bench.hub, bench.runtime, { deadlineMs: 5_000 }).start();
    await bench.runtime.run(4_900);
    expect(staying.text).not.toContain("close");
    const report = await bench.runtime.resolve(drained);
    expect(staying.text).toMatch(/: close pool_draining\n\n$/);
    expect(report).toMatchObject({ isForced: true, byHow: { deadline: 1 } });
  });
});

describe("a drain with work that has no connection", () => {
  test("waits for it, and calls last shortly before the deadline, once", async () => {
    const bench = new Bench();
    let busy = 2;
    const calls: number[] = [];
    const began = bench.runtime.now();
    const hooks = {
      busyNow: () => busy,
      lastCall: () => {
        calls.push(bench.runtime.now() - began);
        busy = 0;
      },
    };
    const drained = new Drain(bench.hub, bench.runtime, { deadlineMs: 5_000 }, hooks).start();
    const report = await bench.runtime.resolve(drained);
    expect(calls).toHaveLength(1);
    expect(calls[0]).toBeGreaterThanOrEqual(4_600);
    expect(calls[0]).toBeLessThan(5_000);
    expect(report.isForced).toBe(true);
  });

  test("is over as soon as that is", async () => {
    const bench = new Bench();
    let busy = 1;
    const drain = new Drain(bench.hub, bench.runtime, {}, { busyNow: () => busy });
    const drained = drain.start();
    await bench.runtime.run(3_000);
    expect(drain.isDrained).toBe(false);
    busy = 0;
    const report = await bench.runtime.resolve(drained);
    expect(report.isForced).toBe(false);
    expect(report.durationMs).toBeLessThan(3_100);
  });

  test("ends for good although the work does not", async () => {
    const bench = new Bench();
    const drain = new Drain(bench.hub, bench.runtime, { deadlineMs: 1_000 }, { busyNow: () => 1 });
    const report = await bench.runtime.resolve(drain.start());
    expect(report.isForced).toBe(true);
    expect(report.durationMs).toBeLessThanOrEqual(1_540);
    expect(bench.runtime.timersNow).toBeLessThanOrEqual(3);
  });

  test("that is ended early calls last first, and what that says still arrives", async () => {
    const bench = new Bench();
    const client = await bench.join("a", { isResumable: false });
    let busy = 1;
    const lastCall = (): void => {
      busy = 0;
      void bench.publish("a", "shutdown");
    };
    const drain = new Drain(bench.hub, bench.runtime, {}, { busyNow: () => busy, lastCall });
    await bench.runtime.resolve(drain.endNow());
    expect(client.data).toEqual(["shutdown"]);
  });
});

test("onGone is called once, whether it had a connection or not", async () => {
  const bench = new Bench();
  const gone: string[] = [];
  const attached = await bench.join("a", { onGone: () => gone.push("attached") });
  const opening = await bench.runtime.resolve(
    bench.subscribe("a", { onGone: () => gone.push("abandoned") }),
  );
  opening.abandon();
  opening.abandon();
  expect(gone).toEqual(["abandoned"]);
  attached.subscriber.evict("closed_by_operator");
  attached.subscriber.end("hub_closed");
  await bench.runtime.runTurns();
  expect(gone).toEqual(["abandoned", "attached"]);
});

test("append takes reserved names word for word, in a tenant that no request can name", async () => {
  const bench = new Bench();
  const tenant = feedTenant("t");
  const reader = await bench.join("a", { tenant, form: "quiet" });
  const other = await bench.join("**", { tenant: "t", form: "enveloped" });
  const events = ["close", "end", "error"].map((name) => ({ fields: encodeFields(name, "x") }));
  await bench.hub.append({ tenant, topic: "a", events });
  await bench.runtime.runTurns();
  expect(reader.events.length + reader.blocks.filter((block) => block === "close").length).toBe(3);
  expect(other.events).toEqual([]);
  expect(bench.hub.metrics.plain.sluice_publications_total).toBe(3);
  expect([ownerOf(tenant), shownTenant(tenant), ownerOf("t"), shownTenant("t")]).toEqual([
    "t",
    "t (upstream)",
    "t",
    "t",
  ]);
  expect(reader.subscriber.state).toBe("live");
});
