import { expect, test } from "vitest";
import { Circuit } from "../../../src/upstreams/pool/circuit.ts";

function circuit(): { circuit: Circuit; opened: () => number } {
  let opened = 0;
  const options = { failures: 3, withinMs: 10_000, openMs: 5_000 };
  return { circuit: new Circuit(options, () => void (opened += 1)), opened: () => opened };
}

test("So many failures within the time open it; one success between them forgives all", () => {
  const { circuit: one, opened } = circuit();
  one.failed("pass", 0);
  one.failed("pass", 1);
  one.succeeded("pass");
  one.failed("pass", 2);
  one.failed("pass", 3);
  expect(one.state(3)).toBe("closed");
  one.failed("pass", 4);
  expect([one.state(4), one.isRefusing(4), one.waitMs(1_004), opened()]).toEqual([
    "open",
    true,
    4_000,
    1,
  ]);
});

test("Failures that are far apart do not", () => {
  const { circuit: one } = circuit();
  for (let index = 0; index < 20; index += 1) one.failed("pass", index * 5_001);
  expect(one.state(100_020)).toBe("closed");
});

test("Half open it lets one through; its failure opens it for as long again", () => {
  const { circuit: one, opened } = circuit();
  for (let index = 0; index < 3; index += 1) one.failed("pass", 0);
  expect(one.enter(4_999)).toBe("refused");
  expect([one.state(5_000), one.enter(5_000), one.enter(5_000)]).toEqual([
    "half_open",
    "probe",
    "refused",
  ]);
  one.failed("probe", 6_000);
  expect([one.enter(10_999), one.enter(11_000), opened()]).toEqual(["refused", "probe", 2]);
  one.succeeded("probe");
  expect([one.state(11_000), one.enter(11_000)]).toEqual(["closed", "pass"]);
});

test("What was sent before it opened neither closes it nor opens it again", () => {
  const { circuit: one, opened } = circuit();
  for (let index = 0; index < 5; index += 1) one.failed("pass", 0);
  one.succeeded("pass");
  expect([one.state(1), opened()]).toEqual(["open", 1]);
});

test("A request that ends without a word about the origin lets the next one try", () => {
  const { circuit: one } = circuit();
  for (let index = 0; index < 3; index += 1) one.failed("pass", 0);
  expect(one.enter(5_000)).toBe("probe");
  one.withdrawn("probe");
  expect(one.enter(5_000)).toBe("probe");
});
