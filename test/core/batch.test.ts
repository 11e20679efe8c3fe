import { expect, test } from "vitest";
import { batchOf } from "../../src/core/batch.ts";
import { TOPIC_DEFAULTS } from "../../src/core/settings.ts";
import { TopicLog } from "../../src/core/topic-log.ts";
import { MemoryAccount } from "../../src/internal/account.ts";
import { encodeFields } from "../../src/wire/frame.ts";

const PRELUDE = [Buffer.from("retry: 1\n\n"), Buffer.from("id: x\n\n")];

/** A log whose events have data of `sizes`, and its publications. */
function logOf(sizes: readonly number[], name = "t") {
  const log = new TopicLog(name, TOPIC_DEFAULTS, 0, 0, new MemoryAccount());
  return sizes.map((size, index) => {
    const fields = encodeFields(undefined, `${index} `.padEnd(size, "x"));
    const entry = { seq: index + 1, id: `e-${index + 1}`, fields, kind: "event", at: 0 } as const;
    return log.append({ ...entry, key: undefined }, 0);
  });
}

/** What the batch must say, put together one by one. */
function textOf(publications: ReturnType<typeof logOf>, prelude: readonly Buffer[] = []): string {
  const frames = publications.map((publication) => {
    const frame = Buffer.alloc(publication.bytes);
    publication.copyTo(frame, 0, "plain");
    return frame;
  });
  return Buffer.concat([...prelude, ...frames]).toString();
}

function chunkOf(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
}

const isOfLog = (piece: Buffer, publications: ReturnType<typeof logOf>): boolean =>
  publications.some(({ memory }) => memory.buffer === piece.buffer);

test.each([
  ["one small event", [100]],
  ["many small events", Array.from({ length: 100 }, () => 100)],
  ["a large batch over several blocks", Array.from({ length: 400 }, () => 1_000)],
  ["one large event", [50_000]],
  ["one that is larger than a batch", [500_000]],
  ["an odd lot", [1, 20_000, 3, 40_000, 5]],
])("a batch of %s has the same frames and the same chunk however it is made", (_name, sizes) => {
  const publications = logOf(sizes);
  for (let from = 0; from < publications.length; from += 67) {
    const some = publications.slice(from, from + 66);
    for (const prelude of [[], PRELUDE]) {
      const batch = batchOf(some, "plain", prelude);
      const text = textOf(some, prelude);
      expect(batch.frames.toString()).toBe(text);
      expect(Buffer.concat(batch.chunk).toString()).toBe(chunkOf(text));
      expect([batch.bytes, batch.count]).toEqual([Buffer.byteLength(text), some.length]);
    }
  }
});

test("F15 a large batch copies nothing out of the log, and holds at most twice its bytes of it", () => {
  const publications = logOf(Array.from({ length: 2_000 }, () => 1_000));
  let referred = 0;
  for (let from = 600; from + 66 < publications.length; from += 13) {
    const some = publications.slice(from, from + 66);
    const { chunk, bytes } = batchOf(some, "plain", PRELUDE);
    if (chunk.length === 1) continue;
    referred += 1;
    const [head, ...rest] = chunk;
    expect(head?.length).toBeLessThan(100);
    expect(rest.pop()?.toString()).toBe("\r\n");
    expect(rest.every((piece) => isOfLog(piece, some))).toBe(true);
    const held = new Set(rest.map(({ buffer }) => buffer));
    expect([...held].reduce((sum, { byteLength }) => sum + byteLength, 0)).toBeLessThanOrEqual(
      2 * bytes,
    );
  }
  expect(referred).toBeGreaterThan(80);
});

test("a small batch has memory of its own: what waits in a slow connection holds no block of the log", () => {
  const publications = logOf(Array.from({ length: 1_000 }, () => 1_000));
  for (const some of [publications.slice(-1), publications.slice(-10)]) {
    const { chunk } = batchOf(some, "plain");
    expect([chunk.length, chunk.some((piece) => isOfLog(piece, some))]).toEqual([1, false]);
  }
});

test("a batch of topics that take turns is copied: each event would be a piece", () => {
  const sizes = Array.from({ length: 40 }, () => 1_000);
  const [a, b] = [logOf(sizes, "a"), logOf(sizes, "b")];
  const mixed = a.flatMap((publication, index) => [publication, b[index] ?? publication]);
  const { chunk, frames } = batchOf(mixed, "plain");
  expect(chunk).toHaveLength(1);
  expect(frames.toString()).toBe(textOf(mixed));
});
