import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Pattern } from "../../src/core/pattern.ts";
import { Routes, SEEN_MAX } from "../../src/core/routes.ts";
import { SELECTION_MAX, selectTopics } from "../../src/core/selection.ts";
import type { Subscriber } from "../../src/core/subscriber.ts";
import { TOPIC_BYTES_MAX, TOPIC_SEGMENTS_MAX, checkTopicName } from "../../src/core/topic-name.ts";

const segment = fc.constantFrom("a", "b", "ab", "a.b", "~", ":@-_", "0");
const name = fc.array(segment, { minLength: 1, maxLength: 6 }).map((parts) => parts.join("/"));
const pattern = fc
  .tuple(fc.array(fc.oneof(segment, fc.constant("*")), { maxLength: 5 }), fc.boolean())
  .map(([parts, hasTail]) => [...parts, ...(hasTail ? ["**"] : [])])
  .filter((parts) => parts.length > 0)
  .map((parts) => parts.join("/"));

function matchesNaively(text: string, topic: string): boolean {
  const [patterns, parts] = [text.split("/"), topic.split("/")];
  if (patterns.at(-1) === "**") {
    const fixed = patterns.slice(0, -1);
    return (
      parts.length > fixed.length && fixed.every((one, at) => one === "*" || one === parts[at])
    );
  }
  return (
    parts.length === patterns.length &&
    patterns.every((one, at) => one === "*" || one === parts[at])
  );
}

describe("topic patterns", () => {
  test("match as segment by segment comparison does (S17)", () => {
    fc.assert(
      fc.property(pattern, name, (text, topic) => {
        expect(Pattern.parse(text).matches(topic)).toBe(matchesNaively(text, topic));
      }),
      { numRuns: 2_000 },
    );
  });

  test("match in time linear in the topic, whatever the pattern (S17)", () => {
    const worst = Pattern.parse(
      [...Array<string>(TOPIC_SEGMENTS_MAX - 1).fill("*"), "b"].join("/"),
    );
    const topic = `${"a/".repeat(TOPIC_SEGMENTS_MAX - 1)}c`;
    let steps = 0;
    // Every look at the topic is an indexOf that starts behind the one before: count them.
    const counted = new Proxy(new String(topic), {
      get(target, key) {
        const value: unknown = Reflect.get(target, key);
        if (typeof value !== "function") return value;
        steps += 1;
        return value.bind(target) as unknown;
      },
    }) as unknown as string;
    expect(worst.matches(counted)).toBe(false);
    expect(steps).toBeLessThanOrEqual(TOPIC_SEGMENTS_MAX * 2);
  });

  test.each(["a**", "**/a", "a/**/b", "*a", "a/*b", "a//*", "*/", "/*", "../*", "*/.", "***", ""])(
    "%j is refused",
    (text) => {
      expect(() => Pattern.parse(text)).toThrow(
        expect.objectContaining({ code: "topic_pattern_invalid" }),
      );
    },
  );
});

describe("topic names", () => {
  test("are 1 to 255 bytes of 32 segments at most", () => {
    expect(checkTopicName("a".repeat(TOPIC_BYTES_MAX))).toHaveLength(TOPIC_BYTES_MAX);
    expect(checkTopicName("A-z.0_~:@/b")).toBe("A-z.0_~:@/b");
    const many = Array<string>(TOPIC_SEGMENTS_MAX + 1).fill("a");
    const bad = [
      "",
      "a".repeat(256),
      many.join("/"),
      "/a",
      "a/",
      "a//b",
      ".",
      "a/..",
      "é",
      "a b",
      "a*",
    ];
    for (const text of [...bad, "a\n", "a\0", "%41", "a?b"]) {
      expect(() => checkTopicName(text), JSON.stringify(text)).toThrow(
        expect.objectContaining({ code: "topic_name_invalid" }),
      );
    }
  });

  test("a selection has each once, and 1 to 1,000 of them", () => {
    const { names, patterns } = selectTopics(["a", "b/*", "a", "b/*", "*"]);
    expect([names, patterns.map(({ text }) => text)]).toEqual([["a"], ["b/*", "*"]]);
    const many = Array.from({ length: SELECTION_MAX + 1 }, (_, index) => `t${index}`);
    for (const texts of [[], many]) {
      expect(() => selectTopics(texts)).toThrow(
        expect.objectContaining({ code: "topics_count_invalid" }),
      );
    }
  });
});

test("routes agree with asking everybody, whoever comes and goes, and none is left", () => {
  const selections = fc.array(fc.oneof(pattern, name), { minLength: 1, maxLength: 4 });
  const step = fc.oneof(
    fc.record({ do: fc.constant("add" as const), selection: selections.map(selectTopics) }),
    fc.record({ do: fc.constant("remove" as const), index: fc.nat() }),
    fc.record({ do: fc.constant("find" as const), topic: name }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const routes = new Routes();
      const readers: Subscriber[] = [];
      for (const one of steps) {
        if (one.do === "add") {
          const reader = { selection: one.selection } as Subscriber;
          readers.push(reader);
          routes.add(reader);
        } else if (one.do === "remove") {
          const [reader] = readers.splice(one.index % Math.max(1, readers.length), 1);
          if (reader !== undefined) routes.remove(reader);
        } else {
          const route = routes.find(one.topic);
          const found = new Set(route?.audiences.flatMap(({ subscribers }) => [...subscribers]));
          const asked = readers.filter(
            ({ selection: { names, patterns } }) =>
              names.includes(one.topic) || patterns.some((each) => each.matches(one.topic)),
          );
          expect(found).toEqual(new Set(asked));
        }
      }
      for (const reader of readers) routes.remove(reader);
      expect(routes.size).toBe(0);
    }),
  );
});

test("routes of topics that nobody named are bounded, and matched anew when they come back", () => {
  const routes = new Routes();
  const reader = { selection: selectTopics(["job/**"]) } as Subscriber;
  routes.add(reader);
  for (let index = 0; index < SEEN_MAX * 2; index += 1) {
    expect(routes.find(`job/${index}`)?.audiences).toHaveLength(2);
    expect(routes.find(`other/${index}`)).toBeUndefined();
  }
  expect(routes.size).toBeLessThanOrEqual(SEEN_MAX);
  expect(routes.find("job/0")?.audiences).toHaveLength(2);
  routes.remove(reader);
  expect(routes.size).toBe(0);
});
