// Many clients that never read: what they cost is bounded, and nobody else notices them.
import { expect, onTestFinished, test } from "vitest";
import { needsNamespaces } from "../support/netns.ts";
import type { Host } from "../support/netns.ts";
import { describeWith, needs } from "../support/programs.ts";
import { Stand } from "./stand.ts";

const KIB = 1_024;
const NEVER_READING = 1_000;
const HEALTHY = 20;
const EVENTS = 500;
const EVENT_BYTES = KIB;
/** One batch waits in the process for each (R07), and 16 KiB more are what a connection may cost. */
const BYTES_EACH_MAX = (64 + 16) * KIB;

/** The kernel would hide 3.8 MiB for each client otherwise, and the process would not lag at all. */
async function withSmallBuffers({
  gateway,
  client,
}: {
  gateway: Host;
  client: Host;
}): Promise<void> {
  await gateway.sysctl({ "net.ipv4.tcp_wmem": "4096 16384 65536" });
  await client.sysctl({ "net.ipv4.tcp_rmem": "4096 16384 65536" });
}

describeWith({ ip: needsNamespaces(), sysctl: needs("sysctl") }, "a thousand clients", () => {
  test(
    "F09 F10 S10 that never read cost one batch each, delay nobody, and get everything once when they read",
    {
      timeout: 180_000,
    },
    async () => {
      const heartbeat = { stallMs: 120_000 };
      const stand = await Stand.start(onTestFinished, { heartbeat }, withSmallBuffers);
      const pace = { bytes: 64, pauseMs: 600_000 };
      await stand.open({ topic: "load", count: NEVER_READING, pace });
      await stand.open({ topic: "load", count: HEALTHY });
      // What 1,020 connections cost without anything to send is not asked here.
      await stand.publish({ topic: "load", count: 10, everyMs: 10 });
      const before = await stand.residentBytes();
      await stand.publish({ topic: "load", count: EVENTS - 10, everyMs: 10, bytes: EVENT_BYTES });
      await stand.until(
        async () =>
          (await stand.seen())
            .slice(NEVER_READING)
            .every(({ last, failure }) => last >= EVENTS || failure !== ""),
        "everything at the healthy readers",
      );
      for (const { last, failure } of (await stand.seen()).slice(NEVER_READING)) {
        expect({ last, failure }).toEqual({ last: EVENTS, failure: "" });
      }
      expect(await stand.metric("sluice_subscribers reading")).toBe(NEVER_READING);
      expect(await stand.metric("sluice_pending_connections")).toBe(NEVER_READING);
      expect(await stand.metric("sluice_pending_bytes")).toBeLessThanOrEqual(
        NEVER_READING * 65 * KIB,
      );
      expect(await stand.metric("sluice_pending_bytes")).toBeGreaterThan(0);
      const grown = (await stand.residentBytes()) - before;
      process.stdout.write(
        `never-read: ${NEVER_READING} clients, ${Math.round(grown / KIB / NEVER_READING)} KiB resident more for each\n`,
      );
      expect(grown).toBeLessThanOrEqual(NEVER_READING * BYTES_EACH_MAX);

      await stand.hurryAll();
      for (const { last, failure, connections } of await stand.everybodyHas(EVENTS, 90_000)) {
        expect({ last, failure, connections }).toEqual({
          last: EVENTS,
          failure: "",
          connections: 1,
        });
      }
      await stand.until(
        async () => (await stand.metric("sluice_pending_bytes")) === 0,
        "empty queues",
      );
    },
  );
});
