import { describe, expect, test } from "vitest";
import { openHub, take, told } from "./support.ts";

describe("LocalHub.publish", () => {
  test("answers with the event's id and the durability of the log", async () => {
    const hub = openHub();
    const published = await hub.publish("orders", "1");
    expect(published).toMatchObject({ durability: "memory", isDuplicate: false });
    const [item] = await take(hub.topic("orders").events({ after: "earliest" }), 1);
    expect(item).toMatchObject({ id: published.id, data: "1" });
  });

  test("ids rise over all topics of a tenant (law 2)", async () => {
    const hub = openHub();
    const ids: number[] = [];
    for (let index = 0; index < 100; index += 1) {
      const { id } = await hub.publish(`orders/${index % 7}`, "x");
      ids.push(Number(id.slice(id.indexOf(".") + 1)));
    }
    expect(ids).toEqual([...new Set(ids)].toSorted((a, b) => a - b));
  });

  test("a retry with its idempotency key appends nothing and gets the same id", async () => {
    const hub = openHub();
    const first = await hub.publish("orders", "1", { idempotencyKey: "k" });
    const again = await hub.publish("orders", "1", { idempotencyKey: "k" });
    expect(again).toEqual({ ...first, isDuplicate: true });
    await hub.publish("orders", "2");
    const items = hub.topic("orders").events({ after: "earliest" });
    expect(told(await take(items, 2))).toEqual(["1", "2"]);
    await items.return();
  });

  test("the same key with another event is refused; for another topic it is another key", async () => {
    const hub = openHub();
    await hub.publish("orders", { data: "1", event: "a" }, { idempotencyKey: "k" });
    const other = hub.publish("orders", { data: "1", event: "b" }, { idempotencyKey: "k" });
    await expect(other).rejects.toMatchObject({ code: "idempotency_conflict" });
    const elsewhere = await hub.publish("bills", "1", { idempotencyKey: "k" });
    expect(elsewhere.isDuplicate).toBe(false);
  });

  test("two at once with one key append one event", async () => {
    const hub = openHub();
    const options = { idempotencyKey: "k" };
    const both = await Promise.all([
      hub.publish("orders", "1", options),
      hub.publish("orders", "1", options),
    ]);
    expect(new Set(both.map(({ id }) => id)).size).toBe(1);
    expect(both.map(({ isDuplicate }) => isDuplicate).filter(Boolean)).toEqual([true]);
  });

  test.each([
    ["topic_name_invalid", "a//b", { data: "1" }],
    ["event_name_reserved", "orders", { data: "1", event: "gap" }],
    ["event_name_invalid", "orders", { data: "1", event: "a\nb" }],
    ["event_key_invalid", "orders", { data: "1", key: "" }],
    ["event_too_large", "orders", { data: "x".repeat(1_025) }],
    ["body_not_utf8", "orders", { data: Uint8Array.of(0xff) }],
    ["parameter_invalid", "orders", 7 as unknown as string],
    ["parameter_invalid", "orders", { data: 123 as unknown as string }],
    ["parameter_invalid", "orders", { data: null as unknown as string }],
    ["parameter_invalid", "orders", { data: "1", event: 5 as unknown as string }],
    ["parameter_invalid", "orders", { data: "1", key: {} as unknown as string }],
  ])("refuses with %s, and nothing is appended", async (code, topic, event) => {
    const hub = openHub({ eventBytesMax: 1_024 });
    await expect(hub.publish(topic, event)).rejects.toMatchObject({ name: "SluiceError", code });
    const { id } = await hub.publish("orders", "first");
    expect(id).toMatch(/\.1$/);
  });

  test.each(["", "x".repeat(256), "ä", "a\nb", 7])(
    "refuses %j as an idempotency key, and nothing is appended",
    async (key) => {
      const hub = openHub();
      const publishing = hub.publish("orders", "1", { idempotencyKey: key as string });
      await expect(publishing).rejects.toMatchObject({ code: "idempotency_key_invalid" });
      expect((await hub.publish("orders", "first")).id).toMatch(/\.1$/);
    },
  );

  test("a wrong event with an idempotency key is refused for what is wrong with it", async () => {
    const event = { data: 123 as unknown as string };
    const publishing = openHub().publish("orders", event, { idempotencyKey: "k" });
    await expect(publishing).rejects.toMatchObject({ code: "parameter_invalid" });
  });

  test("a topic that is declared again is open again", async () => {
    const topic = openHub().topic("orders");
    await topic.publish("1");
    await topic.end();
    await expect(topic.publish("2")).rejects.toMatchObject({ code: "topic_ended" });
    await topic.declare();
    await topic.publish("3");
    const items = topic.events({ after: "last:1" });
    expect(told(await take(items, 1))).toEqual(["3"]);
    await items.return();
  });
});
