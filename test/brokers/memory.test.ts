import { describe, expect, test } from "vitest";
import { createMemoryBroker } from "../../src/brokers/memory.ts";
import { UnsteadyBroker, VirtualRuntime, brokerConformance } from "../../src/testing/index.ts";

describe("the memory broker", () => {
  const runtime = new VirtualRuntime();
  const cases = brokerConformance({
    create: () => createMemoryBroker({ runtime }),
    settle: (promise) => (promise === undefined ? settled(runtime) : runtime.resolve(promise)),
  });
  test.each(cases)("$name", ({ run }) => run());

  test("works on the real clock, and its timer keeps no process alive", async () => {
    const broker = createMemoryBroker();
    const { head } = await broker.attach("t", { onAppended: () => {}, onEpoch: () => {} });
    expect(head).toBe(0);
    await broker.close();
  });

  test("an epoch names an incarnation and a tenant, and tells neither", async () => {
    const broker = createMemoryBroker({ runtime, incarnation: "one" });
    const again = createMemoryBroker({ runtime, incarnation: "one" });
    const other = createMemoryBroker({ runtime, incarnation: "two" });
    const tail = { onAppended: () => {}, onEpoch: () => {} };
    const epochs = await Promise.all(
      [broker, again, other].map(async (each) => (await each.attach("t", tail)).epoch),
    );
    expect(epochs[0]).toBe(epochs[1]);
    expect(epochs[0]).not.toBe(epochs[2]);
    // Law 21: ("one", "t") and ("on", "et") are other parts of the same text.
    const joined = createMemoryBroker({ runtime, incarnation: "on" });
    expect((await joined.attach("et", tail)).epoch).not.toBe(epochs[0]);
    for (const each of [broker, again, other, joined]) await each.close();
  });
});

describe("the memory broker behind late, disordered answers", () => {
  const runtime = new VirtualRuntime(7);
  const cases = brokerConformance({
    create: () => new UnsteadyBroker(() => createMemoryBroker({ runtime }), { runtime }),
    settle: (promise) => (promise === undefined ? settled(runtime) : runtime.resolve(promise)),
  });
  test.each(cases)("$name", ({ run }) => run());
});

async function settled(runtime: VirtualRuntime): Promise<undefined> {
  await runtime.run(1_000);
}
