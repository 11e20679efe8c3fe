import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Drain } from "../../src/core/drain.ts";
import type { DrainReport } from "../../src/core/drain.ts";
import { Bench } from "./bench.ts";
import type { Client } from "./bench.ts";

const OPTIONS = { waitMs: 200, perSecond: 20, ackWaitMs: 1_000, deadlineMs: 5_000 };
/** What cannot leave at the deadline is aborted half a second later; and the turns of the last tick. */
const END_MS = OPTIONS.deadlineMs + 600;

interface Model {
  clients: number;
  isDraining: boolean;
}

class World {
  readonly bench = new Bench({ heartbeat: { stallMs: 600_000, heartbeatMs: 20_000 } });
  /** Work without a connection, and when it was told that it must end. */
  busy = 0;
  readonly lastCalls: { readonly at: number; readonly busy: number }[] = [];
  /** It ends its work when it is told to. */
  isObedient = true;
  readonly drain = new Drain(this.bench.hub, this.bench.runtime, OPTIONS, {
    busyNow: () => this.busy,
    lastCall: () => {
      this.lastCalls.push({ at: this.bench.runtime.now(), busy: this.busy });
      if (this.isObedient) this.busy = 0;
    },
  });
  readonly clients: Client[] = [];
  readonly acks = new Map<Client, number>();
  /** Connections that were cut while the drain ran, and of those the ones that nobody had said goodbye to. */
  cuts = 0;
  cutEarly = 0;
  startedAt: number | undefined;
  hastenedAt: number | undefined;
  report: Promise<DrainReport> | undefined;

  client(index: number): Client {
    return this.clients.at(index % this.clients.length) as Client;
  }

  start(): void {
    this.startedAt ??= this.bench.runtime.now();
    this.report = this.drain.start();
  }
}

type Command = fc.AsyncCommand<Model, World>;

function command(
  name: string,
  run: (world: World, model: Model) => void | Promise<void>,
  check: (model: Readonly<Model>) => boolean = () => true,
): Command {
  return {
    check,
    run: async (model, world) => {
      await run(world, model);
      await world.bench.runtime.runTurns();
      await verify(world);
    },
    toString: () => name,
  };
}

const hasClients = (model: Readonly<Model>): boolean => model.clients > 0;
const onClient = (name: string, act: (client: Client, world: World) => void) => (index: number) =>
  command(`${name} ${index}`, (world) => act(world.client(index), world), hasClients);

const index = fc.nat({ max: 3 });
const commands = [
  // The gateway refuses subscriptions from the drain's first moment on; only one under way slips in.
  fc.tuple(fc.constantFrom("plain", "quiet"), fc.boolean()).map(([form, isResumable]) =>
    command(`join ${form} ${isResumable}`, async (world, model) => {
      // After the last one has gone the gateway refuses every request.
      if (world.drain.isDrained) return;
      world.clients.push(await world.bench.join("a", { form: form as "quiet", isResumable }));
      model.clients += 1;
    }),
  ),
  fc.tuple(fc.nat({ max: 2 }), fc.boolean()).map(([busy, isObedient]) =>
    command(`work ${busy} ${isObedient}`, (world) => {
      // Nor is any work begun behind the last call.
      world.busy = world.lastCalls.length > 0 ? Math.min(busy, world.busy) : busy;
      world.isObedient = isObedient;
      if (world.drain.isDrained) world.busy = 0;
    }),
  ),
  fc.constant(
    command("publish", async ({ bench }) => {
      await bench.runtime.resolve(bench.publish("a", "x"));
    }),
  ),
  index.map(onClient("block", ({ connection }) => connection.block())),
  index.map(onClient("release", ({ connection }) => connection.release())),
  index.map(
    onClient("cut", ({ connection, subscriber }, world) => {
      const isCut = connection.isOpen && world.startedAt !== undefined;
      if (isCut) world.cuts += 1;
      if (isCut && subscriber.state !== "draining") world.cutEarly += 1;
      connection.cut("client_closed");
    }),
  ),
  index.map(
    onClient("ack", (client, { acks }) => {
      const isAwaited = client.subscriber.isAckAwaited;
      const isTaken = client.subscriber.ack();
      expect(isTaken).toBe(isAwaited);
      if (isTaken) acks.set(client, (acks.get(client) ?? 0) + 1);
    }),
  ),
  fc
    .constantFrom(20, 250, 520, 1_100)
    .map((ms) => command(`run ${ms}`, ({ bench }) => bench.runtime.run(ms))),
  fc.constant(
    command("drain", (world, model) => {
      model.isDraining = true;
      world.start();
    }),
  ),
  fc.constant(
    command(
      "end now",
      (world) => {
        world.hastenedAt ??= world.bench.runtime.now();
        void world.drain.endNow();
      },
      ({ isDraining }) => isDraining,
    ),
  ),
];

async function verify({
  bench,
  busy,
  lastCalls,
  drain,
  clients,
  acks,
  startedAt,
  hastenedAt,
}: World): Promise<void> {
  const now = bench.runtime.now();
  for (const client of clients) {
    expect(client.connection.closedCount).toBeLessThanOrEqual(1);
    expect(acks.get(client) ?? 0).toBeLessThanOrEqual(1);
    const goodbyes = client.text.split(/^(?:event: |: )close/m).length - 1;
    expect(goodbyes).toBeLessThanOrEqual(1);
    // Nothing but comments follows.
    if (goodbyes === 1) expect(client.text).toMatch(/pool_draining\n\n(?:: heartbeat\n\n)*$/);
    if (startedAt === undefined) expect(goodbyes).toBe(0);
  }
  if (startedAt === undefined) return;
  const { total, left, byHow, told } = drain.progress;
  expect(total).toBe(Object.values(byHow).reduce((sum, count) => sum + count, 0) + left);
  expect(left).toBe(bench.hub.connectionsNow);
  expect(told).toBeLessThanOrEqual(left);
  const isEarly = hastenedAt === undefined && now < startedAt + OPTIONS.deadlineMs;
  if (isEarly) expect(byHow.deadline).toBe(0);
  if (isEarly && busy > 0) expect(drain.isDrained).toBe(false);
  // Who cannot come back is told nothing before the deadline.
  const staying = clients.filter(({ subscriber }) => !subscriber.isResumable);
  if (isEarly) for (const { text } of staying) expect(text).not.toContain("close");
  expect(lastCalls.length).toBeLessThanOrEqual(1);
  for (const { at } of lastCalls) {
    const dueAt = Math.min(startedAt + OPTIONS.deadlineMs - 300, hastenedAt ?? Infinity);
    expect(at).toBeGreaterThanOrEqual(dueAt);
    expect(at).toBeLessThanOrEqual(dueAt + 20);
  }
}

test("law 20 law 23 P06 P07 A09: whatever happens in whatever order, a drain ends in time, each connection ends once, and the counts add up", async () => {
  await fc.assert(
    fc.asyncProperty(fc.commands(commands, { maxCommands: 60 }), async (run) => {
      const world = new World();
      await fc.asyncModelRun(
        () => ({ model: { clients: 0, isDraining: false }, real: world }),
        run,
      );
      world.start();
      const { bench, clients, acks } = world;
      const report = await bench.runtime.resolve(world.report as Promise<DrainReport>, END_MS);
      await bench.runtime.runTurns();
      expect(clients.map(({ connection }) => connection.closedCount)).toEqual(clients.map(() => 1));
      const { total, byHow, isForced } = report;
      expect(Object.values(byHow).reduce((sum, count) => sum + count, 0)).toBe(total);
      expect(byHow.ack).toBeLessThanOrEqual(acks.size);
      expect(byHow.left).toBe(world.cutEarly);
      expect(byHow.closed + byHow.left).toBeLessThanOrEqual(world.cuts);
      const isCut = world.lastCalls.some(({ busy }) => busy > 0);
      expect(isForced).toBe(byHow.deadline > 0 || isCut);
      for (const [how, count] of Object.entries(byHow)) {
        expect(bench.hub.metrics.get("sluice_drain_closed_total", how)).toBe(count);
      }
      const { metrics } = bench.hub;
      bench.hub.measure();
      expect(metrics.plain).toMatchObject({ sluice_draining: 0, sluice_routes: 0 });
      expect(
        ["reading", "live", "draining"].map((s) => metrics.get("sluice_subscribers", s)),
      ).toEqual([0, 0, 0]);
    }),
    { numRuns: 1_000 },
  );
}, 60_000);
