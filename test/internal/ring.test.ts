import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Ring } from "../../src/internal/ring.ts";

test("a ring behaves as an array does", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.nat(), fc.constant("shift" as const)), { size: "large" }),
      (steps) => {
        const ring = new Ring<number>();
        const model: number[] = [];
        for (const step of steps) {
          if (step === "shift") expect(ring.shift()).toBe(model.shift());
          else {
            ring.push(step);
            model.push(step);
          }
          expect([ring.length, ring.first(), ring.last()]).toEqual([
            model.length,
            model[0],
            model.at(-1),
          ]);
        }
        expect(model.map((_, index) => ring.at(index))).toEqual(model);
        expect(() => ring.at(ring.length)).toThrow("out of bounds");
        const sorted = new Ring<number>();
        for (const value of model.sort((a, b) => a - b)) sorted.push(value);
        const middle = model[model.length >> 1] ?? 0;
        expect(sorted.search((value) => value > middle)).toBe(
          model.filter((value) => value <= middle).length,
        );
      },
    ),
  );
});
