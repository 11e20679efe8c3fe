import { expect, test } from "vitest";
import { TRIMMED_MAX } from "../../src/core/broker.ts";
import type { ReadResult } from "../../src/core/broker.ts";
import { Group } from "../../src/core/group.ts";
import { gapOf, markTold } from "../../src/core/replay.ts";
import { Bench } from "./bench.ts";

test("what was told of topics that a reader has passed is not kept, however many come and go", () => {
  const reader = {
    form: "plain" as const,
    lost: undefined,
    toldFloor: 0,
    toldFloors: undefined as Map<string, number> | undefined,
    skipsOldest: false,
    dropped: undefined,
    skippedReads: 0,
  };
  for (let seq = 1; seq < 100_000; seq += 10) {
    const floor = seq + 5;
    const result: ReadResult = {
      epoch: "e",
      head: seq + 9,
      after: seq,
      through: seq + 9,
      publications: [],
      floor,
      floorMin: 0,
      trimmed: [{ topic: `t${seq}`, floor }],
      endedAt: undefined,
      lane: "normal",
    };
    expect(gapOf(reader, result)?.topics).toEqual([`t${seq}`]);
    markTold(reader, result);
    // Told once.
    expect(gapOf(reader, result)).toBeUndefined();
  }
  expect(reader.toldFloors?.size).toBeLessThanOrEqual(2 * TRIMMED_MAX);
});

test("law 23: a group that is done lets go of its batch in every form", async () => {
  const bench = new Bench();
  await bench.publish("a", "1");
  await bench.hub.end("t", "a", "done");
  const from = { tenant: "t", selection: { names: ["a"], patterns: [], key: "a" } };
  const { publications } = await bench.memory.read({ ...from, from: 0, upTo: 2, bytesMax: 1_000 });
  const group = new Group({ window: publications });
  group.prepare();
  const forms = ["plain", "enveloped", "quiet"] as const;
  expect(forms.map((form) => group.batch(form).count)).toEqual([2, 2, 2]);
  group.release();
  // There is no batch of nothing: what it had is not there any more.
  for (const form of forms) expect(() => group.batch(form)).toThrow(RangeError);
});
