import { describe, expect, test } from "vitest";
import { createMemoryBroker } from "../../src/brokers/memory.ts";
import { controlBatch } from "../../src/core/batch.ts";
import type { Publication } from "../../src/core/publication.ts";
import {
  FakeConnection,
  UnsteadyBroker,
  VirtualRuntime,
  transportConformance,
} from "../../src/testing/index.ts";
import type { TransportHarness } from "../../src/testing/index.ts";
import { encodeFields } from "../../src/wire/frame.ts";

const runtime = new VirtualRuntime();

const harness: TransportHarness = {
  async open(owner) {
    const pieces: Uint8Array[] = [];
    const onBytes = (bytes: Uint8Array): void => void pieces.push(bytes);
    const connection = new FakeConnection({ id: "c", owner, runtime, onBytes });
    return {
      connection,
      received: () => Buffer.concat(pieces),
      isFinished: () => connection.endedBy !== undefined && connection.pendingBytes === 0,
      block: () => connection.block(),
      release: () => connection.release(),
      cut: () => connection.cut("reset", 10),
      close: async () => connection.abort("reset"),
    };
  },
  async until(condition) {
    await runtime.run(1_000);
    expect(condition()).toBe(true);
  },
};

describe("the fake connection", () => {
  test.each(transportConformance(harness))("$name", ({ run }) => run());

  test("refuses what breaks the port's contract", () => {
    const owner = { onDrained: () => {}, onClosed: () => {} };
    const connection = new FakeConnection({ id: "c", owner, runtime, closesAtOnce: true });
    const half = controlBatch(Buffer.from("data: cut"));
    expect(() => connection.write(half)).toThrow("blank line");
    connection.end("hub_closed");
    expect(() => connection.write(controlBatch(Buffer.from("data: x\n\n")))).toThrow("after");
  });
});

describe("virtual time", () => {
  test("runs timers in the order of their time, and microtasks before the next of them", async () => {
    const clock = new VirtualRuntime();
    const order: string[] = [];
    const note = (what: string) => (): void => void order.push(`${what} at ${clock.now() - 1_000}`);
    clock.after(20, note("later"));
    clock.after(10, () => {
      note("sooner")();
      void Promise.resolve().then(note("microtask"));
      clock.defer(note("turn"));
    });
    clock.after(10, note("second")).cancel();
    await clock.run(15);
    expect(order).toEqual(["sooner at 10", "microtask at 10", "turn at 10"]);
    await clock.run(15);
    expect(order.slice(3)).toEqual(["later at 20"]);
    expect([clock.now(), clock.timersNow]).toEqual([1_030, 0]);
  });

  test("gives the same chance for the same seed", () => {
    const draw = (seed: number): number[] => {
      const clock = new VirtualRuntime(seed);
      return [clock.random(), clock.random(), clock.random()];
    };
    expect(draw(5)).toEqual(draw(5));
    expect(draw(5)).not.toEqual(draw(6));
  });
});

describe("the unsteady broker", () => {
  test("lets the tail lag behind acknowledgements and reads, but keeps its order", async () => {
    const clock = new VirtualRuntime(3);
    const make = (): ReturnType<typeof createMemoryBroker> =>
      createMemoryBroker({ runtime: clock });
    const broker = new UnsteadyBroker(make, { runtime: clock, delayMsMax: 100 });
    const seen: number[] = [];
    const onAppended = ({ seq }: Publication): void => void seen.push(seq);
    await clock.resolve(broker.attach("t", { onAppended, onEpoch: () => {} }));
    const fields = encodeFields(undefined, "x");
    let wasBehind = false;
    for (let index = 1; index <= 50; index += 1) {
      const events = [{ fields }, { fields }];
      await clock.resolve(broker.publish({ tenant: "t", topic: "a", events }));
      wasBehind ||= seen.length < index * 2;
    }
    expect(wasBehind).toBe(true);
    await clock.run(60_000);
    expect(seen).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
    await broker.close();
  });

  test("a restart brings the new epoch before the first entry of it", async () => {
    const clock = new VirtualRuntime(4);
    const broker = new UnsteadyBroker(
      (restarts) => createMemoryBroker({ runtime: clock, incarnation: `${restarts}` }),
      { runtime: clock, delayMsMax: 20 },
    );
    const news: string[] = [];
    const tail = {
      onAppended: ({ seq }: Publication) => void news.push(`entry ${seq}`),
      onEpoch: (_epoch: string, head: number) => void news.push(`epoch from ${head}`),
    };
    await clock.resolve(broker.attach("t", tail));
    const publish = { tenant: "t", topic: "a", events: [{ fields: encodeFields(undefined, "x") }] };
    await clock.resolve(broker.publish(publish));
    const restarting = broker.restart();
    const published = broker.publish(publish);
    await clock.resolve(Promise.all([restarting, published]));
    await clock.run(1_000);
    expect(news).toEqual(["entry 1", "epoch from 0", "entry 1"]);
    await broker.close();
  });
});
