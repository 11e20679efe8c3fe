import { describe, expect, test } from "vitest";
import { Numbering, check } from "../../src/testing/index.ts";
import type { HistoryRecord } from "../../src/testing/index.ts";

type Entry = Extract<HistoryRecord, { type: "event" }>;

const EVENTS = 12;

/** One publisher, twelve acknowledged events, and a reader that has read them over two connections. */
function soundRun(): HistoryRecord[] {
  const numbering = new Numbering("a#1");
  const published: HistoryRecord[] = [];
  const read: HistoryRecord[] = [open("earliest"), { type: "primer", reader: "r", id: "e.0" }];
  for (let n = 1; n <= EVENTS; n += 1) {
    const data = numbering.next();
    const id = `e.${n * 2}`;
    published.push(publish(n, id, n));
    // The cut in the middle: resumed with the last id, a primer at exactly that place.
    if (n === 7) read.push(open("e.12"), { type: "primer", reader: "r", id: "e.12" });
    read.push({ type: "event", reader: "r", topic: "a", id, data });
  }
  return [...published, ...read, { type: "settled", reader: "r" }];
}

function open(cursor: string, reader = "r", topics = ["a"]): HistoryRecord {
  return { type: "open", reader, topics, cursor };
}

function publish(n: number, id: string | undefined, at: number): HistoryRecord {
  const outcome = id === undefined ? "unknown" : "ok";
  const times = { startedAt: at, endedAt: at + 0.5 };
  const ids = { first: id, last: id };
  return {
    type: "publish",
    publisher: "a#1",
    topic: "a",
    from: n,
    to: n,
    outcome,
    ...ids,
    ...times,
  };
}

/** The record of event `n` as the reader saw it. */
function at(history: HistoryRecord[], n: number): number {
  return history.findIndex((record) => record.type === "event" && record.id === `e.${n * 2}`);
}

const PLANTS: Record<string, (history: HistoryRecord[]) => void> = {
  "an event is dropped": (history) => void history.splice(at(history, 4), 1),
  "the last event is dropped": (history) => void history.splice(at(history, EVENTS), 1),
  "the first event is dropped": (history) => void history.splice(at(history, 1), 1),
  "an event comes twice": (history) => {
    const index = at(history, 4);
    history.splice(index, 0, history[index] as Entry);
  },
  "an event comes again on the next connection": (history) => {
    history.splice(at(history, 7), 0, history[at(history, 6)] as Entry);
  },
  "two events change places": (history) => {
    const index = at(history, 4);
    history.splice(index, 2, history[index + 1] as Entry, history[index] as Entry);
  },
  "two payloads change ids": (history) => {
    const [first, second] = [at(history, 4), at(history, 5)];
    const [a, b] = [history[first] as Entry, history[second] as Entry];
    history[first] = { ...a, data: b.data };
    history[second] = { ...b, data: a.data };
  },
  "the resume begins one event too late": (history) => {
    const index = history.findIndex(({ type }, place) => type === "primer" && place > EVENTS + 2);
    history[index] = { type: "primer", reader: "r", id: "e.14" };
    history.splice(at(history, 7), 1);
  },
  "the resume begins one event too early": (history) => {
    const index = history.findIndex(({ type }, place) => type === "primer" && place > EVENTS + 2);
    history[index] = { type: "primer", reader: "r", id: "e.10" };
  },
  "a payload is somebody else's": (history) => {
    const index = at(history, 4);
    const data = new Numbering("b#1").next();
    history[index] = { ...(history[index] as Entry), data };
  },
  "an event is of a topic that was not asked for": (history) => {
    const index = at(history, 4);
    history[index] = { ...(history[index] as Entry), topic: "b" };
  },
  "events behind a gap are missing": (history) => {
    const gap = { reason: "trimmed", from: "e.14", to: "e.18", topics: ["a"] };
    history.splice(at(history, 8), 3, { type: "gap", reader: "r", gap });
  },
  "a gap of another topic hides a loss": (history) => {
    const gap = { reason: "trimmed", from: "e.6", to: "e.8", topics: ["b"] };
    history.splice(at(history, 4), 1, { type: "gap", reader: "r", gap });
  },
  "another epoch is spoken without a gap": (history) => {
    const index = at(history, 4);
    history[index] = { ...(history[index] as Entry), id: "f.8" };
  },
  "a foreign cursor is continued as if it were ours": (history) => {
    const index = history.findIndex(({ type }) => type === "open");
    history[index] = open("other.3");
  },
  "an acknowledged event is seen by nobody": (history) => {
    history.splice(EVENTS, 0, publish(EVENTS + 1, "e.26", 99));
  },
  "an id is used again for another payload": (history) => {
    const again = history.filter(
      (record) => record.type !== "publish" && record.type !== "settled",
    );
    const numbering = new Numbering("a#1");
    for (const record of again) {
      if (record.type !== "event") history.push({ ...record, reader: "s" } as HistoryRecord);
      else history.push({ ...record, reader: "s", data: numbering.next({ more: true }) });
    }
  },
  "an event of a refused publish is seen": (history) => {
    history[3] = {
      ...(history[3] as Extract<HistoryRecord, { type: "publish" }>),
      outcome: "failed",
    };
  },
  "an event that nobody published is seen": (history) => void history.splice(3, 1),
  "an event is seen under another id than was acknowledged": (history) => {
    history[3] = publish(4, "e.9", 4);
  },
  "a later publish comes before an earlier one": (history) => {
    for (const n of [4, 5]) history[n - 1] = publish(n, `e.${n * 2}`, 100 - n);
  },
  "an unknown publish is seen by one reader and not by another": (history) => {
    history[4] = publish(5, undefined, 5);
    const numbering = new Numbering("a#1");
    history.push(open("earliest", "s"), { type: "primer", reader: "s", id: "e.0" });
    for (let n = 1; n <= EVENTS; n += 1) {
      const event = { type: "event", reader: "s", topic: "a", id: `e.${n * 2}` } as const;
      const data = numbering.next();
      if (n !== 5) history.push({ ...event, data });
    }
  },
  "a bookmark is beyond what was delivered": (history) => {
    history.splice(at(history, 4), 1, { type: "primer", reader: "r", id: "e.8" });
  },
};

describe("the checker", () => {
  test("finds nothing wrong with a sound run", () => {
    const verdict = check(soundRun());
    expect(verdict.failures).toEqual([]);
    expect(verdict).toMatchObject({ isSound: true, published: EVENTS, delivered: EVENTS });
  });

  test("accepts what a gap told, on the whole or for its topics", () => {
    const history = soundRun();
    const gap = { reason: "trimmed", from: "e.6", to: "e.10", topics: ["a"] };
    history.splice(at(history, 4), 2, { type: "gap", reader: "r", gap });
    const verdict = check(history);
    expect(verdict.failures).toEqual([]);
    expect(verdict.gapsTold).toBe(1);
  });

  test("accepts an unknown publish that nobody saw, and one that all saw", () => {
    for (const isSeen of [true, false]) {
      const history = soundRun();
      history[4] = publish(5, undefined, 5);
      if (!isSeen) history.splice(at(history, 5), 1);
      expect(check(history).failures).toEqual([]);
    }
  });

  test.each(Object.entries(PLANTS))("catches that %s", (_name, plant) => {
    const history = soundRun();
    plant(history);
    const verdict = check(history);
    expect(verdict.isSound).toBe(false);
    expect(verdict.failures[0]).toMatch(/^rule [1-9]: /);
  });

  test("stays linear: a million deliveries of ten thousand events take seconds, not minutes", () => {
    const numbering = new Numbering("a#1");
    const events = Array.from({ length: 10_000 }, (_, index) => {
      return { topic: "a", id: `e.${index + 1}`, data: numbering.next() };
    });
    function* history(): Generator<HistoryRecord> {
      for (let n = 1; n <= events.length; n += 1) yield publish(n, `e.${n}`, n);
      for (let reader = 0; reader < 100; reader += 1) {
        yield open("earliest", `${reader}`);
        for (const event of events) yield { type: "event", reader: `${reader}`, ...event };
      }
    }
    const startedAt = performance.now();
    expect(check(history()).failures).toEqual([]);
    expect(performance.now() - startedAt).toBeLessThan(20_000);
  });
});
