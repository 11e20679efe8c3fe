import * as fc from "fast-check";
import { expect, test } from "vitest";
import { MinHeap } from "../../src/internal/heap.ts";

test("the least comes first, whatever was pushed, taken away and raised before", () => {
  const steps = fc.array(
    fc.oneof(
      fc.record({ do: fc.constant("push"), by: fc.nat(50) }),
      fc.record({ do: fc.constant("shift"), by: fc.constant(0) }),
      fc.record({ do: fc.constant("raise"), by: fc.nat(50) }),
    ),
  );
  fc.assert(
    fc.property(steps, (all) => {
      const heap = new MinHeap<{ key: number }>();
      let model: { key: number }[] = [];
      for (const { do: what, by } of all) {
        const least = heap.least();
        if (what === "push") {
          const item = { key: by };
          heap.push(by, item);
          model.push(item);
        } else if (what === "shift") {
          heap.shift();
          model = model.filter((each) => each !== least);
        } else if (least !== undefined) {
          least.key += by;
          heap.raise(least.key);
        }
        expect(heap.size).toBe(model.length);
        expect(heap.leastKey).toBe(Math.min(...model.map(({ key }) => key)));
        expect(heap.least()?.key).toBe(model.length === 0 ? undefined : heap.leastKey);
      }
      const keys = model.map(({ key }) => key).sort((a, b) => a - b);
      for (const key of keys) {
        expect(heap.least()?.key).toBe(key);
        heap.shift();
      }
      expect(heap.size).toBe(0);
    }),
  );
});

test("cleared it is as new", () => {
  const heap = new MinHeap<string>();
  heap.push(2, "b");
  heap.clear();
  heap.push(3, "c");
  expect([heap.size, heap.least()]).toEqual([1, "c"]);
});
