// A model of the admission: what any sequence of arrivals, departures, load and time may lead to.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Admission } from "../../src/core/admission.ts";
import type { Outcome } from "../../src/core/admission.ts";
import { Metrics } from "../../src/core/metrics.ts";
import { VirtualRuntime } from "../../src/testing/virtual-runtime.ts";

const RATE = { perSecond: 100, burst: 5, waitMs: 200, waitingMax: 12 };
const LOAD = { loopDelayMs: 1_000, residentBytesMax: 1_000 };
/** Waiters are looked after so often at least, in milliseconds, rounding included. */
const TURN_MS = 11;

interface Asked {
  readonly at: number;
  readonly withdraw: () => void;
  outcome: Outcome | undefined;
  hasGone: boolean;
}

/** The real thing, and what was seen of it. */
class Real {
  readonly runtime = new VirtualRuntime();
  readonly metrics = new Metrics();
  readonly admission = new Admission(20, { ...RATE, ...LOAD }, this.runtime, this.metrics);
  readonly asked: Asked[] = [];
  readonly admittedAt: number[] = [];

  get waiting(): Asked[] {
    return this.asked.filter(({ outcome, hasGone }) => outcome === undefined && !hasGone);
  }

  ask(hasRoom: boolean): Asked {
    const asked: Asked = {
      at: this.runtime.now(),
      outcome: undefined,
      hasGone: false,
      withdraw: () => withdraw(),
    };
    // Now, or later: also then it is in the list, in the order of asking.
    this.asked.push(asked);
    const withdraw = this.admission.ask((outcome) => {
      expect([asked.outcome, asked.hasGone]).toEqual([undefined, false]);
      const isFirst = this.waiting[0] === asked;
      if (outcome === "admitted") {
        expect(isFirst, "in the order of asking").toBe(true);
        this.admittedAt.push(this.runtime.now());
      }
      asked.outcome = outcome;
    }, hasRoom);
    return asked;
  }

  check(model: Model): void {
    const { plain } = this.metrics;
    expect(this.admission.connectionsNow).toBe(model.connections);
    expect(plain.sluice_connections).toBe(model.connections);
    expect(plain.sluice_admission_waiting).toBe(this.waiting.length);
    expect(this.waiting.length).toBeLessThanOrEqual(RATE.waitingMax);
    expect(this.runtime.timersNow).toBe(this.waiting.length > 0 ? 1 : 0);
    expect(plain.sluice_breaker_open).toBe(model.isLate || model.isFull || model.isLarge ? 1 : 0);
    expect(this.admission.isOpen).toBe(model.isRefusing);
    const oldest = this.waiting[0];
    if (oldest !== undefined) {
      expect(this.runtime.now() - oldest.at).toBeLessThanOrEqual(RATE.waitMs + TURN_MS);
    }
    const counted = this.asked.filter(({ outcome }) => outcome === "admitted").length;
    expect(plain.sluice_admitted_total).toBe(counted);
    // Between any two admissions no more than the bucket allows; the last ones stand for all.
    const [first, last] = [this.admittedAt.at(-40), this.admittedAt.at(-1)];
    if (first !== undefined && last !== undefined) {
      const allowed = RATE.burst + ((last - first) * RATE.perSecond) / 1_000;
      expect(40).toBeLessThanOrEqual(allowed + 1);
    }
  }
}

/** What it should be, said in another way. */
class Model {
  connections = 0;
  capacity = 20;
  isFull = false;
  isLate = false;
  isLarge = false;
  isDraining = false;

  get isRefusing(): boolean {
    return this.isInTrouble || this.isFull;
  }

  /** Also for those who came when there was room. */
  get isInTrouble(): boolean {
    return this.isDraining || this.isLate || this.isLarge;
  }

  judge(): void {
    const share = this.connections / this.capacity;
    if (this.isFull && share < 0.85) this.isFull = false;
    else if (!this.isFull && this.connections > Math.floor(this.capacity * 0.9)) this.isFull = true;
  }
}

type Command = fc.AsyncCommand<Model, Real>;

function command(
  name: string,
  run: (model: Model, real: Real) => void | Promise<void>,
  check: (model: Model) => boolean = () => true,
): Command {
  return {
    check,
    async run(model, real) {
      await run(model, real);
      real.check(model);
    },
    toString: () => name,
  };
}

const open = (count: number): Command =>
  command(`open(${count})`, (model, { admission }) => {
    for (let index = 0; index < count; index += 1) {
      model.connections += 1;
      admission.connectionOpened();
      model.judge();
    }
  });

const close = (count: number): Command =>
  command(
    `close(${count})`,
    (model, { admission }) => {
      for (let index = 0; index < count; index += 1) {
        model.connections -= 1;
        admission.connectionClosed();
        model.judge();
      }
    },
    ({ connections }) => connections >= count,
  );

const ask = (count: number, hasRoom: boolean): Command =>
  command(`ask(${count}, ${hasRoom})`, (model, real) => {
    const isRefusing = hasRoom ? model.isInTrouble : model.isRefusing;
    for (let index = 0; index < count; index += 1) {
      const before = real.waiting.length;
      const { outcome } = real.ask(hasRoom);
      if (isRefusing) expect(["admitted", "rate", undefined]).not.toContain(outcome);
      else expect(["admitted", "rate", undefined]).toContain(outcome);
      if (outcome === "admitted") expect(before).toBe(0);
    }
  });

const withdraw = (pick: number): Command =>
  command(`withdraw(${pick})`, (_model, real) => {
    const asked = real.waiting[pick % Math.max(1, real.waiting.length)];
    if (asked === undefined) return;
    asked.hasGone = true;
    asked.withdraw();
    asked.withdraw();
  });

const pass = (ms: number): Command =>
  command(`pass(${ms})`, async (_model, { runtime }) => runtime.run(ms));

const load = (loopDelayMs: number, residentBytes: number): Command =>
  command(`load(${loopDelayMs}, ${residentBytes})`, (model, { admission }) => {
    admission.observe({ loopDelayMs, residentBytes });
    model.isLate = model.isLate ? loopDelayMs >= 500 : loopDelayMs > 1_000;
    model.isLarge = model.isLarge ? residentBytes >= 950 : residentBytes > 1_000;
  });

const resize = (capacity: number): Command =>
  command(`resize(${capacity})`, (model, { admission }) => {
    admission.resize(capacity);
    model.capacity = capacity;
    model.judge();
  });

const drain = (): Command =>
  command("drain", (model, real) => {
    const { waiting } = real;
    real.admission.drain();
    model.isDraining = true;
    for (const { outcome } of waiting) expect(outcome).toBe("draining");
  });

const commands = fc.commands(
  [
    fc.integer({ min: 1, max: 6 }).map(open),
    fc.integer({ min: 1, max: 6 }).map(close),
    fc.integer({ min: 1, max: 10 }).map((count) => ask(count, false)),
    fc.integer({ min: 1, max: 10 }).map((count) => ask(count, true)),
    fc.nat(20).map(withdraw),
    fc.integer({ min: 1, max: 120 }).map(pass),
    fc
      .tuple(fc.constantFrom(0, 600, 2_000), fc.constantFrom(1, 970, 1_200))
      .map((it) => load(...it)),
    fc.constant(load(0, 0)),
    fc.constantFrom(10, 20, 40).map(resize),
    fc.constant(undefined).map(drain),
  ],
  { maxCommands: 60 },
);

test("law 23 P11 whatever comes, goes, waits and drains: order and rate hold, each is told once, and all gauges end at zero", async () => {
  await fc.assert(
    fc.asyncProperty(commands, async (sequence) => {
      const real = new Real();
      const model = new Model();
      await fc.asyncModelRun(() => ({ model, real }), sequence);
      await real.runtime.run(RATE.waitMs + TURN_MS);
      expect(real.waiting).toEqual([]);
      while (model.connections > 0) {
        model.connections -= 1;
        real.admission.connectionClosed();
        model.judge();
      }
      real.admission.observe({ loopDelayMs: 0, residentBytes: 0 });
      const { plain } = real.metrics;
      expect(plain.sluice_connections).toBe(0);
      expect(plain.sluice_admission_waiting).toBe(0);
      expect(plain.sluice_breaker_open).toBe(0);
      expect(real.runtime.timersNow).toBe(0);
      expect(real.admission.isOpen).toBe(model.isDraining);
    }),
    { numRuns: 300 },
  );
});
