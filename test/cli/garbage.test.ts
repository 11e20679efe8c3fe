import { expect, test } from "vitest";
import { garbagePercent } from "../../src/cli/garbage.ts";

const MIB = 1024 ** 2;

test("garbage may be the same share of all that is in use, however much of it lies outside the heap", () => {
  const allowed = (heap: number, outside: number): number =>
    (garbagePercent({ used_heap_size: heap, external_memory: outside }) * heap) / 100;
  expect(allowed(50 * MIB, 0) / MIB).toBeCloseTo(42.5, 0);
  expect(allowed(50 * MIB, 250 * MIB) / MIB).toBeCloseTo(255, 0);
  expect(allowed(100 * MIB, 200 * MIB)).toBe(allowed(150 * MIB, 150 * MIB));
});
