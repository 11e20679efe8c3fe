import { describe, expect, test } from "vitest";
import { SluiceError } from "../../src/core/errors.ts";
import { RESERVED_EVENTS } from "../../src/core/event.ts";
import type { EventInput } from "../../src/core/event.ts";
import { UnsteadyBroker } from "../../src/testing/index.ts";
import { Bench, rule } from "./bench.ts";

const KEYED = { tenant: "t", topic: "a", idempotency: { key: "k", fingerprint: "1" } };

describe("an idempotency key", () => {
  test("appends once, also for a second request while the first is under way", async () => {
    const bench = new Bench({
      wrap: (inner, runtime) => new UnsteadyBroker(() => inner, { runtime, delayMsMax: 100 }),
    });
    const publish = { ...KEYED, events: [{ data: "1" }] };
    const both = Promise.all([bench.hub.publish(publish), bench.hub.publish(publish)]);
    const [first, second] = await bench.runtime.resolve(both);
    const third = await bench.runtime.resolve(bench.hub.publish(publish));
    expect([first, second, third].map(({ isDuplicate }) => isDuplicate)).toEqual([
      false,
      true,
      true,
    ]);
    expect([second.first, third.first]).toEqual([first.first, first.first]);
    expect(bench.hub.metrics.plain.sluice_publications_total).toBe(1);
    expect(bench.hub.metrics.plain.sluice_publish_duplicates_total).toBe(2);
  });

  test("refuses another event, now and while the first is under way; other topics and tenants have their own", async () => {
    const bench = new Bench();
    const first = bench.hub.publish({ ...KEYED, events: [{ data: "1" }] });
    const other = {
      ...KEYED,
      idempotency: { key: "k", fingerprint: "2" },
      events: [{ data: "2" }],
    };
    await expect(bench.hub.publish(other)).rejects.toMatchObject({ code: "idempotency_conflict" });
    await first;
    await expect(bench.hub.publish(other)).rejects.toMatchObject({ code: "idempotency_conflict" });
    for (const change of [{ topic: "b" }, { tenant: "u" }]) {
      expect((await bench.hub.publish({ ...other, ...change })).isDuplicate).toBe(false);
    }
  });

  test("is forgotten after its time, or when too many newer ones came", async () => {
    const bench = new Bench({ memory: { idempotency: { ageMsMax: 1_000, countMax: 2 } } });
    const publish = async (key: string): Promise<boolean> => {
      const idempotency = { key, fingerprint: key };
      const receipt = await bench.hub.publish({ ...KEYED, idempotency, events: [{ data: key }] });
      return receipt.isDuplicate;
    };
    expect([await publish("1"), await publish("2"), await publish("1")]).toEqual([
      false,
      false,
      true,
    ]);
    expect([await publish("3"), await publish("1")]).toEqual([false, false]);
    await bench.runtime.run(1_001);
    expect(await publish("3")).toBe(false);
  });

  test("outlives a broker's lost answer: the retry appends nothing", async () => {
    const bench = new Bench({
      wrap: (inner, runtime) => new UnsteadyBroker(() => inner, { runtime, delayMsMax: 0 }),
    });
    const unsteady = bench.hub.broker as UnsteadyBroker;
    unsteady.options = { ...unsteady.options, lostAnswers: 1 };
    const publish = { ...KEYED, events: [{ data: "1" }, { data: "2" }] };
    await expect(bench.hub.publish(publish)).rejects.toMatchObject({ code: "broker_unavailable" });
    unsteady.options = { ...unsteady.options, lostAnswers: 0 };
    const retried = await bench.hub.publish(publish);
    expect([retried.isDuplicate, retried.first.seq, retried.last.seq]).toEqual([true, 1, 2]);
    expect((await bench.join("a", { start: "earliest" })).data).toEqual(["1", "2"]);
  });
});

describe("a publish that is refused", () => {
  const invalid: [string, EventInput][] = [
    ...RESERVED_EVENTS.map((event): [string, EventInput] => [
      "event_name_reserved",
      { event, data: "" },
    ]),
    ["event_name_invalid", { event: "", data: "" }],
    ["event_name_invalid", { event: "é".repeat(128), data: "" }],
    ["event_key_invalid", { key: "", data: "" }],
    ["event_key_invalid", { key: "k".repeat(256), data: "" }],
    ["event_too_large", { data: "é".repeat(51) }],
    ["body_not_utf8", { data: Uint8Array.of(0xff) }],
  ];
  test.each(invalid)("with %s appends nothing of its batch: %o", async (code, event) => {
    const bench = new Bench({ eventBytesMax: 100 });
    const events = [{ data: "1" }, event];
    const refused = bench.hub.publish({ tenant: "t", topic: "a", events });
    await expect(refused).rejects.toMatchObject({ code });
    await expect(refused).rejects.toBeInstanceOf(SluiceError);
    expect((await bench.publish("a", "2")).first.seq).toBe(1);
  });

  test("empty, on a bad topic, or after the hub was closed", async () => {
    const bench = new Bench();
    await expect(bench.publish("a")).rejects.toMatchObject({ code: "batch_empty" });
    await expect(bench.publish("a/../b", "1")).rejects.toMatchObject({
      code: "topic_name_invalid",
    });
    await bench.hub.close();
    await expect(bench.publish("a", "1")).rejects.toMatchObject({ code: "shutting_down" });
    await expect(bench.subscribe("a")).rejects.toMatchObject({ code: "shutting_down" });
  });
});

test("settings come from the first rule that matches, and a declaration stands over them", async () => {
  const rules = [
    rule("a/*", { retention: { countMax: 1 } }),
    rule("**", { retention: { countMax: 2 } }),
  ];
  const bench = new Bench({ memory: { rules } });
  await bench.publish("a/x", "1", "2", "3");
  await bench.publish("b", "1", "2", "3");
  await bench.hub.declare("t", "c", { retention: { ageMsMax: 1_000_000 } });
  await bench.publish("c", "1", "2", "3");
  for (const [topic, data] of [
    ["a/x", ["3"]],
    ["b", ["2", "3"]],
    ["c", ["2", "3"]],
  ] as const) {
    expect((await bench.join(topic, { start: "earliest" })).data).toEqual(data);
  }
});
