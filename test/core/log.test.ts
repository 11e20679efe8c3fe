import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createMemoryBroker } from "../../src/brokers/memory.ts";
import { ENTRY_BYTES } from "../../src/core/entries.ts";
import { mergeLogs } from "../../src/core/merge.ts";
import { Pattern } from "../../src/core/pattern.ts";
import { selectTopics } from "../../src/core/selection.ts";
import { TOPIC_DEFAULTS, overlay } from "../../src/core/settings.ts";
import type { Retention } from "../../src/core/settings.ts";
import { LAST_COUNT_MAX, TenantLog } from "../../src/core/tenant-log.ts";
import { TOPIC_OVERHEAD_BYTES } from "../../src/core/topic-log.ts";
import { MemoryAccount } from "../../src/internal/account.ts";
import { VirtualRuntime } from "../../src/testing/index.ts";
import { encodeFields } from "../../src/wire/frame.ts";
import { Bench, texts } from "./bench.ts";

const EVERYTHING = {
  upTo: Number.MAX_SAFE_INTEGER,
  bytesMax: Number.MAX_SAFE_INTEGER,
  now: 0,
};

function tenantLog(retention: Partial<Retention> = {}, topicsMax = 1_000): TenantLog {
  const settings = overlay(TOPIC_DEFAULTS, { retention });
  const account = new MemoryAccount();
  return new TenantLog({ epoch: "e", topicsMax, account, settingsFor: () => settings });
}

function append(log: TenantLog, topic: string, size = 10, at = 0): number {
  const event = { fields: encodeFields(undefined, "x".repeat(size)) };
  return log.append(log.open(topic, at), event, "event", at).seq;
}

function retained(log: TenantLog, ...topics: string[]): number[] {
  const request = { selection: selectTopics(topics), from: "earliest" as const, ...EVERYTHING };
  return log.read(request).publications.map(({ seq }) => seq);
}

describe("retention", () => {
  test("holds count, bytes and age at once, whichever is reached first", () => {
    fc.assert(
      fc.property(
        fc.record({
          countMax: fc.integer({ min: 1, max: 20 }),
          bytesMax: fc.integer({ min: 1, max: 2_000 }),
          ageMsMax: fc.integer({ min: 0, max: 100 }),
        }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 30 }))),
        (retention, events) => {
          const log = tenantLog(retention);
          let at = 0;
          const frames: { seq: number; bytes: number; at: number }[] = [];
          for (const [size, pauseMs] of events) {
            at += pauseMs;
            const seq = append(log, "a", size, at);
            frames.push({
              seq,
              bytes: log.find("a")?.at(log.find("a")!.length - 1).bytes ?? 0,
              at,
            });
            while (true) {
              const bytes = frames.reduce((sum, frame) => sum + frame.bytes, 0);
              const isTooMuch = frames.length > retention.countMax || bytes > retention.bytesMax;
              const isTooOld = (frames[0]?.at ?? at) < at - retention.ageMsMax;
              if (!(isTooOld || (isTooMuch && frames.length > 1))) break;
              frames.shift();
            }
            expect(retained(log, "a")).toEqual(frames.map((frame) => frame.seq));
            expect(log.find("a")?.floor).toBe((frames[0]?.seq ?? seq + 1) - 1);
          }
        },
      ),
    );
  });

  test("takes by age what stands behind an end that the topic outlived", async () => {
    const bench = new Bench();
    await bench.hub.end("t", "a", "done");
    await bench.hub.declare("t", "a", { retention: { ageMsMax: 1_000 } });
    await bench.publish("a", ...texts(5));
    await bench.runtime.run(20_000);
    expect((await bench.join("a", { start: "earliest" })).data).toEqual([]);
  });

  test("applies in time to a topic that nobody publishes to any more", async () => {
    const bench = new Bench();
    await bench.hub.declare("t", "a", { retention: { ageMsMax: 1_000 } });
    await bench.publish("a", "1");
    await bench.runtime.run(10_000);
    expect((await bench.join("a", { start: "earliest" })).data).toEqual([]);
  });
});

describe("memory", () => {
  test("is accounted exactly: when everything is dropped, nothing is left of it", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.record({
              do: fc.constant("append"),
              topic: fc.constantFrom("a", "b", "c"),
              size: fc.nat(5_000),
            }),
            fc.record({
              do: fc.constant("drop"),
              topic: fc.constantFrom("a", "b", "c"),
              size: fc.nat(1),
            }),
            fc.record({
              do: fc.constant("envelope"),
              topic: fc.constantFrom("a", "b", "c"),
              size: fc.nat(1),
            }),
            fc.record({
              do: fc.constant("forget"),
              topic: fc.constantFrom("a", "b", "c"),
              size: fc.nat(1),
            }),
            fc.record({ do: fc.constant("shrink"), topic: fc.constant(""), size: fc.nat(20_000) }),
          ),
        ),
        (steps) => {
          const account = new MemoryAccount();
          const settingsFor = (): typeof TOPIC_DEFAULTS => TOPIC_DEFAULTS;
          const log = new TenantLog({ epoch: "e", topicsMax: 10, account, settingsFor });
          for (const { do: what, topic, size } of steps) {
            const found = log.find(topic);
            if (what === "append") append(log, topic, size);
            else if (what === "shrink") log.shrinkTo(size);
            else if (found !== undefined && what === "drop") found.dropOldest();
            else if (found !== undefined && what === "forget") log.forget(found);
            else if (found !== undefined && found.length > 0) found.at(0).bytesIn("enveloped");
            expect(account.bytes).toBe(log.account.bytes);
            expect(account.bytes).toBeGreaterThanOrEqual(log.topicsNow * TOPIC_OVERHEAD_BYTES);
            if (what === "shrink") expect(account.bytes).toBeLessThanOrEqual(size);
          }
          for (const topic of ["a", "b", "c"]) {
            while ((log.find(topic)?.length ?? 0) > 0) log.find(topic)?.dropOldest();
          }
          expect(account.bytes).toBe(log.topicsNow * TOPIC_OVERHEAD_BYTES);
          log.shrinkTo(0);
          expect([account.bytes, log.topicsNow]).toEqual([0, 0]);
        },
      ),
    );
  });

  test("is bounded over all tenants, and taken from the largest first, there from the topic with the oldest events", async () => {
    const bench = new Bench({ memory: { memoryBytesMax: 100_000 } });
    const data = "x".repeat(1_000);
    for (let index = 0; index < 10; index += 1) await bench.publishAs("small", "a", data);
    await bench.publishAs("large", "idle", data);
    for (let index = 0; index < 300; index += 1) await bench.publishAs("large", "busy", data);
    const small = await bench.join("a", { tenant: "small", start: "earliest" });
    expect(small.events).toHaveLength(10);
    const idle = await bench.join("idle", { tenant: "large", start: "earliest" });
    expect(idle.events).toHaveLength(0);
    const busy = await bench.join("busy", { tenant: "large", start: "earliest" });
    const bytes = busy.events.length * (1_000 + ENTRY_BYTES);
    expect(bytes).toBeGreaterThan(50_000);
    expect(bytes).toBeLessThan(100_000);
  });

  test("of many topics that are all busy the oldest events go, and each keeps what came last", () => {
    const account = new MemoryAccount();
    const settingsFor = (): typeof TOPIC_DEFAULTS => TOPIC_DEFAULTS;
    const log = new TenantLog({ epoch: "e", topicsMax: 1_000, account, settingsFor });
    const bytesMax = 4 * 1024 * 1024;
    const topics = Array.from({ length: 200 }, (_each, index) => `t${index}`);
    let kept = 0;
    for (let round = 0; round < 400; round += 1) {
      for (const topic of topics) {
        append(log, topic, 150, round * 40);
        if (account.bytes > bytesMax) log.shrinkTo(bytesMax);
        // What was just appended is never what goes.
        expect(log.find(topic)?.length).toBeGreaterThan(0);
      }
    }
    expect(account.bytes).toBeLessThanOrEqual(bytesMax);
    for (const topic of topics) kept += log.find(topic)?.length ?? 0;
    const mean = kept / topics.length;
    expect(mean).toBeGreaterThan(50);
    for (const topic of topics) expect(log.find(topic)?.length).toBeGreaterThan(0.9 * mean);
  });

  test("a quiet topic keeps what is newer than what a busy one keeps", () => {
    const log = tenantLog();
    append(log, "quiet", 150);
    for (let count = 0; count < 2_000; count += 1) append(log, "busy", 150);
    const late = append(log, "quiet", 150);
    for (let count = 0; count < 100; count += 1) append(log, "busy", 150);
    log.shrinkTo(200_000);
    expect(retained(log, "quiet")).toEqual([late]);
    expect(retained(log, "busy").at(-1)).toBe(log.head);
    expect(retained(log, "busy")[0]).toBeGreaterThan(500);
  });

  test("records that came and went leave nothing behind, and memory is taken back as before", () => {
    const log = tenantLog();
    for (let count = 0; count < 20_000; count += 1) {
      append(log, `once-${count}`);
      const record = log.find(`once-${count}`);
      if (record !== undefined && count % 100 !== 0) log.forget(record);
    }
    expect(log.topicsNow).toBe(200);
    expect(log.agedNow).toBeLessThan(2_000);
    log.shrinkTo(100_000);
    expect(log.account.bytes).toBeLessThanOrEqual(100_000);
    expect(log.find("once-0")).toBeUndefined();
    expect(log.find("once-19900")?.length).toBe(1);
  });

  test("at the limit of topics an empty one gives way, and with none the publish is refused", async () => {
    const rules = [{ match: Pattern.parse("old"), settings: { retention: { ageMsMax: 1_000 } } }];
    const bench = new Bench({ memory: { topicsMax: 2, rules } });
    await bench.publish("old", "1");
    await bench.runtime.run(3_000);
    await bench.publish("a", "1");
    await bench.publish("b", "1");
    await expect(bench.publish("c", "1")).rejects.toMatchObject({ code: "topics_exhausted" });
  });

  test("law 14: an end outlives pressure on memory, in memory of its own size", async () => {
    const bench = new Bench({ memory: { memoryBytesMax: 200_000 } });
    for (const topic of ["one", "two", "three", "four"]) {
      await bench.publish(topic, "x".repeat(20_000));
      await bench.hub.end("t", topic, "done");
    }
    for (let index = 0; index < 300; index += 1) await bench.publish("busy", "x".repeat(1_000));
    for (const topic of ["one", "two", "three", "four"]) {
      await expect(bench.publish(topic, "late")).rejects.toMatchObject({ code: "topic_ended" });
      const client = await bench.join(topic, { start: "earliest" });
      expect(client.blocks.at(-1)).toMatch(/^end@/);
    }
    expect((await bench.join("busy", { start: "earliest" })).events.length).toBeGreaterThan(50);
  });

  test("at the limit of topics one that has ended gives way", async () => {
    const bench = new Bench({ memory: { topicsMax: 3 } });
    for (let index = 0; index < 20; index += 1) {
      await bench.publish(`run/${index}`, "1");
      await bench.hub.end("t", `run/${index}`, "done");
    }
    await bench.publish("other", "1");
  });

  test("what is too old is not served, although no sweep has come by", async () => {
    const rules = [{ match: Pattern.parse("**"), settings: { retention: { ageMsMax: 100 } } }];
    const bench = new Bench({ memory: { rules } });
    await bench.publish("a", "1");
    bench.runtime.elapse(200);
    expect((await bench.join("a", { start: "earliest" })).events).toEqual([]);
  });

  test("a sweep reaches idle topics however many others are appended to", () => {
    const log = tenantLog({ ageMsMax: 100 });
    append(log, "idle");
    for (let round = 0; round < 10; round += 1) {
      for (let index = 0; index < 20; index += 1) append(log, `busy/${index}`);
      log.sweep(1_000, 10);
    }
    expect(log.find("idle")?.length).toBe(0);
  });

  test("a declared topic loses its events under pressure, never its settings", async () => {
    const bench = new Bench({ memory: { memoryBytesMax: 100_000, topicsMax: 2 } });
    await bench.hub.declare("t", "declared", { retention: { countMax: 1 } });
    await bench.publish("declared", "1");
    for (let index = 0; index < 300; index += 1) await bench.publish("busy", "x".repeat(1_000));
    expect((await bench.join("declared", { start: "earliest" })).events).toHaveLength(0);
    await expect(bench.publish("third", "1")).rejects.toMatchObject({ code: "topics_exhausted" });
    await bench.publish("declared", "2", "3");
    const client = await bench.join("declared", { start: "earliest" });
    await bench.runtime.runTurns();
    expect(client.events).toHaveLength(1);
  });
});

describe("floors", () => {
  test("rise with what is dropped; a forgotten topic's is what a new or unknown one starts with", () => {
    const log = tenantLog({ countMax: 2 });
    for (const topic of ["a", "a", "a", "b"]) append(log, topic);
    const floors = (...topics: string[]): number[] => {
      const read = { selection: selectTopics(topics), from: 0, ...EVERYTHING };
      const { floor, floorMin } = log.read(read);
      return [floor, floorMin];
    };
    expect([floors("a"), floors("b"), floors("a", "b"), floors("**")]).toEqual([
      [1, 1],
      [0, 0],
      [1, 0],
      [1, 0],
    ]);
    log.forget(log.open("b", 0));
    expect(log.forgottenFloor).toBe(4);
    expect([floors("a"), floors("b"), floors("never"), floors("a", "b")]).toEqual([
      [1, 1],
      [4, 4],
      [4, 4],
      [4, 1],
    ]);
    append(log, "b");
    expect([floors("b"), floors("*")]).toEqual([
      [4, 4],
      [4, 1],
    ]);
    expect(retained(log, "b")).toEqual([5]);
  });

  test("a cursor of a topic that was forgotten and made again is told of a gap", async () => {
    const bench = new Bench({ memory: { rules: [] } });
    await bench.hub.declare("t", "a", { ttlMs: 1_000 });
    const { last } = await bench.publish("a", "1", "2");
    await bench.runtime.run(10_000);
    await bench.publish("a", "3");
    const resumed = await bench.join("a", { start: `${last.epoch}.1` });
    expect(resumed.blocks).toEqual(["retry", "gap trimmed", "primer 2", "3@3"]);
    expect((await bench.join("a", { start: `${last.epoch}.2` })).verdict).toBe("exact");
  });
});

describe("reading several topics", () => {
  test("merges them as sorting everything would, whatever is trimmed, from any place, up to any bytes", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom("a", "b", "c", "d"), fc.nat(300)), { minLength: 1 }),
        fc.integer({ min: 1, max: 10 }),
        fc.nat(60),
        fc.nat(60),
        fc.integer({ min: 1, max: 2_000 }),
        (events, countMax, after, upTo, bytesMax) => {
          const log = tenantLog({ countMax });
          for (const [topic, size] of events) append(log, topic, size);
          const logs = ["a", "b", "c", "d"].flatMap((topic) => log.find(topic) ?? []);
          const all = logs
            .flatMap((one) => Array.from({ length: one.length }, (_, index) => one.at(index)))
            .filter(({ seq }) => seq > after && seq <= upTo)
            .sort((a, b) => a.seq - b.seq);
          let bytes = 0;
          const naive = all.filter((publication) => {
            const isIn = bytes < bytesMax;
            bytes += publication.bytes;
            return isIn;
          });
          const { publications, isComplete } = mergeLogs(logs, after, upTo, bytesMax);
          expect(publications).toEqual(naive);
          expect(isComplete).toBe(naive.length === all.length);
        },
      ),
    );
  });

  test("last:n over many full topics needs memory for n places, not for all of them", async () => {
    const runtime = new VirtualRuntime();
    const broker = createMemoryBroker({ runtime });
    const events = Array.from({ length: 1_000 }, () => ({ fields: encodeFields(undefined, "") }));
    for (let index = 0; index < 100; index += 1) {
      await broker.publish({ tenant: "t", topic: `t${index}`, events });
    }
    const selection = selectTopics(["*"]);
    const read = (last: number): Promise<{ after: number }> =>
      broker.read({ tenant: "t", selection, from: { last }, upTo: 0, bytesMax: 1 });
    expect((await read(3)).after).toBe(100_000 - 3);
    expect((await read(LAST_COUNT_MAX)).after).toBe(100_000 - LAST_COUNT_MAX);
    await broker.close();
  });
});
