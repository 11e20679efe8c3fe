import { createHub } from "sluice";
import type { CreateHubOptions } from "sluice";
import { describe, expect, test } from "vitest";
import { openHub } from "./support.ts";

const WRONG: [CreateHubOptions, string][] = [
  [{ memoryBytesMax: NaN }, "memoryBytesMax must be 1048576 to 1099511627776, is NaN"],
  [{ eventBytesMax: -5 }, "eventBytesMax must be 1 to 67108864, is -5"],
  [{ eventBytesMax: 1.5 }, "eventBytesMax must be 1 to 67108864, is 1.5"],
  [{ topicsMax: Infinity }, "topicsMax must be 1 to 10000000, is Infinity"],
  [{ topicsMax: "5" as unknown as number }, 'topicsMax must be 1 to 10000000, is "5"'],
  [{ heartbeat: { heartbeatMs: 0 } }, "heartbeat.heartbeatMs must be 10 to 2073600000, is 0"],
  [{ idempotency: { ageMsMax: NaN } }, "idempotency.ageMsMax must be 1 to 315360000000, is NaN"],
  [
    { topics: [{ match: "**" }, { match: "a", retention: { countMax: 0 } }] },
    "topics.1.retention.countMax must be 1 to 1000000000, is 0",
  ],
  [
    { topics: [{ match: "a", policy: "drop-newest" as "conflate" }] },
    'topics.0.policy must be disconnect or drop-oldest or conflate, is "drop-newest"',
  ],
];

describe("createHub", () => {
  test.each(WRONG)("refuses %j with name, bounds and value", (options, message) => {
    expect(() => createHub(options)).toThrow(
      expect.objectContaining({ name: "SluiceError", code: "parameter_invalid", message }),
    );
  });

  test("takes undefined for absent, and milliseconds with a fraction", async () => {
    const absent = undefined as unknown as number;
    const hub = openHub({
      heartbeat: { heartbeatMs: absent, stallMs: 1_000.5 },
      idempotency: { countMax: absent },
      topics: [{ match: "**", retention: { countMax: absent, bytesMax: 10_000 } }],
    });
    await hub.publish("a", "1", { idempotencyKey: "k" });
    expect((await hub.publish("a", "1", { idempotencyKey: "k" })).isDuplicate).toBe(true);
    const items = hub.topic("a").events({ after: "earliest" });
    expect((await items.next()).value).toMatchObject({ type: "event", data: "1" });
    await items.return();
  });

  test("a topic is declared with sound settings only", async () => {
    const declaring = openHub().topic("a").declare({ ttlMs: 0 });
    await expect(declaring).rejects.toMatchObject({ code: "parameter_invalid" });
  });
});
