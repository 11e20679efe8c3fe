import { setTimeout as delay } from "node:timers/promises";
import { test } from "vitest";
import { needsNamespaces } from "../support/netns.ts";
import { describeWith, needs } from "../support/programs.ts";
import { PORT } from "../support/remote.ts";
import { Stand } from "./stand.ts";
import { ANY_MS_MAX, HEARTBEAT_MS, IDLE_MS_MAX, delaysOf, say, vanish } from "./vanishing.ts";

const PEERS = 40;

describeWith(
  { ip: needsNamespaces(), iptables: needs("iptables") },
  "a peer that vanishes without FIN",
  () => {
    test.concurrent(
      "F01 law 12 is evicted within 20 s from an idle stream, at whatever phase of the heartbeat: 40 peers",
      { timeout: 120_000 },
      async ({ expect, onTestFinished }) => {
        const stand = await Stand.start(onTestFinished, {
          heartbeat: { heartbeatMs: HEARTBEAT_MS },
        });
        await stand.open({ topic: "quiet", count: PEERS });
        const ports = (await stand.seen()).map(({ localPort }) => localPort);
        const vanishedAt = new Map<number, number>();
        await Promise.all(
          ports.map(async (port) => {
            await delay(Math.random() * HEARTBEAT_MS);
            vanishedAt.set(port, await vanish(stand, port));
          }),
        );
        await stand.until(
          async () => (await stand.connections()) === 0,
          "eviction of all",
          ANY_MS_MAX + 10_000,
        );
        const { delaysMs, reasons } = delaysOf(await stand.ended(), vanishedAt);
        say("idle", delaysMs, reasons);
        expect(delaysMs).toHaveLength(PEERS);
        expect(delaysMs.at(-1)).toBeLessThanOrEqual(IDLE_MS_MAX);
        const { keepalive = 0, unacked = 0, ...others } = reasons;
        expect([keepalive + unacked, others]).toEqual([PEERS, {}]);
        expect(await stand.metric("sluice_evicted_total keepalive")).toBe(keepalive);
        expect(await stand.metric("sluice_evicted_total unacked")).toBe(unacked);
        await stand.until(
          async () => (await stand.metric("sluice_unacked_suspects")) === 0,
          "end of suspicion",
        );
        for (const state of ["reading", "live", "draining"]) {
          expect(await stand.metric(`sluice_subscribers ${state}`)).toBe(0);
        }
      },
    );

    test.concurrent(
      "F02 is evicted within 30 s from a busy stream",
      { timeout: 90_000 },
      async ({ expect, onTestFinished }) => {
        const stand = await Stand.start(onTestFinished);
        await stand.open({ topic: "busy", count: 20 });
        const seen = await stand.seen();
        const publishing = stand.publish({ topic: "busy", count: 450, everyMs: 50, bytes: 1_000 });
        const vanishedAt = new Map<number, number>();
        // Half of them; the others show that nobody else is evicted.
        await Promise.all(
          seen.slice(0, 10).map(async ({ localPort }) => {
            await delay(Math.random() * 5_000);
            vanishedAt.set(localPort, await vanish(stand, localPort));
          }),
        );
        await stand.until(
          async () => (await stand.connections()) === 10,
          "eviction of ten",
          ANY_MS_MAX + 5_000,
        );
        const { delaysMs, reasons } = delaysOf(await stand.ended(), vanishedAt);
        say("busy", delaysMs, reasons);
        expect(delaysMs.at(-1)).toBeLessThanOrEqual(ANY_MS_MAX);
        expect(reasons).toEqual({ unacked: 10 });
        const count = await publishing;
        await stand.until(
          async () => (await stand.seen()).slice(10).every(({ last }) => last === count),
          "the last event at the others",
        );
        expect(await stand.connections()).toBe(10);
      },
    );

    test.concurrent(
      "F04 is evicted within 30 s when packets are lost one way only, on busy and idle streams",
      { timeout: 90_000 },
      async ({ expect, onTestFinished }) => {
        const stand = await Stand.start(onTestFinished);
        await stand.open({ topic: "busy", count: 4 });
        await stand.open({ topic: "quiet", count: 4 });
        const publishing = stand.publish({ topic: "busy", count: 300, everyMs: 50 });
        const at = Date.now();
        const vanishedAt = new Map(
          (await stand.seen()).map(({ localPort }) => [localPort, at] as const),
        );
        await stand.client.drop("INPUT", "-p", "tcp", "--sport", `${PORT}`);
        await stand.until(
          async () => (await stand.connections()) === 0,
          "eviction of all",
          ANY_MS_MAX + 5_000,
        );
        const { delaysMs, reasons } = delaysOf(await stand.ended(), vanishedAt);
        say("one way", delaysMs, reasons);
        expect(delaysMs.at(-1)).toBeLessThanOrEqual(ANY_MS_MAX);
        const { keepalive = 0, unacked = 0 } = reasons;
        expect([keepalive + unacked, unacked >= 4]).toEqual([8, true]);
        await publishing;
      },
    );

    test.concurrent(
      "F02 F08 is evicted within 30 s also if it had stopped reading; one that only stopped stays longer",
      { timeout: 90_000 },
      async ({ expect, onTestFinished }) => {
        const stand = await Stand.start(onTestFinished, {}, ({ client }) =>
          client.sysctl({ "net.ipv4.tcp_rmem": "4096 4096 4096" }),
        );
        const pace = { bytes: 64, pauseMs: 1_000_000 };
        await stand.open({ topic: "orders", count: 8, pace });
        // More than the client's kernel takes, and all of it in the gateway's: nothing is pending there.
        await stand.publish({ topic: "orders", count: 20, everyMs: 0, bytes: 1_000 });
        await delay(3_000);
        const vanishedAt = new Map<number, number>();
        for (const { localPort } of (await stand.seen()).slice(0, 4)) {
          vanishedAt.set(localPort, await vanish(stand, localPort));
        }
        await stand.until(
          async () => (await stand.connections()) === 4,
          "eviction of four",
          ANY_MS_MAX + 5_000,
        );
        const { delaysMs, reasons } = delaysOf(await stand.ended(), vanishedAt);
        say("window closed", delaysMs, reasons);
        expect(delaysMs.at(-1)).toBeLessThanOrEqual(ANY_MS_MAX);
        expect(reasons).toEqual({ unacked: 4 });
        await delay(5_000);
        expect(await stand.connections()).toBe(4);
      },
    );
  },
);
