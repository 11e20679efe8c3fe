import { assert, integer, property } from "fast-check";
import { expect, test } from "vitest";
import {
  formatBytes,
  formatDuration,
  parseBytes,
  parseDurationMs,
} from "../../src/gateway/config/units.ts";

test.each([
  ["250ms", 250],
  ["20s", 20_000],
  ["5m", 300_000],
  ["1.5h", 5_400_000],
  ["1.1s", 1_100],
  ["7d", 604_800_000],
  ["2000", 2_000],
  [20_000, 20_000],
  ["0", 0],
])("the duration %j is %d ms", (text, durationMs) => {
  expect(parseDurationMs(text)).toBe(durationMs);
});

test.each([
  "",
  " ",
  "s",
  "20 seconds",
  "20S",
  "-1s",
  "1e3",
  "0.5ms",
  "1,5s",
  "1..5s",
  -1,
  1.5,
  null,
  {},
  Number.NaN,
])("%j is no duration", (value) => {
  expect(parseDurationMs(value)).toBeUndefined();
});

test.each([
  ["64KiB", 65_536],
  ["1MiB", 1_048_576],
  ["1MB", 1_000_000],
  ["1kB", 1_000],
  ["0.5GiB", 536_870_912],
  ["512", 512],
  ["10 B", 10],
  [4_096, 4_096],
])("the size %j is %d bytes", (text, size) => {
  expect(parseBytes(text)).toBe(size);
});

test.each(["1M", "1K", "1mb", "1 MiBs", "-5", "0.3B", "MiB", true, {}, "9".repeat(16)])(
  "%j is no size",
  (value) => {
    expect(parseBytes(value)).toBeUndefined();
  },
);

test("what is formatted is read back as the same number", () => {
  assert(
    property(integer({ min: 0, max: 2 ** 40 }), (value) => {
      expect(parseDurationMs(formatDuration(value))).toBe(value);
      expect(parseBytes(formatBytes(value))).toBe(value);
    }),
  );
});

test("the largest unit that fits is chosen", () => {
  expect([formatDuration(20_000), formatDuration(90_000), formatDuration(0)]).toEqual([
    "20s",
    "90s",
    "0ms",
  ]);
  expect([formatBytes(1_048_576), formatBytes(1_000_000), formatBytes(1_000_001)]).toEqual([
    "1MiB",
    "1MB",
    "1000001B",
  ]);
});
