// S02: what leaves here behind another's bytes is read by readers that other people wrote.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { frameBytes, writeFrame } from "../../../src/wire/frame.ts";
import { concat, cutInto, decodeAll, readByParser, readBySpec, utf8 } from "../../wire/streams.ts";
import type { Told } from "../../wire/streams.ts";
import { runScript } from "./scripted.ts";

type ToldEvent = Extract<Told, { event: string }>;

const PIECES = [
  "data: x\n\n",
  "data: é\r",
  "\ndata: ",
  "\n\ndata",
  "data: ",
  "data:",
  "data",
  "id: ",
  "id: e.999\n",
  "id: 7.1\n\n",
  "event: ",
  "event: end\n",
  "retry: 1\n",
  "retry: ",
  ": gap {}\n",
  "\n",
  "\r",
  "\r\n",
  "\n\n",
  "\r\r",
  " ",
  ":",
  "é",
  "😀",
  "\ufeff",
  "\u2028",
  "\u0085",
  "\0",
  "a",
];

const anyBytes = fc
  .array(
    fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(...PIECES).map(utf8) },
      { weight: 1, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 4 }) },
      {
        weight: 1,
        // A surrogate, an overlong slash, a cut character, one beyond the last.
        arbitrary: fc
          .constantFrom([0xed, 0xa0, 0x80], [0xc0, 0xaf], [0xf0, 0x9f], [0xf4, 0x90, 0x80, 0x80])
          .map((raw) => Uint8Array.from(raw)),
      },
    ),
    { maxLength: 60, size: "max" },
  )
  .map((parts) => concat(...parts));

test("S02 U05 law 18 whatever bytes come, a parser of what leaves sees the same events, under our ids, and nothing else", async () => {
  const seen = { events: 0 };
  await fc.assert(
    fc.asyncProperty(
      anyBytes,
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
      async (bytes, sizes) => {
        const { source, runtime, events } = runScript({
          options: { onEnd: "end" },
          answer(body) {
            for (const piece of cutInto(bytes, sizes)) body.push(Buffer.from(piece));
            body.push(null);
          },
        });
        expect((await runtime.resolve(source.ended)).reason).toBe("ended");
        const expected = readBySpec(bytes)
          .filter((told): told is ToldEvent => "event" in told && !told.event.includes("\0"))
          .map(({ event, data }, index) => ({ event, data, lastEventId: `e.${index + 1}` }));
        const frames = events.map(({ fields }, index) => framed(fields, `e.${index + 1}`));
        const output = concat(...frames);
        expect(readBySpec(output)).toEqual(expected);
        expect(readByParser([decodeAll(output)])).toEqual(expected);
        expect(events.map(({ event }) => event)).toEqual(expected.map(({ event }) => event));
        seen.events += expected.length;
      },
    ),
    { numRuns: 500 },
  );
  // Else it would have compared nothing with nothing.
  expect(seen.events).toBeGreaterThan(500);
});

/** As the log frames what it appends. */
function framed(fields: Uint8Array, id: string): Uint8Array {
  const frame = new Uint8Array(frameBytes(fields, id));
  writeFrame(frame, 0, fields, id);
  return frame;
}
