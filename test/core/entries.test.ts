import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ENTRY_BYTES, Entries, IS_END, IS_SUPERSEDED } from "../../src/core/entries.ts";
import { MemoryAccount } from "../../src/internal/account.ts";

const CAPACITY_MIN = 4;
const SEGMENT_ENTRIES = 128;

interface Row {
  readonly seq: number;
  readonly at: number;
  readonly position: number;
  readonly bytes: number;
  isSuperseded: boolean;
  readonly isEnd: boolean;
}

test("entries are what a list of rows would be, through growth, wrapping and shrinking", () => {
  const step = fc.oneof(
    fc.record({ push: fc.integer({ min: 1, max: 150 }), isEnd: fc.boolean() }),
    fc.record({ shift: fc.integer({ min: 1, max: 200 }) }),
    fc.record({ mark: fc.nat() }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const account = new MemoryAccount();
      const entries = new Entries(account);
      const rows: Row[] = [];
      let seq = 0;
      for (const each of steps) {
        if ("push" in each) {
          for (let count = 0; count < each.push; count += 1) {
            seq += 1 + (count % 3);
            const row = { seq, at: seq / 7, position: seq * 2 ** 33, bytes: seq * 1_000 };
            rows.push({ ...row, isEnd: each.isEnd, isSuperseded: false });
            entries.push(row.seq, row.at, row.position, row.bytes, each.isEnd ? IS_END : 0);
          }
        } else if ("shift" in each) {
          const dropped = rows.splice(0, each.shift);
          for (const _row of dropped) entries.shift();
        } else if (rows.length > 0) {
          const index = each.mark % rows.length;
          const row = rows[index] ?? expect.fail("no row");
          if (!row.isSuperseded) entries.mark(index, IS_SUPERSEDED);
          row.isSuperseded = true;
        }
        const found = rows.map((_row, index) => ({
          seq: entries.seq(index),
          at: entries.at(index),
          position: entries.position(index),
          bytes: entries.bytes(index),
          isEnd: entries.has(index, IS_END),
          isSuperseded: entries.has(index, IS_SUPERSEDED),
        }));
        expect([found, entries.length]).toEqual([rows, rows.length]);
        for (const wanted of [0, seq - 1, Math.floor(seq / 2)]) {
          const after = rows.findIndex((row) => row.seq > wanted);
          expect(entries.indexAfter(wanted)).toBe(after === -1 ? rows.length : after);
        }
        expect(account.bytes).toBeGreaterThanOrEqual((rows.length - CAPACITY_MIN) * ENTRY_BYTES);
        expect(account.bytes).toBeLessThanOrEqual(
          (rows.length * 4 + 2 * SEGMENT_ENTRIES) * ENTRY_BYTES,
        );
      }
    }),
  );
});
