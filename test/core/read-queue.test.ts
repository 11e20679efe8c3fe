import { describe, expect, test, vi } from "vitest";
import { batchOf } from "../../src/core/batch.ts";
import type { Broker } from "../../src/core/broker.ts";
import { SluiceError } from "../../src/core/errors.ts";
import { selectTopics } from "../../src/core/selection.ts";
import { KEPT_BYTES_MAX, SharedRead, SharedReads } from "../../src/core/shared-read.ts";
import { UnsteadyBroker } from "../../src/testing/index.ts";
import { createMemoryBroker } from "../../src/brokers/memory.ts";
import { Bench, texts } from "./bench.ts";
import type { Client, ClientOptions } from "./bench.ts";

const KIB = 1024;
const PAD = "x".repeat(1_000);

describe("readers of the same topics", () => {
  test("F15 100 that lag at the same place cost as many reads and batches as one does", async () => {
    const bench = new Bench();
    const reads = countReads(bench);
    const clients = await joinBlocked(bench, 100);
    for (let each = 0; each < 500; each += 1) void bench.publish("a", PAD);
    await bench.runtime.runTurns();
    for (const { connection } of clients) connection.release();
    await bench.runtime.runTurns();
    for (const { seqs, subscriber } of clients) {
      expect(seqs).toEqual(texts(501).map(Number));
      expect(subscriber.state).toBe("live");
    }
    // 500 KB are eight batches. The last is read once for each 64 readers that are served together.
    expect(reads()).toBeLessThanOrEqual(10);
    const batches = clients.map(({ connection }) => connection.batches.slice(-8, -1));
    for (const own of batches)
      expect(own.every((batch, n) => batch === batches[0]?.[n])).toBe(true);
  });

  test("F15 share them also where the log is trimmed below them faster than they read", async () => {
    const bench = new Bench({ slices: { writesMax: 40 } });
    await bench.hub.declare("t", "a", { retention: { countMax: 200 } });
    const reads = countReads(bench);
    const slow: ClientOptions = {
      onBytes: ({ connection }) => {
        connection.block();
        bench.runtime.after(10, () => connection.release());
      },
    };
    const clients: Client[] = [];
    for (let each = 0; each < 100; each += 1) clients.push(await bench.join("a", slow));
    for (let turn = 0; turn < 200; turn += 1) {
      for (let each = 0; each < 70; each += 1) void bench.publish("a", PAD);
      await bench.runtime.run(1);
    }
    const written = bench.hub.metrics.plain.sluice_writes_total;
    const batches = new Set(clients.flatMap(({ connection }) => connection.batches));
    expect(written).toBeGreaterThan(1_000);
    expect(reads()).toBeLessThan(written / 50);
    expect(batches.size).toBeLessThan(clients.length + written / 50);
    await bench.runtime.run(5_000);
    for (const client of clients) expectContinuous(client, 200 * 70);
  });

  test("that are told other gaps get the same events behind them, each its own gap", async () => {
    const bench = new Bench();
    await bench.hub.declare("t", "a", { retention: { countMax: 300 } });
    await bench.hub.declare("t", "b", { retention: { countMax: 1 } });
    const clients: Client[] = [];
    for (const count of [10, 20, 30]) {
      for (let each = 0; each < 10; each += 1) void bench.publish(each === 5 ? "b" : "a", PAD);
      await bench.runtime.runTurns();
      const client = await bench.join(["a", "b"], { form: "plain" });
      client.connection.block();
      await bench.publish("a", PAD);
      await bench.runtime.runTurns();
      expect(client.seqs.length).toBeLessThanOrEqual(count);
      clients.push(client);
    }
    for (let each = 0; each < 1_000; each += 1) await bench.publish("a", PAD);
    const { last } = await bench.publish("a", PAD);
    await bench.runtime.runTurns();
    for (const { connection } of clients) connection.release();
    await bench.runtime.runTurns();
    for (const client of clients) {
      expectContinuous(client, last.seq);
      expect(client.gaps.map(({ reason }) => reason)).toEqual(["trimmed"]);
    }
    expect(new Set(clients.map(({ gaps }) => gaps[0]?.from)).size).toBe(3);
  });

  test("wait for one read that is under way, however late; one that fails fails for all, and is retried", async () => {
    let failures = 1;
    const bench = new Bench({
      wrap: (inner, runtime) => {
        const slow = new UnsteadyBroker(() => inner, { runtime, delayMsMax: 20 });
        const read: Broker["read"] = async (request) => {
          const result = await slow.read(request);
          if (request.from === 1 && request.upTo > 1 && failures-- > 0) {
            throw new SluiceError("broker_unavailable", "down");
          }
          return result;
        };
        return Object.assign(Object.create(slow) as Broker, delegate(slow), { read });
      },
    });
    const reads = countReads(bench);
    const clients = await joinBlocked(bench, 30);
    await bench.runtime.run(1_000);
    for (let each = 0; each < 100; each += 1) void bench.publish("a", PAD);
    await bench.runtime.run(1_000);
    const before = reads();
    const timers = bench.runtime.timersNow;
    for (const { connection } of clients) connection.release();
    await bench.runtime.run(10_000);
    for (const { seqs, subscriber } of clients) {
      expect(seqs).toEqual(texts(101).map(Number));
      expect(subscriber.state).toBe("live");
    }
    expect(failures).toBeLessThanOrEqual(0);
    expect(bench.hub.metrics.plain.sluice_log_read_errors_total).toBe(1);
    expect(reads() - before).toBeLessThanOrEqual(6);
    // What was kept for others is given back.
    expect(bench.runtime.timersNow).toBe(timers);
  });

  test("of other topics, and in other logs, never get what they read", async () => {
    const bench = new Bench({
      wrap: (_inner, runtime) => {
        const make = (restarts: number): Broker =>
          createMemoryBroker({ runtime, incarnation: `${restarts}` });
        return new UnsteadyBroker(make, { runtime, delayMsMax: 30 });
      },
    });
    const clients: Client[] = [];
    for (const topics of [["a"], ["b"], ["a", "b"], ["*"]]) {
      for (let each = 0; each < 5; each += 1) {
        const client = await bench.join(topics, { form: "plain", start: "earliest" });
        client.connection.block();
        clients.push(client);
      }
    }
    const publish = async (log: string): Promise<void> => {
      for (const [run, topic] of ["a", "b", "a"].entries()) {
        const data = texts(80).map((text) => `${log} ${topic} ${run} ${text} ${PAD}`);
        await bench.runtime.resolve(bench.publish(topic, ...data));
      }
      await bench.runtime.run(500);
    };
    await publish("old");
    for (const { connection } of clients) connection.release();
    await bench.runtime.run(40);
    await (bench.hub.broker as UnsteadyBroker).restart();
    await publish("new");
    await bench.runtime.run(20_000);
    for (const { subscriber, data, gaps } of clients) {
      const { names } = subscriber.selection;
      const expected = ["a", "b", "a"].flatMap((topic, run) =>
        names.length === 0 || names.includes(topic)
          ? texts(80).map((text) => `${topic} ${run} ${text}`)
          : [],
      );
      const ofNew = data.filter((text) => text.startsWith("new"));
      expect(ofNew.map((text) => text.slice(4, -PAD.length - 1))).toEqual(expected);
      expect(gaps.map(({ reason }) => reason)).toEqual(["epoch"]);
      expect(subscriber.state).toBe("live");
    }
  });
});

test("a read that sees less than the tail has told is asked again later, not in every turn", async () => {
  let visible = Infinity;
  let asked = 0;
  const bench = new Bench({
    wrap: (inner) => ({
      kind: "late",
      ...delegate(inner),
      read: async (request) => {
        asked += 1;
        const upTo = Math.min(request.upTo, visible);
        const result = await inner.read({ ...request, upTo });
        return { ...result, head: Math.min(result.head, visible) };
      },
    }),
  });
  const clients = await joinBlocked(bench, 3);
  for (const text of texts(200)) void bench.publish("a", text + PAD);
  await bench.runtime.runTurns();
  visible = 101;
  for (const { connection } of clients) connection.release();
  asked = 0;
  for (let turn = 0; turn < 200; turn += 1) await bench.runtime.runTurn();
  expect(asked).toBeLessThan(20);
  for (const { seqs } of clients) expect(seqs).toEqual(texts(101).map(Number));
  visible = Infinity;
  await bench.runtime.run(1_000);
  for (const { seqs, subscriber } of clients) {
    expect(seqs).toEqual(texts(201).map(Number));
    expect(subscriber.state).toBe("live");
  }
});

describe("reads that are kept", () => {
  const selection = selectTopics(["a"]);

  test("are at most 2 MiB of publications, the newest of them, also where single events are large", async () => {
    const bench = new Bench();
    for (const size of [1, 300]) {
      for (let each = 0; each < 40; each += 1) void bench.publish("a", "x".repeat(size * KIB));
    }
    const reads = new SharedReads();
    for (let from = 0; from < 79; from += 1) {
      const request = { tenant: "t", selection, from, upTo: 80, bytesMax: 64 * KIB };
      reads.keep(selection, from, 80, new SharedRead(await bench.memory.read(request)));
      expect(reads.bytes).toBeLessThanOrEqual(KEPT_BYTES_MAX);
    }
    expect(reads.find(selection, 0, 80)).toBeUndefined();
    expect(reads.find(selection, 78, 80)?.result.through).toBe(79);
    // To whom that read would be the last it may not be told: whether all has ended is of another time.
    expect(reads.find(selection, 78, 79)).toBeUndefined();
    reads.clear();
    expect([reads.bytes, reads.find(selection, 78, 80)]).toEqual([0, undefined]);
  });

  test("are encoded once for each form and gap, and never with another reader's gap", async () => {
    const bench = new Bench();
    await bench.publish("a", "1", "2");
    const request = { tenant: "t", selection, from: 0, upTo: 2, bytesMax: 64 * KIB };
    const read = new SharedRead(await bench.memory.read(request));
    const gap = (text: string): Uint8Array[] => [Buffer.from(`data: ${text}\n\n`)];
    for (const form of ["plain", "enveloped"] as const) {
      for (const prelude of [[], gap("x"), gap("y"), [...gap("x"), ...gap("y")], gap("x"), []]) {
        const batch = read.batch(form, prelude);
        const { publications } = read.result;
        expect(batch.frames).toEqual(batchOf(publications, form, prelude).frames);
        expect(
          read.batch(
            form,
            prelude.map((frame) => frame.slice()),
          ),
        ).toBe(batch);
      }
    }
    expect(read.batch("plain")).not.toBe(read.batch("enveloped"));
  });

  test("serve places between their beginning and their first event, and tell what was lost above that place", async () => {
    const bench = new Bench();
    await bench.hub.declare("t", "a", { retention: { countMax: 100 } });
    await bench.hub.declare("t", "b", { retention: { countMax: 1 } });
    for (const text of texts(20)) void bench.publish("b", text);
    for (const text of texts(300)) void bench.publish("a", `${text} ${PAD}`);
    void bench.publish("b", "21");
    const both = selectTopics(["a", "b"]);
    const readAt = (from: number): Promise<SharedRead["result"]> =>
      bench.memory.read({ tenant: "t", selection: both, from, upTo: 400, bytesMax: 64 * KIB });
    const reads = new SharedReads();
    reads.keep(both, 5, 400, new SharedRead(await readAt(5)));
    for (const from of [5, 6, 19, 20, 21, 100, 220]) {
      const found = reads.find(both, from, 400)?.result;
      const own = await readAt(from);
      expect(found?.publications, `${from}`).toEqual(own.publications);
      expect({ ...found, publications: [] }, `${from}`).toEqual({ ...own, publications: [] });
    }
    for (const from of [0, 4, 221, 250]) expect(reads.find(both, from, 400)).toBeUndefined();
    expect(reads.find(selection, 6, 400)).toBeUndefined();
  });
});

/** All clients have event 1, and the first byte of no other leaves. */
async function joinBlocked(bench: Bench, count: number): Promise<Client[]> {
  const clients: Client[] = [];
  for (let each = 0; each < count; each += 1) clients.push(await bench.join("a"));
  for (const { connection } of clients) connection.block();
  await bench.runtime.resolve(bench.publish("a", PAD));
  await bench.runtime.runTurns();
  return clients;
}

function countReads(bench: Bench): () => number {
  const spy = vi.spyOn(bench.hub.broker, "read");
  // What subscribing itself costs is not meant.
  return () => spy.mock.calls.filter(([{ upTo }]) => upTo > 0).length;
}

function delegate(broker: Broker): Omit<Broker, "kind" | "read"> {
  return {
    attach: (...args) => broker.attach(...args),
    publish: (request) => broker.publish(request),
    declare: (...args) => broker.declare(...args),
    end: (...args) => broker.end(...args),
    close: () => broker.close(),
  };
}

/** What is missing between two events was told, exactly; and it has come to the end. */
function expectContinuous({ blocks, gaps, events }: Client, last: number): void {
  const told = gaps.map(({ from, to }) => [seq(from), seq(to)] as const);
  let place = 0;
  for (const { lastEventId } of events) {
    const at = seq(lastEventId);
    expect(at).toBeGreaterThan(place);
    for (let missing = place + 1; missing < at; missing += 1) {
      if (place === 0) break;
      if (told.some(([from, to]) => from < missing && missing <= to)) continue;
      expect.fail(`${missing} is missing and was not told: ${blocks.slice(0, 20).join(", ")}`);
    }
    place = at;
  }
  expect(place).toBe(last);
}

function seq(id: string | null): number {
  return Number(id?.split(".")[1] ?? 0);
}
