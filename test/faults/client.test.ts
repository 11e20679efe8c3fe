// Clients that are slow, half-closed or gone in the middle of an event, and a gateway that was stopped.
import { setTimeout as delay } from "node:timers/promises";
import { test } from "vitest";
import { needsNamespaces } from "../support/netns.ts";
import type { Host } from "../support/netns.ts";
import { describeWith, needs } from "../support/programs.ts";
import { Stand } from "./stand.ts";

/** The kernel of the client takes little, as with a small SO_RCVBUF, which Node cannot set. */
async function withSmallBuffers({ client }: { client: Host }): Promise<void> {
  await client.sysctl({ "net.ipv4.tcp_rmem": "4096 4096 4096" });
}

describeWith({ ip: needsNamespaces(), sysctl: needs("sysctl") }, "a client", () => {
  test.concurrent("F06 that half-closes has left: its stream is ended cleanly, at once", async ({
    expect,
    onTestFinished,
  }) => {
    const stand = await Stand.start(onTestFinished);
    await stand.open({ topic: "orders" });
    await stand.publish({ topic: "orders", count: 1, everyMs: 0 });
    await stand.everybodyHas(1, 10_000);
    await stand.reader("halfClose", 0);
    await stand.until(async () => (await stand.connections()) === 0, "the end");
    expect(await stand.ended()).toMatchObject([{ reason: "client_closed" }]);
    await stand.until(async () => !(await stand.seen()).some(({ isOpen }) => isOpen), "the close");
    expect((await stand.seen())[0]).toMatchObject({ last: 1, failure: "" });
    expect(await stand.loud()).toEqual([]);
  });

  test.concurrent("F07 that resets in the middle of an event is counted, not complained of, and resumes exactly", async ({
    expect,
    onTestFinished,
  }) => {
    const stand = await Stand.start(onTestFinished, {}, withSmallBuffers);
    const pace = { bytes: 2_000, pauseMs: 20 };
    await stand.open({ topic: "orders", idleMs: 20_000, pace });
    await stand.publish({ topic: "orders", count: 1, everyMs: 0 });
    await stand.everybodyHas(1, 10_000);
    await stand.publish({ topic: "orders", count: 1, everyMs: 0, bytes: 800_000 });
    await stand.until(async () => ((await stand.seen())[0]?.bytes ?? 0) > 20_000, "half an event");
    await stand.reader("reset", 0);
    await stand.until(async () => (await stand.ended()).length === 1, "the end");
    expect(await stand.ended()).toMatchObject([{ reason: "reset" }]);
    expect(await stand.metric("sluice_disconnects_total reset")).toBe(1);
    await stand.reader("hurry", 0);
    await stand.publish({ topic: "orders", count: 1, everyMs: 0 });
    const [seen] = await stand.everybodyHas(3, 20_000);
    expect(seen).toMatchObject({ last: 3, failure: "", connections: 2 });
    expect(await stand.loud()).toEqual([]);
  });

  test.concurrent(
    "F08 of 1 byte/s is ended past the stall deadline, not as silent, and resumes exactly",
    { timeout: 90_000 },
    async ({ expect, onTestFinished }) => {
      const heartbeat = { heartbeatMs: 2_000, stallMs: 8_000 };
      const stand = await Stand.start(onTestFinished, { heartbeat }, withSmallBuffers);
      const pace = { bytes: 1, pauseMs: 1_000 };
      await stand.open({ topic: "orders", idleMs: 60_000, pace });
      await stand.open({ topic: "orders" });
      const publishing = stand.publish({
        topic: "orders",
        count: 1_000,
        everyMs: 10,
        bytes: 2_000,
      });
      await stand.until(async () => (await stand.ended()).length === 1, "the end", 60_000);
      expect(await stand.ended()).toMatchObject([{ reason: "slow_consumer" }]);
      expect(await stand.metric("sluice_evicted_total slow_consumer")).toBe(1);
      expect(await stand.metric("sluice_unacked_suspects")).toBe(0);
      await stand.reader("hurry", 0);
      const seen = await stand.everybodyHas(await publishing, 30_000);
      expect(seen).toMatchObject([
        { last: 1_000, failure: "", connections: 2 },
        { last: 1_000, failure: "", connections: 1 },
      ]);
    },
  );

  test.concurrent(
    "F11 that pushes back at every write gets everything once",
    { timeout: 60_000 },
    async ({ expect, onTestFinished }) => {
      const heartbeat = { heartbeatMs: 2_000, stallMs: 10_000 };
      const stand = await Stand.start(onTestFinished, { heartbeat }, withSmallBuffers);
      const pace = { bytes: 4_096, pauseMs: 4 };
      await stand.open({ topic: "orders", count: 4, pace });
      const count = await stand.publish({ topic: "orders", count: 60, everyMs: 20, bytes: 40_000 });
      const seen = await stand.everybodyHas(count, 50_000);
      for (const reader of seen) {
        expect(reader).toMatchObject({ last: count, failure: "", connections: 1, closes: [] });
      }
      // Each lagged, and read the log an event or two at a time, waiting for every write to leave. Those
      // who stand at the same place read it once for all.
      expect(await stand.metric("sluice_lagged_total")).toBeGreaterThanOrEqual(4);
      expect(await stand.metric("sluice_log_reads_total")).toBeGreaterThan(20);
      expect(await stand.ended()).toEqual([]);
    },
  );
});

describeWith({ ip: needsNamespaces() }, "a gateway that stood still", () => {
  test.concurrent(
    "P04 P05 evicts nobody for it, whether it was stopped for 10 s or busy for 3 s",
    { timeout: 60_000 },
    async ({ expect, onTestFinished }) => {
      const stand = await Stand.start(onTestFinished, {
        heartbeat: { heartbeatMs: 2_000, stallMs: 5_000 },
        unackedMs: 2_000,
      });
      await stand.open({ topic: "orders", count: 50 });
      const publishing = stand.publish({ topic: "orders", count: 500, everyMs: 5, bytes: 2_000 });
      await delay(500);
      stand.signal("SIGSTOP");
      await delay(10_000);
      stand.signal("SIGCONT");
      await stand.block(3_000);
      const seen = await stand.everybodyHas(await publishing, 30_000);
      // Several heartbeats later they are still there.
      await delay(5_000);
      expect(seen.every(({ failure, connections }) => failure === "" && connections === 1)).toBe(
        true,
      );
      expect([await stand.ended(), await stand.connections()]).toEqual([[], 50]);
    },
  );
});
