import { describe, expect, test } from "vitest";
import { Bench } from "./bench.ts";
import type { Client } from "./bench.ts";

const HOUR_MS = 3_600_000;

/** Answers each heartbeat, as a client does that promised to; the answer is on its way for a moment. */
function acknowledge(bench: Bench): (client: Client) => void {
  return (client) => {
    if (client.blocks.at(-1) !== "heartbeat") return;
    bench.runtime.after(50, () => void client.subscriber.ack());
  };
}

describe("a heartbeat", () => {
  test("law 1: as an event it has data, that EventSource dispatches it, and no id", async () => {
    const bench = new Bench();
    const client = await bench.join("a", { heartbeat: "event" });
    await bench.runtime.run(20_000);
    expect(client.text.slice(client.text.indexOf("id:"))).toMatch(
      /^id: .*\n\n(event: heartbeat\ndata: ?\n\n)+$/,
    );
    await bench.runtime.run(500_000);
    expect(client.connection.isOpen).toBe(true);
    expect(client.blocks).not.toContain(": heartbeat");
  });

  test("that the client promised to acknowledge is answered, and the connection stays", async () => {
    const bench = new Bench({ heartbeat: { maxAgeMs: 0 } });
    const client = await bench.join("a", { heartbeat: "ack", onBytes: acknowledge(bench) });
    await bench.runtime.run(HOUR_MS);
    expect(client.connection.isOpen).toBe(true);
    const beats = client.blocks.filter((block) => block === "heartbeat").length;
    expect(beats).toBeGreaterThanOrEqual(180);
    expect(bench.hub.metrics.plain.sluice_heartbeats_total).toBe(beats);
  });

  test("that is left unacknowledged evicts before the next one is due, idle or busy", async () => {
    const bench = new Bench();
    const idle = await bench.join("a", { heartbeat: "ack" });
    const busy = await bench.join("b", { heartbeat: "ack" });
    const other = await bench.join("a", { heartbeat: "event" });
    await until(bench, () => idle.connection.batches.length > 1);
    await until(bench, () => busy.connection.batches.length > 1);
    const since = bench.runtime.now();
    while (bench.runtime.now() < since + 20_000) {
      await bench.publish("b", "1");
      await bench.runtime.run(500);
    }
    expect([idle.connection.endedBy, busy.connection.endedBy]).toEqual([
      "ack_missed",
      "ack_missed",
    ]);
    expect(idle.blocks.filter((block) => block === "heartbeat")).toHaveLength(1);
    expect(other.connection.isOpen).toBe(true);
    expect(bench.hub.metrics.get("sluice_evicted_total", "ack_missed")).toBe(2);
  });

  test("is acknowledged once: an ACK that nothing asked for is refused and changes nothing", async () => {
    const bench = new Bench();
    const client = await bench.join("a", { heartbeat: "ack" });
    expect(client.subscriber.ack()).toBe(false);
    await until(bench, () => client.blocks.at(-1) === "heartbeat");
    expect([client.subscriber.ack(), client.subscriber.ack()]).toEqual([true, false]);
    expect(client.connection.isOpen).toBe(true);
  });
});

describe("a process that stood still evicts nobody for it, and doubles no heartbeat:", () => {
  const stalls = [
    ["P05 a busy loop of 3 s", 3_000],
    ["P04 a stop of 60 s", 60_000],
    ["P04 a stop of an hour", HOUR_MS],
  ] as const;
  test.each(stalls)("%s", async (_name, stallMs) => {
    const bench = new Bench();
    const beatsAt = new Map<Client, number[]>();
    const onBytes = (client: Client): void => {
      if (client.blocks.at(-1)?.endsWith("heartbeat") !== true) return;
      beatsAt.set(client, [...(beatsAt.get(client) ?? []), bench.runtime.now()]);
    };
    const idle = [];
    for (let index = 0; index < 40; index += 1) idle.push(await bench.join("a", { onBytes }));
    const acking = await bench.join("a", {
      heartbeat: "ack",
      onBytes: (client) => {
        onBytes(client);
        acknowledge(bench)(client);
      },
    });
    await bench.runtime.run(30_000);
    // Bytes are on the way to this one, as they were when the process was stopped.
    const slow = await bench.join("b", { onBytes });
    slow.connection.block();
    await bench.publish("b", "x");
    await bench.runtime.run(20_000);
    await until(bench, () => acking.blocks.at(-1) === "heartbeat");
    bench.runtime.elapse(stallMs);
    const resumedAt = bench.runtime.now();
    // The timer's turn comes before that of the sockets: whatever came meanwhile is not seen yet.
    bench.runtime.after(20, () => slow.connection.release());
    await bench.runtime.run(40_000);
    const all = [...idle, acking, slow];
    expect(all.map(({ connection }) => connection.endedBy)).toEqual(all.map(() => undefined));
    expect(bench.hub.metrics.get("sluice_disconnects_total", "slow_consumer")).toBe(0);
    expect(slow.seqs).toHaveLength(1);
    for (const client of all) {
      const times = beatsAt.get(client)?.filter((at) => at >= resumedAt) ?? [];
      expect(times.length).toBeGreaterThan(0);
      expect(times.length).toBeLessThanOrEqual(4);
      for (const [index, at] of times.entries()) {
        if (index > 0) expect(at - (times[index - 1] ?? 0)).toBeGreaterThanOrEqual(10_000);
      }
    }
  });

  test("who was silent before and stays so after is evicted all the same", async () => {
    const bench = new Bench();
    const client = await bench.join("a");
    client.connection.block();
    await bench.publish("a", "x");
    await bench.runtime.run(10_000);
    bench.runtime.elapse(60_000);
    await bench.runtime.run(14_000);
    expect(client.connection.isOpen).toBe(true);
    await bench.runtime.run(2_000);
    expect(client.connection.endedBy).toBe("slow_consumer");
  });
});

describe("the wall clock", () => {
  const steps = [
    ["an hour on", HOUR_MS],
    ["an hour back", -HOUR_MS],
    ["ten years on", 3_650 * 24 * HOUR_MS],
  ] as const;
  test.each(steps)("P20 may step %s: nobody is evicted, nothing is lost", async (_name, stepMs) => {
    const bench = new Bench();
    await bench.publish("a", "before");
    const live = await bench.join("a", { heartbeat: "ack", onBytes: acknowledge(bench) });
    const slow = await bench.join("a");
    slow.connection.block();
    await bench.publish("a", "1");
    await bench.runtime.run(20_000);
    const wallTime = bench.runtime.wallTime.bind(bench.runtime);
    bench.runtime.wallTime = () => wallTime() + stepMs;
    await bench.runtime.run(4_000);
    await bench.publish("a", "2");
    expect([live.connection.isOpen, slow.connection.isOpen]).toEqual([true, true]);
    slow.connection.release();
    await bench.runtime.run(60_000);
    for (const client of [live, slow]) {
      expect(client.data).toEqual(["1", "2"]);
      expect(client.gaps).toEqual([]);
    }
    const late = await bench.join("a", { start: "earliest" });
    expect([late.data, late.gaps]).toEqual([["before", "1", "2"], []]);
  });

  test("P21 may stand still: heartbeats go on", async () => {
    const bench = new Bench();
    const frozen = bench.runtime.wallTime();
    bench.runtime.wallTime = () => frozen;
    const client = await bench.join("a");
    await bench.runtime.run(60_000);
    expect(client.blocks.filter((block) => block === ": heartbeat").length).toBeGreaterThanOrEqual(
      3,
    );
  });
});

/** Lets time pass, up to one interval, until `condition` holds. */
async function until(bench: Bench, condition: () => boolean): Promise<void> {
  for (let ms = 0; !condition(); ms += 10) {
    if (ms > 20_000) throw new Error("what was awaited did not come within an interval");
    await bench.runtime.run(10);
  }
}
