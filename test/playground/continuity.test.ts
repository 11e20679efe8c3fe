import { expect, test } from "vitest";
import { Continuity, Ledger, placeOf } from "../../web/assets/continuity.ts";
import { topicProblem } from "../../web/assets/topic.ts";

function world(...published: string[]): { ledger: Ledger; reader: Continuity } {
  const ledger = new Ledger();
  for (const id of published) ledger.add(id);
  return { ledger, reader: new Continuity(ledger) };
}

test("an id that was published here and passed over is lost; holes in the numbers are not", () => {
  const { reader } = world("e.2", "e.5", "e.9");
  reader.startAt("e.1");
  reader.saw("e.2");
  expect(reader.lost).toBe(0);
  reader.saw("e.9");
  expect([reader.lost, reader.repeated]).toEqual([1, 0]);
});

test("what lies before the reader's beginning was never its to receive", () => {
  const { reader } = world("e.1", "e.2");
  reader.startAt("e.2");
  reader.saw("e.3");
  expect(reader.lost).toBe(0);
});

test("an event that comes again, or behind a newer one, is repeated", () => {
  const { reader } = world();
  for (const id of ["e.1", "e.2", "e.2", "e.1"]) reader.saw(id);
  expect(reader.repeated).toBe(2);
});

test("a stretch is judged by what was published in it: received, on its way, or lost", () => {
  const { reader, ledger } = world("e.1", "e.2", "e.3", "e.4");
  reader.startAt("e.0");
  reader.saw("e.1");
  const [from, to] = [placeOf("e.1"), ledger.head];
  if (from === undefined || to === undefined) throw new Error("both are ids");
  expect(reader.judge(from, to)).toEqual({ published: 3, received: 0, lost: 0, awaited: 3 });
  reader.saw("e.3");
  expect(reader.judge(from, to)).toEqual({ published: 3, received: 1, lost: 1, awaited: 1 });
});

test("an answer may come later than its event, and answers in any order", () => {
  const { reader, ledger } = world();
  for (const id of ["e.1", "e.2"]) reader.saw(id);
  for (const id of ["e.2", "e.1"]) ledger.add(id);
  expect([reader.lost, ledger.head]).toEqual([0, { epoch: "e", seq: 2 }]);
});

test("another epoch is another log", () => {
  const { reader } = world("e.7", "f.1");
  reader.saw("e.7");
  reader.saw("f.1");
  expect([reader.lost, reader.repeated]).toEqual([0, 0]);
});

test("a reader of more events than it remembers claims nothing about the forgotten ones", () => {
  const { reader } = world("e.1");
  reader.startAt("e.0");
  for (let seq = 1; seq <= 10_050; seq += 1) reader.saw(`e.${seq}`);
  expect([reader.lost, reader.repeated]).toEqual([0, 0]);
});

test.each([
  ["orders/eu:7~x@y.z", undefined],
  ["", "needs a name"],
  ["a//b", "empty"],
  ["a/../b", '".."'],
  ["a b", "Only letters"],
  ["ü", "Only letters"],
  ["x".repeat(256), "255"],
  [Array.from({ length: 33 }, () => "a").join("/"), "32"],
])("the page judges the topic name %j as the gateway does", (name, problem) => {
  if (problem === undefined) expect(topicProblem(name)).toBeUndefined();
  else expect(topicProblem(name)).toContain(problem);
});
