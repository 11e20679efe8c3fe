import { expect, test } from "vitest";
import { Admission } from "../../src/core/admission.ts";
import type { AdmissionOptions, Outcome } from "../../src/core/admission.ts";
import { Metrics } from "../../src/core/metrics.ts";
import { VirtualRuntime } from "../../src/testing/virtual-runtime.ts";

interface Asked {
  outcome: Outcome | undefined;
  withdraw: () => void;
}

interface World {
  readonly admission: Admission;
  readonly runtime: VirtualRuntime;
  readonly metrics: Metrics;
  /** Asks once; the outcome appears here when it is settled. */
  readonly ask: () => Asked;
  readonly open: (count: number) => void;
  readonly close: (count: number) => void;
}

function world(connectionsMax: number, options: Partial<AdmissionOptions> = {}): World {
  const runtime = new VirtualRuntime();
  const metrics = new Metrics();
  const admission = new Admission(connectionsMax, options, runtime, metrics);
  return {
    admission,
    runtime,
    metrics,
    ask() {
      const asked: Asked = { outcome: undefined, withdraw: () => {} };
      asked.withdraw = admission.ask((outcome) => (asked.outcome = outcome));
      return asked;
    },
    open(count) {
      for (let index = 0; index < count; index += 1) admission.connectionOpened();
    },
    close(count) {
      for (let index = 0; index < count; index += 1) admission.connectionClosed();
    },
  };
}

test("with 90 % of the capacity in use the next one is refused; below 85 % it is admitted again", () => {
  const { admission, metrics, ask, open, close } = world(100);
  open(90);
  expect([ask().outcome, admission.isOpen]).toEqual(["admitted", false]);
  open(1);
  expect([ask().outcome, admission.isOpen]).toEqual(["capacity", true]);
  close(6);
  expect([admission.connectionsNow, ask().outcome]).toEqual([85, "capacity"]);
  close(1);
  expect([ask().outcome, admission.isOpen]).toEqual(["admitted", false]);
  expect(metrics.get("sluice_breaker_opened_total", "capacity")).toBe(1);
  expect(metrics.get("sluice_rejected_total", "capacity")).toBe(2);
  expect(metrics.plain.sluice_admitted_total).toBe(2);
});

test.each([1, 2, 3, 10])("a capacity of %i admits at least one, and not one too many", (max) => {
  const { admission, ask, open, close } = world(max);
  let admitted = 0;
  for (let index = 0; index < max + 2; index += 1) {
    open(1);
    if (ask().outcome === "admitted") admitted += 1;
  }
  expect(admitted).toBe(Math.max(1, Math.floor(max * 0.9)));
  close(max + 2);
  expect([admission.isOpen, admission.connectionsNow]).toEqual([false, 0]);
});

test("P17 a capacity that shrinks to nothing admits nobody, and everybody when it is back", () => {
  const { admission, ask, open } = world(100);
  open(10);
  admission.resize(0);
  expect(ask().outcome).toBe("capacity");
  admission.resize(100);
  expect(ask().outcome).toBe("admitted");
});

test("closePercent above openPercent is taken as openPercent", () => {
  const { ask, open, close } = world(100, { openPercent: 50, closePercent: 90 });
  open(51);
  expect(ask().outcome).toBe("capacity");
  close(1);
  expect(ask().outcome).toBe("capacity");
  close(1);
  expect(ask().outcome).toBe("admitted");
});

test("whoever came when there was room is admitted, also if others have filled it since; but not into trouble", async () => {
  const { admission, runtime } = world(10, { perSecond: 10, burst: 2 });
  const rooms: boolean[] = [];
  for (let index = 0; index < 14; index += 1) {
    admission.connectionOpened();
    rooms.push(admission.hasRoom);
  }
  expect(rooms.filter(Boolean)).toHaveLength(9);
  const outcomes: (Outcome | undefined)[] = rooms.map(() => undefined);
  for (const [index, hasRoom] of rooms.entries()) {
    admission.ask((outcome) => (outcomes[index] = outcome), hasRoom);
  }
  expect(outcomes.slice(0, 2)).toEqual(["admitted", "admitted"]);
  expect(outcomes.slice(9)).toEqual(Array.from({ length: 5 }, () => "capacity"));
  await runtime.run(300);
  admission.observe({ loopDelayMs: 5_000, residentBytes: 0 });
  await runtime.run(1_000);
  expect(outcomes.slice(2, 5)).toEqual(["admitted", "admitted", "admitted"]);
  expect(outcomes.slice(5, 9)).toEqual(Array.from({ length: 4 }, () => "loop_delay"));
});

test("P05 a late event loop opens the breaker until it is on time again, and counts as overload", () => {
  const { admission, metrics, ask } = world(100, { loopDelayMs: 1_000 });
  const observe = (loopDelayMs: number): void =>
    admission.observe({ loopDelayMs, residentBytes: 1 });
  observe(1_000);
  expect(admission.isOverloaded).toBe(false);
  observe(3_000);
  expect([admission.isOverloaded, ask().outcome]).toEqual([true, "loop_delay"]);
  expect(metrics.plain.sluice_loop_delay_seconds).toBe(3);
  observe(500);
  expect(admission.isOverloaded).toBe(true);
  observe(499);
  expect([admission.isOverloaded, ask().outcome]).toEqual([false, "admitted"]);
  observe(5_000);
  admission.unobserved();
  expect([admission.isOpen, metrics.plain.sluice_loop_delay_seconds]).toEqual([false, 0]);
});

test("P18 resident memory opens the breaker, and 95 % of the bound closes it; a bound of 0 is none", () => {
  const bounded = world(100, { residentBytesMax: 1_000 });
  const observe = (residentBytes: number): void =>
    bounded.admission.observe({ loopDelayMs: 0, residentBytes });
  observe(1_001);
  expect([bounded.admission.isOverloaded, bounded.ask().outcome]).toEqual([true, "memory"]);
  observe(950);
  expect(bounded.ask().outcome).toBe("memory");
  observe(949);
  expect(bounded.ask().outcome).toBe("admitted");
  const unbounded = world(100);
  unbounded.admission.observe({ loopDelayMs: 0, residentBytes: 2 ** 50 });
  expect(unbounded.ask().outcome).toBe("admitted");
});

test("F13 what is beyond the burst waits and comes in order, at the rate", async () => {
  const { runtime, metrics, ask } = world(1_000, { perSecond: 100, burst: 10 });
  const order: number[] = [];
  const asked = Array.from({ length: 110 }, ask);
  const seen = new Set<number>();
  const collect = (): void => {
    for (const [index, { outcome }] of asked.entries()) {
      if (outcome === undefined || seen.has(index)) continue;
      expect(outcome).toBe("admitted");
      seen.add(index);
      order.push(index);
    }
  };
  collect();
  expect(order).toHaveLength(10);
  expect(metrics.plain.sluice_admission_waiting).toBe(100);
  for (let step = 0; step < 10; step += 1) {
    await runtime.run(100);
    collect();
    expect(order.length).toBeGreaterThanOrEqual(10 + (step + 1) * 10 - 1);
    expect(order.length).toBeLessThanOrEqual(10 + (step + 1) * 10);
  }
  await runtime.run(20);
  collect();
  expect(order).toEqual(Array.from({ length: 110 }, (_, index) => index));
  expect(metrics.plain.sluice_admission_waiting).toBe(0);
  expect(metrics.plain.sluice_admission_delayed_total).toBe(100);
  expect(metrics.plain.sluice_admitted_total).toBe(110);
});

test("whose turn cannot come in time is refused at once, not after waiting", () => {
  const { metrics, ask } = world(1_000, { perSecond: 100, burst: 10, waitMs: 500 });
  const outcomes = Array.from({ length: 100 }, () => ask().outcome);
  expect(outcomes.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => "admitted"));
  expect(outcomes.slice(10, 60)).toEqual(Array.from({ length: 50 }, () => undefined));
  expect(outcomes.slice(60)).toEqual(Array.from({ length: 40 }, () => "rate"));
  expect(metrics.plain.sluice_admission_waiting).toBe(50);
});

test("no more than waitingMax wait", () => {
  const { ask } = world(1_000, { perSecond: 100, burst: 1, waitingMax: 3 });
  const outcomes = Array.from({ length: 6 }, () => ask().outcome);
  expect(outcomes).toEqual(["admitted", undefined, undefined, undefined, "rate", "rate"]);
});

test("nobody overtakes those who wait, also when a token has come meanwhile", async () => {
  const { runtime, ask } = world(1_000, { perSecond: 10, burst: 1 });
  ask();
  const first = ask();
  await runtime.run(99);
  const second = ask();
  expect(second.outcome).toBeUndefined();
  await runtime.run(10);
  expect([first.outcome, second.outcome]).toEqual(["admitted", undefined]);
});

test("a waiter whose client goes gives its place to the next, and costs no token", async () => {
  const { runtime, metrics, ask } = world(1_000, { perSecond: 10, burst: 1 });
  ask();
  const [gone, next] = [ask(), ask()];
  gone.withdraw();
  expect(metrics.plain.sluice_admission_waiting).toBe(1);
  await runtime.run(110);
  expect([gone.outcome, next.outcome]).toEqual([undefined, "admitted"]);
});

test("after waiting the breaker is asked again", async () => {
  const { runtime, admission, ask, open } = world(10, { perSecond: 10, burst: 1 });
  ask();
  const waiting = ask();
  open(10);
  expect(waiting.outcome).toBeUndefined();
  await runtime.run(110);
  expect([waiting.outcome, admission.isOpen]).toEqual(["capacity", true]);
});

test("P11 a subscription that waits when the drain begins is refused at once, and every later one", () => {
  const { runtime, admission, metrics, ask } = world(10, { perSecond: 10, burst: 1 });
  ask();
  const waiting = ask();
  admission.drain();
  expect([waiting.outcome, ask().outcome, admission.isOpen]).toEqual([
    "draining",
    "draining",
    true,
  ]);
  expect(metrics.plain.sluice_admission_waiting).toBe(0);
  expect(runtime.timersNow).toBe(0);
});

test("ten thousand wait on one timer", async () => {
  const { runtime, ask } = world(100_000, { perSecond: 2_500, burst: 500 });
  const asked = Array.from({ length: 10_000 }, ask);
  expect(runtime.timersNow).toBe(1);
  await runtime.run(3_900);
  expect(asked.every(({ outcome }) => outcome === "admitted")).toBe(true);
  expect(runtime.timersNow).toBe(0);
});
