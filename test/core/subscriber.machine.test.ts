import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createMemoryBroker } from "../../src/brokers/memory.ts";
import type { Broker } from "../../src/core/broker.ts";
import { METRICS } from "../../src/core/metrics.ts";
import type { DisconnectReason } from "../../src/core/disconnect.ts";
import { UnsteadyBroker } from "../../src/testing/index.ts";
import { Bench, seqOf } from "./bench.ts";
import type { Client } from "./bench.ts";

const HEARTBEAT_MS = 20_000;
const TOPICS = ["a", "b"];

/** What the model knows of a client: enough to say what each call must answer. */
interface ModelClient {
  readonly index: number;
  readonly topics: readonly string[];
  readonly isResumable: boolean;
  /** Nothing was said, goodbye was, or it is over. */
  phase: "open" | "told" | "over";
  isBlocked: boolean;
}

interface Model {
  readonly clients: ModelClient[];
}

interface Real {
  readonly bench: Bench;
  readonly unsteady: UnsteadyBroker;
  readonly clients: Client[];
  /** How often, and why, each connection was told to have ended. */
  readonly ends: Map<string, DisconnectReason[]>;
  /** How often each was told that it is gone, by its number. */
  readonly gone: number[];
}

type Command = fc.AsyncCommand<Model, Real>;

/** A connection's end comes in a turn of its own; the model learns of evictions and rotations from it. */
async function settle(model: Model, real: Real): Promise<void> {
  await real.bench.runtime.runTurns();
  for (const client of model.clients) {
    const { connection, subscriber } = clientOf(real, client);
    if (!connection.isOpen) client.phase = "over";
    if (subscriber.state === "draining" && client.phase === "open") client.phase = "told";
    expect(connection.closedCount).toBeLessThanOrEqual(1);
    expect(real.ends.get(connection.id)?.length ?? 0).toBe(connection.closedCount);
    expect(subscriber.state === "closed").toBe(connection.closedCount === 1);
    expect(real.gone[client.index]).toBe(connection.closedCount);
    // Who could not come back is not sent away for its age.
    if (!client.isResumable) expect(real.ends.get(connection.id) ?? []).not.toContain("max_age");
  }
}

function clientOf(real: Real, { index }: ModelClient): Client {
  const client = real.clients[index];
  if (client === undefined) throw new Error(`there is no client ${index}`);
  return client;
}

/** One that is not over, if there is any. */
function pick(model: Model, at: number): ModelClient | undefined {
  const open = model.clients.filter(({ phase }) => phase !== "over");
  return open[at % Math.max(1, open.length)];
}

function command(
  name: string,
  check: (model: Readonly<Model>) => boolean,
  run: (model: Model, real: Real) => Promise<void> | void,
): Command {
  return {
    toString: () => name,
    check,
    async run(model, real) {
      await run(model, real);
      await settle(model, real);
    },
  };
}

function onClient(
  name: string,
  at: number,
  run: (client: ModelClient, real: Real) => Promise<void> | void,
): Command {
  return command(
    `${name}(${at})`,
    (model) => pick(model, at) !== undefined,
    (model, real) => run(pick(model, at) as ModelClient, real),
  );
}

const at = fc.nat({ max: 7 });

const COMMANDS = [
  fc
    .tuple(
      fc.constantFrom(["a"], ["b"], ["a", "b"], ["*"]),
      fc.constantFrom("comment", "event", "ack"),
      fc.constantFrom("enveloped", "quiet"),
      fc.boolean(),
    )
    .map(([topics, heartbeat, form, isResumable]) =>
      command(
        `attach(${topics.join()}, ${heartbeat}, ${form}, ${isResumable})`,
        (model) => model.clients.length < 8,
        async (model, { bench, clients, gone }) => {
          const index = clients.length;
          gone[index] = 0;
          clients.push(
            await bench.join(topics, {
              heartbeat: heartbeat as "ack",
              form: form as "quiet",
              isResumable,
              onGone: () => (gone[index] = (gone[index] ?? 0) + 1),
            }),
          );
          model.clients.push({
            index,
            topics,
            isResumable,
            phase: "open",
            isBlocked: false,
          });
        },
      ),
    ),
  fc.tuple(fc.constantFrom(...TOPICS), fc.integer({ min: 1, max: 30 })).map(([topic, count]) =>
    command(
      `publish(${topic} x ${count})`,
      () => true,
      async (_model, { bench }) => {
        const pad = "x".repeat(4_000);
        // It may have ended.
        const published = bench.publish(topic, ...Array.from({ length: count }, () => pad));
        await bench.runtime.resolve(published.catch(() => undefined));
      },
    ),
  ),
  fc.tuple(fc.constantFrom(...TOPICS), fc.boolean()).map(([topic, isEnd]) =>
    command(
      `${isEnd ? "end" : "reopen"}(${topic})`,
      () => true,
      async (_model, { bench }) => {
        const { hub, runtime } = bench;
        await runtime.resolve<unknown>(
          isEnd ? hub.end("t", topic, "done") : hub.declare("t", topic, {}),
        );
      },
    ),
  ),
  at.map((n) =>
    onClient("block", n, (client, real) => {
      clientOf(real, client).connection.block();
      client.isBlocked = true;
    }),
  ),
  fc.tuple(at, fc.constantFrom(1, 5_000, Infinity)).map(([n, bytes]) =>
    onClient(`release ${bytes}`, n, (client, real) => {
      clientOf(real, client).connection.release(bytes);
      if (bytes === Infinity) client.isBlocked = false;
    }),
  ),
  at.map((n) =>
    onClient("fall back", n, (client, real) => {
      const { subscriber } = clientOf(real, client);
      subscriber.fallBack(subscriber.settledTo);
    }),
  ),
  at.map((n) =>
    onClient("goodbye", n, (client, real) => {
      const { subscriber, connection } = clientOf(real, client);
      const maySay = client.phase === "open" && connection.pendingBytes === 0;
      expect(subscriber.goodbye("pool_draining", 1_000)).toBe(maySay);
      if (maySay) client.phase = "told";
    }),
  ),
  at.map((n) =>
    onClient("ack", n, (client, real) => {
      const { subscriber } = clientOf(real, client);
      const isAwaited = subscriber.isAckAwaited;
      expect(subscriber.ack()).toBe(isAwaited);
      // An ACK that comes again changes nothing, whatever the first one did.
      expect(subscriber.ack()).toBe(false);
      if (client.phase === "open") expect(subscriber.hasAcked).toBe(false);
    }),
  ),
  at.map((n) =>
    onClient("finish", n, (client, real) => clientOf(real, client).subscriber.finish()),
  ),
  at.map((n) =>
    onClient("end", n, (client, real) => {
      clientOf(real, client).subscriber.end("closed_by_operator", 1_000);
      if (client.phase === "open") client.phase = "told";
    }),
  ),
  at.map((n) =>
    onClient("evict", n, (client, real) => {
      clientOf(real, client).subscriber.evict("unacked");
      client.phase = "over";
    }),
  ),
  fc.tuple(at, fc.nat({ max: 300 })).map(([n, bytes]) =>
    onClient("cut", n, (client, real) => {
      clientOf(real, client).connection.cut("reset", bytes);
      client.phase = "over";
    }),
  ),
  fc.constantFrom(450, 9_000, HEARTBEAT_MS, 120_000).map((ms) =>
    command(
      `pass ${ms} ms`,
      () => true,
      async (_model, { bench }) => bench.runtime.run(ms),
    ),
  ),
  fc.constantFrom(3_000, 60_000).map((ms) =>
    command(
      `stand still ${ms} ms`,
      () => true,
      async (_model, { bench }) => bench.runtime.elapse(ms),
    ),
  ),
  fc.constant(
    command(
      "another epoch",
      () => true,
      async (_model, { unsteady, bench }) => bench.runtime.resolve(unsteady.restart()),
    ),
  ),
];

test("law 23: in every order of what may happen to subscribers nothing is left of those that are gone", async () => {
  await fc.assert(
    fc.asyncProperty(fc.commands(COMMANDS, { maxCommands: 60, size: "+1" }), async (commands) => {
      let unsteady: UnsteadyBroker | undefined;
      const bench = new Bench({
        heartbeat: { maxAgeMs: 100_000, pendingBytesMax: 200_000 },
        wrap: (broker, runtime) => {
          const make = (restarts: number): Broker =>
            restarts === 0
              ? broker
              : createMemoryBroker({ runtime, incarnation: `test ${restarts}` });
          unsteady = new UnsteadyBroker(make, { runtime, delayMsMax: 0 });
          return unsteady;
        },
      });
      const real: Real = {
        bench,
        unsteady: unsteady as unknown as UnsteadyBroker,
        clients: [],
        ends: new Map(),
        gone: [],
      };
      bench.hub.onConnectionEnd(({ connection }, reason) => {
        const id = connection?.id ?? "";
        real.ends.set(id, [...(real.ends.get(id) ?? []), reason]);
      });
      await fc.asyncModelRun(() => ({ model: { clients: [] }, real }), commands);
      await expectNothingLeft(real);
    }),
    { numRuns: 150 },
  );
}, 60_000);

/** Everybody who is still there goes in one of the ways there are; then all is as before the first came. */
async function expectNothingLeft({ bench, clients, ends }: Real): Promise<void> {
  for (const client of clients) {
    const seqs = client.events.map(({ lastEventId }) => seqOf(lastEventId));
    const epochs = new Set(client.events.map(({ lastEventId }) => lastEventId.split(".")[0]));
    if (epochs.size === 1) expect(seqs).toEqual([...new Set(seqs)].sort((x, y) => x - y));
    const closes = client.blocks.filter(isClose);
    expect(closes.length).toBeLessThanOrEqual(1);
    // Behind goodbye nothing follows but comments.
    const behind =
      closes.length === 0 ? [] : client.blocks.slice(client.blocks.findIndex(isClose) + 1);
    expect(behind.filter((block) => !block.startsWith(":"))).toEqual([]);
  }
  for (const [index, { connection, subscriber }] of clients.entries()) {
    if (index % 3 === 0) subscriber.end("closed_by_operator", 1_000);
    if (index % 3 === 1) connection.cut();
  }
  // Who was told goodbye and is forgotten, and who does not read, is found by the deadlines alone.
  await bench.runtime.run(60_000);
  for (const { subscriber } of clients)
    if (subscriber.state !== "draining") subscriber.evict("unacked");
  await bench.runtime.run(60_000);
  for (const { connection, subscriber } of clients) {
    expect([connection.closedCount, subscriber.state]).toEqual([1, "closed"]);
    expect(ends.get(connection.id)).toHaveLength(1);
  }
  const { hub } = bench;
  hub.measure();
  for (const { name, label, value } of hub.metrics.samples()) {
    if (METRICS[name].type === "gauge") expect([name, label, value]).toEqual([name, label, 0]);
  }
  expect([hub.subscribersNow, hub.connectionsNow]).toEqual([0, 0]);
  await hub.close();
  await bench.runtime.run(10_000);
  expect(bench.runtime.timersNow).toBe(0);
}

function isClose(block: string): boolean {
  return block === "close" || block.startsWith(": close ");
}

const ACTORS = ["subscribe", "publish", "unsubscribe", "close", "drain"] as const;

test("law 23: subscribe, unsubscribe, close and drain race in every order, and leave no route and no gauge", async () => {
  const orders = permutations(ACTORS);
  for (const order of orders) {
    const bench = new Bench();
    const client = await bench.join("a");
    const opening = bench.subscribe(["a", "b"]);
    let late: Client | undefined;
    for (const [index, actor] of order.entries()) {
      if (actor === "subscribe") late = bench.attach(await bench.runtime.resolve(opening));
      if (actor === "publish") void bench.publish("a", "x");
      if (actor === "unsubscribe") client.connection.cut("client_closed");
      if (actor === "close") client.subscriber.end("closed_by_operator", 1_000);
      if (actor === "drain") {
        for (const subscriber of bench.hub.connections())
          subscriber.goodbye("pool_draining", 1_000);
      }
      // Some of them meet in one turn.
      if (index % 2 === 1) await bench.runtime.runTurn();
    }
    await bench.runtime.runTurns();
    late?.subscriber.ack();
    late?.connection.cut("client_closed");
    await bench.runtime.run(30_000);
    bench.hub.measure();
    for (const { name, label, value } of bench.hub.metrics.samples()) {
      const isGauge = METRICS[name].type === "gauge";
      if (isGauge) expect([order, name, label, value]).toEqual([order, name, label, 0]);
    }
    expect([client.connection.closedCount, late?.connection.closedCount]).toEqual([1, 1]);
  }
  expect(orders).toHaveLength(120);
}, 60_000);

function permutations<Item>(items: readonly Item[]): Item[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item, index) =>
    permutations(items.toSpliced(index, 1)).map((rest) => [item, ...rest]),
  );
}
