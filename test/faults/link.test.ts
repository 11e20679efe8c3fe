// Links that are down, lose packets or are slow.
import { setTimeout as delay } from "node:timers/promises";
import { test } from "vitest";
import { needsNamespaces } from "../support/netns.ts";
import { describeWith, needs } from "../support/programs.ts";
import { Stand } from "./stand.ts";

describeWith(
  { ip: needsNamespaces(), iptables: needs("iptables"), tc: needs("tc") },
  "a bad link",
  () => {
    test.concurrent(
      "F03 that is down for 20 s costs no event: readers resume exactly",
      { timeout: 90_000 },
      async ({ expect, onTestFinished }) => {
        const stand = await Stand.start(onTestFinished, { heartbeat: { heartbeatMs: 2_000 } });
        // As the client does: 2.5 heartbeats of silence are too many.
        await stand.open({ topic: "orders", count: 10, idleMs: 5_000 });
        const publishing = stand.publish({ topic: "orders", count: 600, everyMs: 50 });
        await delay(2_000);
        await stand.client.link("down");
        await delay(20_000);
        await stand.client.link("up");
        const seen = await stand.everybodyHas(await publishing, 40_000);
        expect(seen.map(({ failure }) => failure).filter(Boolean)).toEqual([]);
        expect(seen.every(({ last }) => last === 600)).toBe(true);
        await stand.until(async () => (await stand.connections()) === 10, "ten connections");
        // Nobody waited for the kernel, which would have retransmitted for a quarter of an hour.
        const ended = (await stand.ended()).map(({ reason }) => reason);
        expect(ended.filter((reason) => reason === "unacked").length).toBeGreaterThanOrEqual(10);
      },
    );

    test.concurrent(
      "F05 that loses 5 % of the packets both ways loses no event",
      { timeout: 90_000 },
      async ({ expect, onTestFinished }) => {
        const stand = await Stand.start(onTestFinished);
        await stand.open({ topic: "orders", count: 20, idleMs: 50_000 });
        const lossy = ["-p", "tcp", "-m", "statistic", "--mode", "random", "--probability", "0.05"];
        await stand.client.drop("INPUT", ...lossy);
        await stand.client.drop("OUTPUT", ...lossy);
        const count = await stand.publish({ topic: "orders", count: 400, everyMs: 50, bytes: 500 });
        const seen = await stand.everybodyHas(count, 40_000);
        expect(seen.map(({ failure }) => failure).filter(Boolean)).toEqual([]);
        const latencies = seen.flatMap((reader) => reader.latenciesMs).toSorted((a, b) => a - b);
        const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? 0;
        const figures = `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${latencies.at(-1)} ms`;
        console.log(`5 % loss: ${latencies.length} deliveries, ${figures}`);
        // Packets are lost, but nobody is gone.
        expect(await stand.ended()).toEqual([]);
      },
    );

    test.concurrent(
      "F12 of 64 kbit/s is not ended as long as it drains",
      { timeout: 90_000 },
      async ({ expect, onTestFinished }) => {
        const stand = await Stand.start(onTestFinished, {
          heartbeat: { heartbeatMs: 2_000, stallMs: 20_000 },
        });
        await stand.open({ topic: "orders" });
        const rate = ["tbf", "rate", "64kbit", "burst", "1600", "latency", "400ms"];
        await stand.gateway.run("tc", "qdisc", "add", "dev", "vg", "root", ...rate);
        const count = await stand.publish({
          topic: "orders",
          count: 200,
          everyMs: 0,
          bytes: 1_000,
        });
        const [seen] = await stand.everybodyHas(count, 70_000);
        expect(seen).toMatchObject({ last: count, failure: "", connections: 1, closes: [] });
        // It was too slow for all of it to be on its way at once.
        expect(Math.max(...(seen?.latenciesMs ?? []))).toBeGreaterThan(15_000);
        expect(await stand.ended()).toEqual([]);
      },
    );
  },
);
