import { describe, expect, test } from "vitest";
import { drain, openHub, take, told } from "./support.ts";

const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => String(from + index));

describe("Topic.events", () => {
  test("yields what is published while it waits, in order, each once", async () => {
    const topic = openHub().topic("orders");
    const items = topic.events({ after: "earliest" });
    const first = items.next();
    for (const data of numbers(1, 100)) await topic.publish(data);
    expect(await first).toMatchObject({ value: { type: "event", event: "message", data: "1" } });
    expect(told(await take(items, 99))).toEqual(numbers(2, 100));
    await items.return();
  });

  test("an event keeps its name, its lines and its id", async () => {
    const topic = openHub().topic("orders");
    const { id } = await topic.publish({ event: "created", data: "two\r\nlines\n" });
    const [item] = await take(topic.events({ after: "earliest" }), 1);
    expect(item).toEqual({ type: "event", id, event: "created", data: "two\nlines\n" });
  });

  test("bytes are published as the text they encode", async () => {
    const topic = openHub().topic("orders");
    await topic.publish(new TextEncoder().encode("grüße"));
    expect(told(await take(topic.events({ after: "earliest" }), 1))).toEqual(["grüße"]);
  });

  test("resumes at exactly the next event after any id", async () => {
    const topic = openHub().topic("orders");
    const ids: string[] = [];
    for (const data of numbers(1, 20)) ids.push((await topic.publish(data)).id);
    await topic.end();
    for (const [index, id] of ids.entries()) {
      expect(await drain(topic.events({ after: id }))).toEqual([
        ...numbers(index + 2, 20),
        "[ended]",
      ]);
    }
  });

  test("starts at the last n events when asked", async () => {
    const topic = openHub().topic("orders");
    for (const data of numbers(1, 20)) await topic.publish(data);
    expect(told(await take(topic.events({ after: "last:3" }), 3))).toEqual(["18", "19", "20"]);
  });

  test("joins the log and what is live without gap or overlap (law 5)", async () => {
    const topic = openHub().topic("orders");
    let published = 0;
    const publishing = (async () => {
      for (const data of numbers(1, 3_000)) {
        await topic.publish(data);
        published += 1;
        // Publishing takes turns with joining.
        if (published % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await topic.end();
    })();
    const readers: Promise<string[]>[] = [];
    while (readers.length < 60) {
      readers.push(drain(topic.events({ after: "earliest" })));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await publishing;
    expect(published).toBe(3_000);
    const all = [...numbers(1, 3_000), "[ended]"];
    for (const seen of await Promise.all(readers)) expect(seen).toEqual(all);
  });

  test("a slow consumer gets everything, and holds up nobody", async () => {
    const topic = openHub().topic("orders");
    const slow = topic.events({ after: "earliest" });
    const fast = topic.events({ after: "earliest" });
    const [firstSlow, firstFast] = [slow.next(), fast.next()];
    const padding = "x".repeat(1_000);
    for (const data of numbers(1, 2_000)) await topic.publish(data + padding);
    // The slow one has taken nothing yet; the fast one has everything already.
    expect((await firstFast).value).toMatchObject({ data: `1${padding}` });
    expect(told(await take(fast, 1_999)).at(-1)).toBe(`2000${padding}`);
    expect((await firstSlow).value).toMatchObject({ data: `1${padding}` });
    const seen: string[] = [];
    for (let count = 2; count <= 2_000; count += 1) {
      if (count % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
      seen.push(...told(await take(slow, 1)));
    }
    expect(seen).toEqual(numbers(2, 2_000).map((data) => data + padding));
    await Promise.all([slow.return(), fast.return()]);
  });

  test("latest, the default, yields only what comes after the subscription", async () => {
    const hub = openHub();
    const topic = hub.topic("orders");
    await topic.publish("before");
    const items = topic.events();
    const first = items.next();
    while (hub.core.metrics.get("sluice_subscribers", "live") === 0) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    await topic.publish("after");
    expect(await first).toMatchObject({ value: { data: "after" } });
    await items.return();
  });

  test("a slow consumer makes one batch wait for it and no more", async () => {
    const hub = openHub();
    const topic = hub.topic("orders");
    const items = topic.events();
    const first = items.next();
    for (let count = 0; count < 100; count += 1) await topic.publish("x".repeat(16 * 1024));
    await first;
    const waiting = [...hub.core.subscribers()].map(({ state, isPending }) => [state, isPending]);
    expect(waiting).toEqual([["reading", true]]);
    expect(hub.core.metrics.plain.sluice_delivery_bytes_total).toBeLessThan(256 * 1024);
    await items.return();
  });

  test("an abort ends the iteration without an error, before, while and after it waits", async () => {
    const hub = openHub();
    const topic = hub.topic("orders");
    expect(await drain(topic.events({ signal: AbortSignal.abort() }))).toEqual([]);

    const waiting = new AbortController();
    const nothing = drain(topic.events({ signal: waiting.signal }));
    const early = new AbortController();
    const opening = drain(topic.events({ signal: early.signal }));
    early.abort();
    expect(await opening).toEqual([]);
    await topic.publish("1");
    waiting.abort();
    expect(["", "1"]).toContain((await nothing).join());

    const between = new AbortController();
    const items = topic.events({ after: "earliest", signal: between.signal });
    expect(told(await take(items, 1))).toEqual(["1"]);
    between.abort();
    expect(await items.next()).toEqual({ done: true, value: undefined });
    expect(hub.core.subscribersNow).toBe(0);
  });

  test("leaving the loop leaves the hub", async () => {
    const hub = openHub();
    const topic = hub.topic("orders");
    await topic.publish("1");
    for await (const item of topic.events({ after: "earliest" })) {
      expect(item).toMatchObject({ data: "1" });
      break;
    }
    expect(hub.core.subscribersNow).toBe(0);
  });

  test("the end of the topic ends the iteration, now and for who resumes at it (laws 6, 14)", async () => {
    const topic = openHub().topic("orders");
    const live = drain(topic.events({ after: "earliest" }));
    await topic.publish("1");
    const { id } = await topic.end("done");
    expect(await live).toEqual(["1", "[done]"]);
    expect(await drain(topic.events({ after: "earliest" }))).toEqual(["1", "[done]"]);
    // Who has read the end is not told again; who comes without a place is.
    expect(await drain(topic.events({ after: id }))).toEqual([]);
    expect(await drain(topic.events())).toEqual(["[done]"]);
  });

  test("what was trimmed is told as a gap, then what there is follows (law 7)", async () => {
    const topic = openHub({ topics: [{ match: "**", retention: { countMax: 10 } }] }).topic(
      "orders",
    );
    const { id } = await topic.publish("1");
    for (const data of numbers(2, 30)) await topic.publish(data);
    const items = await take(topic.events({ after: id }), 11);
    expect(told(items)).toEqual(["[trimmed]", ...numbers(21, 30)]);
    expect(items[0]).toMatchObject({ type: "gap", reason: "trimmed", from: id });
  });

  test.each([
    ["malformed", "no cursor"],
    ["epoch", "0000000000000000.7"],
  ])("a place that says nothing of this log is a gap: %s", async (reason, after) => {
    const topic = openHub().topic("orders");
    await topic.publish("1");
    expect(told(await take(topic.events({ after }), 2))).toEqual([`[${reason}]`, "1"]);
  });

  test("a place in the future is a gap", async () => {
    const topic = openHub().topic("orders");
    const { id } = await topic.publish("1");
    const after = `${id.slice(0, id.indexOf("."))}.999999`;
    expect(told(await take(topic.events({ after }), 2))).toEqual(["[future]", "1"]);
  });

  test("closing the hub ends every iteration", async () => {
    const hub = openHub();
    const topic = hub.topic("orders");
    await topic.publish("1");
    const seen = [drain(topic.events({ after: "earliest" })), drain(topic.events())];
    const items = topic.events({ after: "earliest" });
    await take(items, 1);
    const next = items.next();
    await hub.close();
    expect(await Promise.all(seen)).toEqual([["1"], []]);
    expect(await next).toEqual({ done: true, value: undefined });
    await expect(topic.publish("2")).rejects.toMatchObject({ code: "shutting_down" });
  });

  test("tenants are apart", async () => {
    const hub = openHub();
    await hub.publish("orders", "ours");
    await hub.publish("orders", "theirs", { tenant: "other" });
    const ours = await take(hub.topic("orders").events({ after: "earliest" }), 1);
    const theirs = hub.topic("orders", { tenant: "other" }).events({ after: "earliest" });
    expect([told(ours), told(await take(theirs, 1))]).toEqual([["ours"], ["theirs"]]);
    const foreign = ours[0]?.type === "event" ? ours[0].id : "";
    const resumed = hub.topic("orders", { tenant: "other" }).events({ after: foreign });
    expect(told(await take(resumed, 1))).toEqual(["[epoch]"]);
  });
});
