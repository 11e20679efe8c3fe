import { describe, expect, test } from "vitest";
import { SluiceError } from "../../../src/core/errors.ts";
import type { EventInput } from "../../../src/core/event.ts";
import { feedTenant } from "../../../src/core/feed-tenant.ts";
import { fromIterable } from "../../../src/upstreams/runs/producers.ts";
import { RunRegistry, runsOf } from "../../../src/upstreams/runs/registry.ts";
import type { StartRun } from "../../../src/upstreams/runs/registry.ts";
import type { Produce, Run, RunSink } from "../../../src/upstreams/runs/run.ts";
import { UnsteadyBroker } from "../../../src/testing/index.ts";
import { encodeFields } from "../../../src/wire/frame.ts";
import { Bench, texts } from "../../core/bench.ts";
import type { BenchOptions, Client } from "../../core/bench.ts";

/** A run whose producer the test plays. */
class Stage {
  readonly bench: Bench;
  readonly registry: RunRegistry;
  sink: RunSink | undefined;
  signal: AbortSignal | undefined;
  starts = 0;
  done = (): void => {};
  fail = (_error: unknown): void => {};
  readonly produce: Produce = (sink, signal) => {
    this.starts += 1;
    this.sink = sink;
    this.signal = signal;
    return new Promise((resolve, reject) => {
      this.done = resolve;
      this.fail = reject;
    });
  };

  constructor(options: BenchOptions = {}) {
    this.bench = new Bench(options);
    this.registry = new RunRegistry(this.bench.hub, this.bench.runtime);
  }

  async start(start: Partial<StartRun> = {}): Promise<Run> {
    const { run } = this.registry.start({ tenant: "t", produce: this.produce, ...start });
    await this.bench.runtime.runTurns();
    return run;
  }

  say(...all: readonly string[]): void {
    for (const text of all) void this.sink?.append(encodeFields(undefined, text));
  }

  read(run: Run, start = "earliest"): Promise<Client> {
    return this.bench.join(run.topic, { tenant: feedTenant(run.tenant), start });
  }
}

const same = (event: EventInput): EventInput => event;

const errorOf = (client: Client): unknown =>
  client.events.filter(({ event }) => event === "error").map(({ data }) => JSON.parse(data));

describe("a run", () => {
  test("R03 law 14 goes on without readers, and its end is stored and delivered exactly once", async () => {
    const stage = new Stage();
    const run = await stage.start();
    const early = await stage.read(run);
    stage.say("1", "2");
    await stage.bench.runtime.runTurns();
    early.subscriber.end("closed_by_operator");
    stage.say("3");
    stage.done();
    await stage.bench.runtime.resolve(run.ended);
    // What comes behind the end is nobody's.
    stage.say("4");
    const late = await stage.read(run, early.lastEventId);
    const whole = await stage.read(run);
    await stage.bench.runtime.runTurns();
    expect(early.data).toEqual(["1", "2"]);
    expect(late.data.slice(0, 1)).toEqual(["3"]);
    expect(whole.data.slice(0, 3)).toEqual(["1", "2", "3"]);
    for (const client of [late, whole]) {
      expect(client.events.filter(({ event }) => event === "end")).toHaveLength(1);
      expect(JSON.parse(client.data.at(-1) ?? "")).toMatchObject({ reason: "done" });
      expect(client.subscriber.state).toBe("closed");
    }
    expect(run.state).toBe("done");
    expect(stage.bench.hub.metrics.get("sluice_runs_total", "done")).toBe(1);
  });

  test("law 14 whatever comes together at its end, there is one end", async () => {
    const ends: ((stage: Stage, run: Run) => void)[] = [
      (stage) => stage.done(),
      (stage) => stage.fail(new Error("no")),
      (_stage, run) => void run.stop(),
      (_stage, run) => void run.fail(new SluiceError("upstream_lost", "gone")),
      (stage) => stage.registry.shutdown(),
    ];
    for (const first of ends) {
      for (const second of ends) {
        const stage = new Stage();
        const run = await stage.start();
        const reader = await stage.read(run);
        first(stage, run);
        second(stage, run);
        await stage.bench.runtime.runTurns();
        await stage.bench.runtime.resolve(run.ended);
        expect(reader.events.filter(({ event }) => event === "end")).toHaveLength(1);
        expect(reader.events.filter(({ event }) => event === "error").length).toBeLessThanOrEqual(
          1,
        );
        expect(reader.events.at(-1)?.event).toBe("end");
        expect(stage.registry.openNow).toBe(0);
        expect(stage.signal?.aborted).toBe(true);
      }
    }
  });

  test("a broken upstream is one typed error, then the end; what a producer of ours throws is not shown", async () => {
    for (const [thrown, expected] of [
      [new SluiceError("upstream_lost", "cut"), { code: "upstream_lost", message: "cut" }],
      [new Error("password=1234"), { code: "run_failed", message: "the run's producer failed" }],
    ] as const) {
      const stage = new Stage();
      const run = await stage.start();
      const reader = await stage.read(run);
      stage.say("1");
      stage.fail(thrown);
      await stage.bench.runtime.resolve(run.ended);
      await stage.bench.runtime.runTurns();
      expect(errorOf(reader)).toEqual([{ error: expected }]);
      expect(reader.events.map(({ event }) => event)).toEqual(["message", "error", "end"]);
      expect(run.state).toBe("error");
    }
  });

  test("P25 a producer that throws at once ends its run, and nothing else", async () => {
    const stage = new Stage();
    const produce = (): never => {
      throw new TypeError("no");
    };
    const run = await stage.start({ produce });
    expect(await stage.bench.runtime.resolve(run.ended)).toBe("error");
    const next = await stage.start();
    expect(next.state).toBe("open");
  });

  test("is cancelled, kept for a while, or goes on, when its readers are gone", async () => {
    const stage = new Stage();
    const { runtime } = stage.bench;
    const cancel = await stage.start({ options: { onReadersGone: { kind: "cancel" } } });
    // Nobody has been there yet.
    await runtime.run(60_000);
    expect(cancel.state).toBe("open");
    const leave = [cancel.addReader(), cancel.addReader()];
    leave[0]?.();
    leave[0]?.();
    expect(cancel.state).toBe("open");
    leave[1]?.();
    expect(cancel.state).toBe("stopped");
    expect(stage.signal?.aborted).toBe(true);

    const grace = await stage.start({ options: { onReadersGone: { kind: "grace", ms: 1_000 } } });
    grace.addReader()();
    await runtime.run(900);
    const back = grace.addReader();
    await runtime.run(5_000);
    expect(grace.state).toBe("open");
    back();
    await runtime.run(1_100);
    expect(grace.state).toBe("stopped");

    const detach = await stage.start({ options: { onReadersGone: { kind: "detach" } } });
    detach.addReader()();
    await runtime.run(600_000);
    expect(detach.state).toBe("open");
  });

  test("law 14 its end is stored by a broker that is away for a while, and once, whatever answers are lost", async () => {
    let unsteady: UnsteadyBroker | undefined;
    const wrap: NonNullable<BenchOptions["wrap"]> = (broker, runtime) =>
      (unsteady = new UnsteadyBroker(() => broker, { runtime, delayMsMax: 5 }));
    for (const trouble of [{ refusals: 1 }, { lostAnswers: 1 }]) {
      const stage = new Stage({ wrap });
      const { runtime } = stage.bench;
      const run = await stage.start();
      await runtime.resolve(run.ready);
      await runtime.run(20);
      stage.say("1");
      await runtime.run(50);
      const broker = unsteady as UnsteadyBroker;
      const { options } = broker;
      broker.options = { ...options, ...trouble };
      stage.done();
      await runtime.run(200);
      broker.options = options;
      expect(await runtime.resolve(run.ended)).toBe("done");
      const reader = await stage.read(run);
      await runtime.run(100);
      expect(reader.events.map(({ event }) => event)).toEqual(["message", "end"]);
      expect(stage.registry.get("t", run.id)).toBe(run);
    }
  });

  test("that the log has no room for is refused before anything is produced, and leaves nothing", async () => {
    const stage = new Stage({ memory: { topicsMax: 1 } });
    await stage.start();
    const idempotency = { scope: "/", key: "k", fingerprint: "f" };
    const second = await stage.start({ idempotency });
    await expect(second.ready).rejects.toMatchObject({ code: "topics_exhausted" });
    await stage.bench.runtime.resolve(second.ended);
    expect(stage.starts).toBe(1);
    expect(stage.registry.find("t", idempotency)).toBeUndefined();
    expect([stage.registry.runsNow, stage.registry.openNow]).toEqual([1, 1]);
  });

  test("that gives way keeps its events for those who read them now", async () => {
    const stage = new Stage();
    const run = await stage.start({ options: { ttlMs: 1_000 } });
    stage.say("1", "2");
    stage.done();
    await stage.bench.runtime.resolve(run.ended);
    const leave = run.addReader();
    await stage.bench.runtime.run(60_000);
    expect(stage.registry.get("t", run.id)).toBeUndefined();
    expect((await stage.read(run)).events).toHaveLength(3);
    leave();
    await stage.bench.runtime.run(5_000);
    expect((await stage.read(run)).events).toHaveLength(0);
  });

  test("that takes too long is expired, and one that is over is forgotten after its time", async () => {
    const stage = new Stage();
    const { runtime, hub } = stage.bench;
    const timers = runtime.timersNow;
    const run = await stage.start({ options: { ageMsMax: 5_000, ttlMs: 10_000 } });
    const reader = await stage.read(run);
    await runtime.run(5_100);
    expect(run.state).toBe("expired");
    expect(JSON.parse(reader.data.at(-1) ?? "")).toMatchObject({ reason: "expired" });
    expect(stage.registry.get("t", run.id)).toBe(run);
    await runtime.run(10_100);
    expect(stage.registry.get("t", run.id)).toBeUndefined();
    expect(stage.registry.runsNow).toBe(0);
    for (const state of ["open", "expired"]) expect(hub.metrics.get("sluice_runs", state)).toBe(0);
    await runtime.run(120_000);
    expect(runtime.timersNow).toBeLessThanOrEqual(timers);
    // Its topic has gone too.
    const { head, publications } = await hub.broker.read({
      tenant: feedTenant("t"),
      selection: reader.subscriber.selection,
      from: "earliest",
      upTo: Number.MAX_SAFE_INTEGER,
      bytesMax: 1,
    });
    expect(head).toBeGreaterThan(0);
    expect(publications).toEqual([]);
  });
});

describe("the registry", () => {
  test("gives the same run for the same key, and never to another tenant, scope or request", async () => {
    const stage = new Stage();
    const idempotency = { scope: "/chat", key: "k", fingerprint: "f" };
    const first = await stage.start({ idempotency });
    expect(stage.registry.start({ tenant: "t", produce: stage.produce, idempotency })).toEqual({
      run: first,
      isNew: false,
    });
    expect(stage.starts).toBe(1);
    for (const [tenant, other] of [
      ["u", idempotency],
      ["t", { ...idempotency, scope: "/cha", key: "tk" }],
      ["t", { ...idempotency, scope: "/chatk", key: "" }],
    ] as const) {
      expect(stage.registry.find(tenant, other)).toBeUndefined();
    }
    expect(() => stage.registry.find("t", { ...idempotency, fingerprint: "g" })).toThrow(
      expect.objectContaining({ code: "idempotency_conflict" }),
    );
    stage.done();
    await stage.bench.runtime.resolve(first.ended);
    expect(stage.registry.find("t", idempotency)).toBe(first);
    await stage.bench.runtime.run(3_600_100);
    expect(stage.registry.find("t", idempotency)).toBeUndefined();
  });

  test("law 21 tenants and ids that look alike when put together are apart", async () => {
    const stage = new Stage();
    const run = await stage.start({ tenant: "a", id: "bc" });
    expect(stage.registry.get("ab", "c")).toBeUndefined();
    expect(stage.registry.get("a", "bc")).toBe(run);
    expect(stage.registry.get("", "abc")).toBeUndefined();
  });

  test("is bounded: open runs are refused, those that are over give way", async () => {
    const stage = new Stage();
    stage.registry.configure({ runsMax: 3, perTenantMax: 2 });
    const runs = [await stage.start(), await stage.start()];
    const refused = expect.objectContaining({ code: "runs_exhausted" });
    expect(() => stage.registry.start({ tenant: "t", produce: stage.produce })).toThrow(refused);
    await stage.start({ tenant: "u" });
    expect(() => stage.registry.start({ tenant: "v", produce: stage.produce })).toThrow(refused);
    await runs[0]?.stop();
    const next = await stage.start({ tenant: "v" });
    expect(stage.registry.get("t", runs[0]?.id ?? "")).toBeUndefined();
    expect([stage.registry.runsNow, stage.registry.openNow]).toEqual([3, 3]);
    expect(next.state).toBe("open");
    const timers = stage.bench.runtime.timersNow;
    for (let count = 0; count < 100; count += 1) {
      await stage.registry.get("v", next.id)?.stop();
      await stage.start({ tenant: "w" }).then((run) => run.stop());
    }
    // Of those that gave way nothing waits for their time to be up.
    expect(stage.bench.runtime.timersNow).toBeLessThanOrEqual(timers + 3);
  });

  test("is one for a hub, and tells all that are open of a shutdown", async () => {
    const stage = new Stage();
    const { hub, runtime } = stage.bench;
    expect(runsOf(hub, runtime)).toBe(runsOf(hub, runtime));
    const run = await stage.start();
    const over = await stage.start();
    await over.stop();
    const reader = await stage.read(run);
    stage.registry.shutdown();
    await runtime.runTurns();
    expect(errorOf(reader)).toEqual([{ error: { code: "shutting_down", message: "shutdown" } }]);
    expect([run.state, over.state]).toEqual(["error", "stopped"]);
  });

  test("R03 law 23 hundreds of runs at random ends leave no reader, timer or gauge", async () => {
    const stage = new Stage();
    const { runtime, hub } = stage.bench;
    const timers = runtime.timersNow;
    for (let index = 0; index < 300; index += 1) {
      const run = await stage.start({ tenant: `t${index % 7}`, options: { ttlMs: 1_000 } });
      const readers = [await stage.read(run), await stage.read(run)];
      stage.say(...texts(index % 5));
      if (index % 3 === 0) readers[0]?.subscriber.evict("reset");
      if (index % 4 === 0) void run.stop();
      else if (index % 4 === 1) stage.done();
      else if (index % 4 === 2) stage.fail(new Error("x"));
      else stage.registry.shutdown();
      await runtime.runTurns();
    }
    await runtime.run(200_000);
    expect(hub.subscribersNow).toBe(0);
    expect([stage.registry.runsNow, stage.registry.openNow]).toEqual([0, 0]);
    expect(runtime.timersNow).toBeLessThanOrEqual(timers);
    for (const state of ["open", "done", "error", "stopped"]) {
      expect(hub.metrics.get("sluice_runs", state)).toBe(0);
    }
  });
});

describe("an iterable", () => {
  test("R03 is asked for more as its events are kept, and is returned from when the run is stopped", async () => {
    const stage = new Stage();
    let isReturned = false;
    let aborts = 0;
    const produce = fromIterable(
      async function* (signal) {
        signal.addEventListener("abort", () => (aborts += 1));
        try {
          for (let index = 1; ; index += 1) {
            yield { data: `${index}` };
            await new Promise<void>((resolve) => void stage.bench.runtime.after(10, resolve));
          }
        } finally {
          isReturned = true;
        }
      },
      same,
      1_000,
    );
    const run = await stage.start({ produce });
    const reader = await stage.read(run);
    await stage.bench.runtime.run(55);
    void run.stop();
    await stage.bench.runtime.run(50);
    expect(reader.data.slice(0, -1)).toEqual(["1", "2", "3", "4", "5", "6"]);
    expect([isReturned, aborts, run.state]).toEqual([true, 1, "stopped"]);
  });

  test("that never yields is stopped all the same; an event that cannot be framed is the run's error", async () => {
    const stage = new Stage();
    const stuck = await stage.start({
      produce: fromIterable(
        async function* () {
          await new Promise(() => {});
          yield { data: "never" };
        },
        same,
        1_000,
      ),
    });
    await stage.bench.runtime.resolve(stuck.stop());
    expect(stuck.state).toBe("stopped");
    const large = await stage.start({
      produce: fromIterable(
        async function* () {
          yield { data: "x".repeat(2_000) };
        },
        same,
        1_000,
      ),
    });
    const reader = await stage.read(large);
    await stage.bench.runtime.runTurns();
    expect(errorOf(reader)).toMatchObject([{ error: { code: "event_too_large" } }]);
  });

  test("P25 that misbehaves ends its own run: no iterator, no promise, a return that throws", async () => {
    const bad: unknown[] = [
      undefined,
      {},
      {
        [Symbol.asyncIterator]: () => ({
          next: () => {
            throw new Error("x");
          },
        }),
      },
      {
        [Symbol.asyncIterator]: () => ({
          next: () => Promise.reject(new Error("x")),
          return: () => {
            throw new Error("y");
          },
        }),
      },
      { [Symbol.asyncIterator]: () => ({ next: () => null }) },
      {
        [Symbol.asyncIterator]: () => ({
          next: () => ({ done: false, value: 7 }),
          return: () => Promise.reject(new Error("z")),
        }),
      },
    ];
    const stage = new Stage();
    for (const iterable of bad) {
      const run = await stage.start({
        produce: fromIterable(() => iterable as AsyncIterable<EventInput>, same, 1_000),
      });
      const reader = await stage.read(run);
      expect(await stage.bench.runtime.resolve(run.ended)).toBe("error");
      await stage.bench.runtime.runTurns();
      expect(errorOf(reader)).toMatchObject([
        { error: { message: expect.not.stringMatching(/^[xyz]$/) } },
      ]);
    }
  });

  test("R03 is returned from at once, also while it is asked for the next event", async () => {
    const stage = new Stage();
    let returns = 0;
    const iterator = {
      next: () => new Promise<never>(() => {}),
      return: async () => {
        returns += 1;
        return { done: true as const, value: undefined };
      },
    };
    const run = await stage.start({
      produce: fromIterable(() => ({ [Symbol.asyncIterator]: () => iterator }), same, 1_000),
    });
    await run.stop();
    await stage.bench.runtime.runTurns();
    expect(returns).toBe(1);
  });
});
