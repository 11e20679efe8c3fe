import { onTestFinished, expect, test } from "vitest";
import type { Subscriber } from "../../src/core/subscriber.ts";
import { UnackedWatch } from "../../src/gateway/unacked-watch.ts";
import type { ReadTable } from "../../src/gateway/read-table.ts";
import { silentLogger } from "../../src/gateway/logger.ts";
import { Bench } from "../core/bench.ts";

interface Row {
  readonly port: number;
  /** `tr` of the table: 1 retransmits, 4 probes a closed window. */
  readonly timer?: number;
  readonly unanswered?: number;
  readonly queued?: number;
  /** In how many milliseconds the timer fires. */
  readonly dueMs?: number;
}

const hex = (value: number, digits: number): string =>
  value.toString(16).toUpperCase().padStart(digits, "0");

function rowOf(
  { port, timer = 1, unanswered = 0, queued = 64, dueMs = 0 }: Row,
  index: number,
): string {
  const [retransmits, probes] = timer === 4 ? [0, unanswered] : [unanswered, 0];
  const queues = `${hex(queued, 8)}:00000000 ${hex(timer, 2)}:${hex(dueMs / 10, 8)} ${hex(retransmits, 8)}`;
  const row = `${index}: 0100000A:1F90 0200000A:${hex(port, 4)} 01 ${queues}     0 ${probes} 1 1 0`;
  return `${row.padEnd(149)}\n`;
}

/** A watch over a kernel's table of the test's, and a subscriber for each of `ports`. */
class Stand {
  rows: readonly Row[] = [];
  reads = 0;
  /** What reading fails with. */
  failure: string | undefined;
  readonly debugs: string[] = [];
  readonly bench = new Bench({ heartbeat: { heartbeatMs: 1e9, bookmarkMs: 1e9 } });
  readonly watch: UnackedWatch;

  constructor() {
    const { hub, runtime } = this.bench;
    const read: ReadTable = async (path, onBytes) => {
      if (path.endsWith("6")) return;
      this.reads += 1;
      if (this.failure !== undefined) {
        throw Object.assign(new Error(this.failure), { code: this.failure });
      }
      onBytes(Buffer.from(this.rows.map(rowOf).join("")));
    };
    const logger = {
      ...silentLogger,
      debug: (_fields: object, text: string) => void this.debugs.push(text),
    };
    this.watch = new UnackedWatch({ hub, runtime, logger, readTable: read });
    this.watch.start(0x1f90);
    onTestFinished(() => this.watch.stop());
  }

  async join(port: number): Promise<Subscriber> {
    const client = await this.bench.join("a");
    Object.assign(client.connection, { peer: `10.0.0.2:${port}` });
    return client.subscriber;
  }

  /** So many scans, a second apart. */
  async scans(count: number): Promise<void> {
    for (let scan = 0; scan < count; scan += 1) await this.bench.runtime.run(1_000);
  }

  get evicted(): number {
    return this.bench.hub.metrics.get("sluice_evicted_total", "unacked");
  }

  get cut(): number {
    return this.bench.hub.metrics.get("sluice_evicted_total", "slow_consumer");
  }

  get suspects(): number {
    return this.bench.hub.metrics.plain.sluice_unacked_suspects;
  }
}

test("F02 who acknowledges nothing in any scan of 6 s is evicted, and nobody else", async () => {
  const stand = new Stand();
  const [gone, shut, slow, healthy] = [
    await stand.join(50_001),
    await stand.join(50_002),
    await stand.join(50_003),
    await stand.join(50_004),
  ];
  for (let scan = 0; scan < 6; scan += 1) {
    stand.rows = [
      { port: 50_001, unanswered: 1 + scan },
      // One probe of its window is not answered, and the wait for the next one goes on.
      { port: 50_002, timer: 4, unanswered: 1, dueMs: 20_000 - scan * 1_000 },
      // Each scan happens to see a probe that is answered a moment later.
      { port: 50_003, timer: 4, unanswered: 1, dueMs: 2_000 },
      { port: 50_004, unanswered: 0 },
    ];
    await stand.scans(1);
    expect([stand.suspects, stand.evicted]).toEqual([3, 0]);
  }
  stand.rows = stand.rows.map((row) => ({ ...row, dueMs: (row.dueMs ?? 0) - 1_000 }));
  await stand.scans(1);
  expect([stand.suspects, stand.evicted]).toEqual([1, 2]);
  expect([gone.state, shut.state, slow.state, healthy.state]).toEqual([
    "closed",
    "closed",
    "live",
    "live",
  ]);
});

test("whoever has acknowledged something between two scans is no longer suspected", async () => {
  const stand = new Stand();
  await stand.join(50_001);
  for (let scan = 0; scan < 40; scan += 1) {
    // 1, 2, 3, 4, 5, then an acknowledgement, and the next loss.
    stand.rows = [{ port: 50_001, unanswered: 1 + (scan % 5) }];
    await stand.scans(1);
  }
  stand.rows = [{ port: 50_001, unanswered: 0 }];
  await stand.scans(1);
  expect([stand.suspects, stand.evicted]).toEqual([0, 0]);
});

test("P04 P05 a stall of our own loop evicts nobody: what counts is what scans saw", async () => {
  const stand = new Stand();
  const subscriber = await stand.join(50_001);
  stand.rows = [{ port: 50_001, unanswered: 1 }];
  await stand.scans(1);
  // Stopped for a minute. The next scan still sees a packet lost just now; the one after sees the answer.
  stand.bench.runtime.elapse(60_000);
  await stand.scans(1);
  expect([stand.suspects, subscriber.state]).toEqual([1, "live"]);
  stand.rows = [{ port: 50_001, unanswered: 0, queued: 0 }];
  await stand.scans(20);
  expect([stand.suspects, stand.evicted, subscriber.state]).toEqual([0, 0, "live"]);
});

/**
 * How the kernel waits for its next probe of a window that was closed so long ago, in milliseconds: 0.2 s
 * at first, then always twice as long as before, up to a maximum.
 */
function probeDueMs(closedMs: number, waitMsMax = 120_000): number {
  let waitMs = 200;
  let leftMs = closedMs;
  while (leftMs >= waitMs) {
    leftMs -= waitMs;
    waitMs = Math.min(waitMsMax, waitMs * 2);
  }
  return waitMs - leftMs;
}

test("F02 F08 a window that stays closed for the stall deadline is that of a slow consumer", async () => {
  const stand = new Stand();
  const shut = await stand.join(50_001);
  const reading = await stand.join(50_002);
  // What is written meanwhile waits in the kernel as well, so that what is taken shows in no length.
  const rowsAt = (ms: number): readonly Row[] => [
    { port: 50_001, timer: 4, queued: 1_000 + ms, dueMs: probeDueMs(ms) },
    { port: 50_002, timer: 4, queued: 1_000 + ms, dueMs: probeDueMs(ms % 20_000) },
  ];
  for (let scan = 0; scan < 25; scan += 1) {
    stand.rows = rowsAt(scan * 1_000);
    await stand.scans(1);
    expect([shut.state, reading.state, stand.suspects]).toEqual(["live", "live", 0]);
  }
  for (let scan = 25; scan < 100; scan += 1) {
    stand.rows = rowsAt(scan * 1_000).slice(scan < 28 ? 0 : 1);
    await stand.scans(1);
    if (scan === 28) expect(shut.state).toBe("closed");
  }
  expect([reading.state, stand.cut, stand.evicted]).toEqual(["live", 1, 0]);
});

test("F08 a kernel that probes closed windows often tells of them alike", async () => {
  const stand = new Stand();
  const shut = await stand.join(50_001);
  const reading = await stand.join(50_002);
  // `net.ipv4.tcp_rto_max_ms` of 8,000: no wait is as long as the stall deadline.
  for (let scan = 0; scan < 40; scan += 1) {
    const ms = scan * 1_000;
    stand.rows = [
      { port: 50_001, timer: 4, dueMs: probeDueMs(ms, 8_000) },
      { port: 50_002, timer: 4, dueMs: probeDueMs(ms % 20_000, 8_000) },
    ].slice(shut.state === "live" ? 0 : 1);
    await stand.scans(1);
    if (scan === 24) expect(shut.state).toBe("live");
    if (scan === 28) expect(shut.state).toBe("closed");
  }
  expect([reading.state, stand.cut, stand.evicted]).toEqual(["live", 1, 0]);
});

test("a window that was closed a moment ago at every scan is open in between", async () => {
  const stand = new Stand();
  const often = await stand.join(50_001);
  const late = await stand.join(50_002);
  for (let scan = 0; scan < 200; scan += 1) {
    stand.rows = [
      // At the same moment of its first waits, or a little later each time; those of a slow path are long.
      { port: 50_001, timer: 4, dueMs: scan < 100 ? 400 : 2_500 },
      { port: 50_002, timer: 4, dueMs: 200 + scan * 10 },
    ];
    await stand.scans(1);
  }
  expect([often.state, late.state, stand.cut]).toEqual(["live", "live", 0]);
});

test("P04 P05 a stall of our own cuts no reader that takes something when it may", async () => {
  const stand = new Stand();
  const subscriber = await stand.join(50_001);
  stand.rows = [{ port: 50_001, timer: 4, dueMs: 6_000 }];
  await stand.scans(1);
  stand.bench.runtime.elapse(60_000);
  // It has taken something just now: the kernel has begun anew.
  stand.rows = [{ port: 50_001, timer: 4, dueMs: 150 }];
  await stand.scans(1);
  stand.rows = [];
  await stand.scans(3);
  expect([subscriber.state, stand.cut]).toEqual(["live", 0]);
});

test("nothing is read while nothing was written since all was acknowledged", async () => {
  const stand = new Stand();
  const { hub } = stand.bench;
  await stand.join(50_001);
  await stand.scans(5);
  expect(stand.reads).toBe(1);
  await stand.scans(30);
  expect(stand.reads).toBe(1);
  stand.rows = [{ port: 50_001, unanswered: 0 }];
  await stand.bench.runtime.resolve(stand.bench.publish("a", "1"));
  await stand.scans(4);
  // On its way, so that each scan looks again.
  expect(stand.reads).toBe(5);
  stand.rows = [];
  await stand.scans(10);
  expect([stand.reads, hub.metrics.plain.sluice_unacked_scans_total]).toEqual([6, 6]);
});

test("a socket that carries no stream is looked for once in 6 s, not at each scan", async () => {
  const stand = new Stand();
  await stand.join(50_001);
  const { hub } = stand.bench;
  let searches = 0;
  const connections = hub.connections.bind(hub);
  hub.connections = () => {
    searches += 1;
    return connections();
  };
  stand.rows = [{ port: 60_000, unanswered: 9 }];
  await stand.scans(20);
  expect([searches, stand.evicted]).toEqual([3, 0]);
});

test("where the kernel has no such table it says so once, and looks no more", async () => {
  const stand = new Stand();
  await stand.join(50_001);
  stand.failure = "ENOENT";
  const { hub, runtime } = stand.bench;
  const noTable: ReadTable = () => Promise.reject(Object.assign(new Error(), { code: "ENOENT" }));
  const debugs: string[] = [];
  const logger = { ...silentLogger, debug: (_: object, text: string) => void debugs.push(text) };
  const watch = new UnackedWatch({ hub, runtime, logger, readTable: noTable });
  stand.watch.stop();
  watch.start(0x1f90);
  const timers = runtime.timersNow;
  await runtime.run(10_000);
  expect(debugs).toEqual(["clients that acknowledge nothing are not watched: no such table"]);
  expect(runtime.timersNow).toBe(timers - 1);
});

test("a table that cannot be opened just now is tried again, and nobody suffers", async () => {
  const stand = new Stand();
  const subscriber = await stand.join(50_001);
  stand.rows = [{ port: 50_001, unanswered: 3 }];
  await stand.scans(3);
  stand.failure = "EMFILE";
  await stand.scans(10);
  expect([stand.debugs.length, subscriber.state]).toEqual([10, "live"]);
  stand.failure = undefined;
  await stand.scans(4);
  expect([stand.evicted, subscriber.state]).toEqual([1, "closed"]);
});
