import * as fc from "fast-check";
import { expect, test } from "vitest";
import { LANES } from "../../../src/core/settings.ts";
import type { Lane } from "../../../src/core/settings.ts";
import { VirtualRuntime } from "../../../src/testing/virtual-runtime.ts";
import { AcquireQueue } from "../../../src/upstreams/pool/acquire-queue.ts";
import type { Waiter } from "../../../src/upstreams/pool/acquire-queue.ts";
import { TenantShares } from "../../../src/upstreams/pool/tenant-shares.ts";

interface Named extends Waiter {
  readonly name: number;
}

interface World {
  readonly runtime: VirtualRuntime;
  readonly queue: AcquireQueue<Named>;
  readonly late: number[];
  /** All that have ever come, by name. */
  readonly waiters: Map<number, Named>;
  readonly wait: (tenant: string, lane?: Lane) => Named;
}

function world(queueMax = 100): World {
  const runtime = new VirtualRuntime();
  const late: number[] = [];
  const queue = new AcquireQueue<Named>(runtime, {
    queueMax,
    acquireMsMax: 5_000,
    onLate: ({ name }) => late.push(name),
  });
  const waiters = new Map<number, Named>();
  let names = 0;
  const wait = (tenant: string, lane: Lane = "normal"): Named => {
    names += 1;
    const waiter = { name: names, tenant, lane, since: runtime.now() };
    waiters.set(names, waiter);
    const evicted = queue.push(waiter);
    return evicted ?? waiter;
  };
  return { runtime, queue, late, waiters, wait };
}

const nothing = (): number => 0;
const endless = (): number => Infinity;

test("Within a lane it is first come, first served; high goes before normal before bulk", () => {
  const { queue, wait } = world();
  wait("a", "bulk");
  wait("a", "normal");
  wait("a", "high");
  wait("a", "high");
  const order = Array.from({ length: 4 }, () => queue.take(nothing, endless)?.name);
  expect(order).toEqual([3, 4, 2, 1]);
  expect(queue.take(nothing, endless)).toBeUndefined();
});

test("A flood in the high lane does not starve the others of its tenant", () => {
  const { queue, wait } = world(1_000);
  for (let index = 0; index < 100; index += 1) for (const lane of LANES) wait("a", lane);
  const taken = Array.from({ length: 26 }, () => queue.take(nothing, endless)?.lane);
  const count = (lane: Lane): number => taken.filter((one) => one === lane).length;
  expect([count("high"), count("normal"), count("bulk")]).toEqual([16, 8, 2]);
});

test("U14: the tenant that holds least is next; those that hold as much take turns", () => {
  const { queue, wait } = world();
  for (let index = 0; index < 20; index += 1) wait("noisy");
  for (let index = 0; index < 3; index += 1) wait("quiet");
  const held = new Map<string, number>();
  const heldBy = (tenant: string): number => held.get(tenant) ?? 0;
  const order = Array.from({ length: 8 }, () => {
    const tenant = queue.take(heldBy, endless)?.tenant ?? "";
    held.set(tenant, heldBy(tenant) + 1);
    return tenant;
  });
  expect(order.filter((tenant) => tenant === "quiet").length).toBe(3);
  expect(order.slice(0, 6).filter((tenant) => tenant === "quiet").length).toBe(3);
});

test("U14: in a full queue the tenant that has most waiting gives way", () => {
  const { queue, wait } = world(4);
  for (let name = 1; name <= 4; name += 1) expect(wait("noisy").name).toBe(name);
  expect(wait("noisy").name).toBe(5);
  expect(wait("quiet").name).toBe(4);
  expect(wait("quiet").name).toBe(3);
  // Two and two: whoever comes now has most.
  expect(wait("quiet").name).toBe(8);
  expect(wait("third").name).not.toBe(9);
  expect(queue.size).toBe(4);
});

test("Who waits leaves in the order of the deadlines, not before and not later", async () => {
  const { runtime, queue, late, wait } = world();
  wait("a");
  await runtime.run(1_000);
  wait("b", "high");
  await runtime.run(3_999);
  expect(late).toEqual([]);
  await runtime.run(1);
  expect(late).toEqual([1]);
  await runtime.run(1_000);
  expect(late).toEqual([1, 2]);
  expect([queue.size, runtime.timersNow]).toEqual([0, 0]);
});

test("Demand is what could be served: no more than each tenant has room for", () => {
  const { queue, wait } = world();
  for (let index = 0; index < 5; index += 1) wait("a");
  wait("b");
  expect(queue.demand(endless)).toBe(6);
  expect(queue.demand((tenant) => (tenant === "a" ? 2 : -1))).toBe(2);
});

test("Whatever happens, the queue is bounded, loses nobody and serves nobody twice", () => {
  const tenant = fc.constantFrom("a", "b", "c");
  const act = fc.oneof(
    fc.record({ act: fc.constant("wait" as const), tenant, lane: fc.constantFrom(...LANES) }),
    fc.record({ act: fc.constant("take" as const), full: tenant }),
    fc.record({ act: fc.constant("leave" as const), which: fc.nat() }),
    fc.record({ act: fc.constant("oldest" as const) }),
  );
  fc.assert(
    fc.property(fc.array(act, { maxLength: 80 }), (acts) => {
      const { queue, waiters, wait } = world(6);
      const model = new Map<number, Named>();
      let coming = 0;
      for (const one of acts) {
        if (one.act === "wait") {
          coming += 1;
          const answer = wait(one.tenant, one.lane);
          const isFull = model.size >= 6;
          if (answer.name !== coming || !isFull) {
            model.set(coming, { name: coming, tenant: one.tenant, lane: one.lane, since: 0 });
          }
          if (isFull && answer.name !== coming) expect(model.delete(answer.name)).toBe(true);
        } else if (one.act === "take") {
          const taken = queue.take(nothing, (name) => (name === one.full ? 0 : 1));
          const isAny = [...model.values()].some(({ tenant: name }) => name !== one.full);
          expect(taken !== undefined).toBe(isAny);
          if (taken === undefined) continue;
          expect(taken.tenant).not.toBe(one.full);
          expect(model.delete(taken.name)).toBe(true);
        } else if (one.act === "oldest") {
          const oldest = queue.takeOldest();
          const [first] = [...model.keys()].toSorted((left, right) => left - right);
          expect(oldest?.name).toBe(first);
          if (first !== undefined) model.delete(first);
        } else {
          const names = [...waiters.keys()];
          const name = names[one.which % names.length] ?? 0;
          const waiter = waiters.get(name);
          if (waiter === undefined) continue;
          expect(queue.remove(waiter)).toBe(model.delete(name));
        }
        expect(queue.size).toBe(model.size);
        expect(queue.demand(endless)).toBe(model.size);
      }
    }),
  );
});

test("A tenant's share counts only while there are others", () => {
  const shares = new TenantShares(60);
  shares.saw("a", 0);
  expect(shares.roomFor("a", 10, 0)).toBe(10);
  shares.saw("b", 1_000);
  expect(shares.roomFor("a", 10, 1_000)).toBe(6);
  expect(shares.roomFor("b", 10, 1_000)).toBe(6);
  // It has not asked for ten minutes, and holds nothing.
  expect(shares.roomFor("a", 10, 601_000)).toBe(10);
  shares.took("b");
  expect([shares.roomFor("a", 10, 601_000), shares.heldBy("b"), shares.tenantsNow]).toEqual([
    6, 1, 1,
  ]);
  shares.gaveBack("b");
  expect([shares.roomFor("a", 10, 601_000), shares.tenantsNow]).toEqual([10, 0]);
  // Of very little there is one for each.
  shares.saw("b", 601_000);
  expect(shares.roomFor("a", 1, 601_000)).toBe(1);
});
