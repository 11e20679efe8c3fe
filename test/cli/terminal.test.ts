import { expect, test } from "vitest";
import { roundedBytes, roundedDuration } from "../../src/cli/terminal.ts";

test("sizes in tables are rounded, and never show more than four digits", () => {
  const KIB = 1_024;
  const cases: readonly (readonly [number, string])[] = [
    [0, "0B"],
    [1_023, "1023B"],
    [1_024, "1KiB"],
    [1_331, "1.3KiB"],
    [34_567, "34KiB"],
    [KIB ** 2 - 1, "1MiB"],
    [5_000_000_000, "4.7GiB"],
    [3e13, "27TiB"],
  ];
  expect(cases.map(([bytes]) => roundedBytes(bytes))).toEqual(cases.map(([, text]) => text));
});

test("ages in tables are the largest unit and the next", () => {
  const cases: readonly (readonly [number, string])[] = [
    [0, "0s"],
    [999, "0s"],
    [59_999, "59s"],
    [60_000, "1m"],
    [61_500, "1m1s"],
    [3_605_000, "1h"],
    [11_520_000, "3h12m"],
    [86_460_000, "1d"],
    [187_200_000, "2d4h"],
  ];
  expect(cases.map(([ms]) => roundedDuration(ms))).toEqual(cases.map(([, text]) => text));
});
