// The same on older lines of Node, over TLS, and behind a window that was closed before.
import { setTimeout as delay } from "node:timers/promises";
import { test } from "vitest";
import { readTlsIdentity } from "../../src/gateway/tls.ts";
import { makeCertificate } from "../support/certificate.ts";
import { needsNamespaces } from "../support/netns.ts";
import { describeWith, needs, nodeBinary } from "../support/programs.ts";
import { Stand } from "./stand.ts";
import { ANY_MS_MAX, HEARTBEAT_MS, IDLE_MS_MAX, delaysOf, say, vanish } from "./vanishing.ts";

describeWith(
  {
    ip: needsNamespaces(),
    iptables: needs("iptables"),
    sysctl: needs("sysctl"),
    node22: nodeBinary(22),
    node24: nodeBinary(24),
  },
  "a peer that vanishes from a gateway on an older Node",
  ({ node22, node24 }) => {
    test.concurrent.for([
      {
        name: "22, where the sysctls must say what JavaScript cannot",
        node: node22,
        sysctls: {
          "net.ipv4.tcp_keepalive_time": "4",
          "net.ipv4.tcp_keepalive_intvl": "2",
          "net.ipv4.tcp_keepalive_probes": "3",
        },
      },
      { name: "24, with the sysctls as they are", node: node24, sysctls: {} },
    ])(
      "F01 is evicted within 20 s from an idle stream on Node $name",
      { timeout: 90_000 },
      async ({ name, node, sysctls }, { expect, onTestFinished }) => {
        const stand = await Stand.start(
          onTestFinished,
          { heartbeat: { heartbeatMs: HEARTBEAT_MS } },
          ({ gateway }) => gateway.sysctl(sysctls),
          node,
        );
        await stand.open({ topic: "quiet", count: 20 });
        const vanishedAt = new Map<number, number>();
        await Promise.all(
          (await stand.seen()).map(async ({ localPort }) => {
            await delay(Math.random() * 5_000);
            vanishedAt.set(localPort, await vanish(stand, localPort));
          }),
        );
        await stand.until(async () => (await stand.connections()) === 0, "eviction", ANY_MS_MAX);
        const { delaysMs, reasons } = delaysOf(await stand.ended(), vanishedAt);
        say(`Node ${name}`, delaysMs, reasons);
        expect(delaysMs.at(-1)).toBeLessThanOrEqual(IDLE_MS_MAX);
        const { keepalive = 0, unacked = 0 } = reasons;
        expect(keepalive + unacked).toBe(20);
        // The run did: with heartbeats alone nobody would be given up by the kernel.
        expect(keepalive).toBeGreaterThan(0);
      },
    );
  },
);

describeWith(
  { ip: needsNamespaces(), iptables: needs("iptables"), openssl: needs("openssl") },
  "a peer that vanishes from a stream over TLS",
  ({ openssl }) => {
    test(
      "F01 F02 is evicted as in the clear",
      { timeout: 90_000 },
      async ({ expect, onTestFinished }) => {
        const { cert, key } = readTlsIdentity(makeCertificate(openssl));
        const tls = { cert: cert.toString(), key: key.toString() };
        const stand = await Stand.start(onTestFinished, { tls });
        await stand.open({ topic: "busy", count: 4, isTls: true });
        await stand.open({ topic: "quiet", count: 4, isTls: true });
        const publishing = stand.publish({ topic: "busy", count: 200, everyMs: 50 });
        const vanishedAt = new Map<number, number>();
        for (const { localPort } of await stand.seen()) {
          vanishedAt.set(localPort, await vanish(stand, localPort));
        }
        await stand.until(async () => (await stand.connections()) === 0, "eviction", ANY_MS_MAX);
        const { delaysMs, reasons } = delaysOf(await stand.ended(), vanishedAt);
        say("TLS", delaysMs, reasons);
        expect(delaysMs.at(-1)).toBeLessThanOrEqual(IDLE_MS_MAX);
        const { keepalive = 0, unacked = 0 } = reasons;
        expect([keepalive + unacked, unacked >= 4]).toEqual([8, true]);
        await publishing;
      },
    );
  },
);

describeWith(
  { ip: needsNamespaces(), iptables: needs("iptables"), sysctl: needs("sysctl") },
  "a peer with a closed window",
  () => {
    /** Before it vanishes it has not read for so long, in milliseconds; `Infinity` is never. */
    const STOPPED_MS = [1_000, 6_000, 10_000, 14_000, 20_000, Infinity];
    const PEERS_EACH = 4;
    const STALL_MS = 25_000;

    test.concurrent(
      "F02 F08 that vanishes is evicted within 30 s, however long it had not read, and at the stall deadline if it stays; one that takes something now and then is not",
      { timeout: 150_000 },
      async ({ expect, onTestFinished }) => {
        const stand = await Stand.start(onTestFinished, {}, async ({ gateway, client }) => {
          await client.sysctl({ "net.ipv4.tcp_rmem": "4096 4096 4096" });
          // All waits in the gateway's kernel: nothing is ever pending in the process.
          await gateway.sysctl({ "net.ipv4.tcp_wmem": "4096 4194304 4194304" });
        });
        const topic = "orders";
        const stopped = STOPPED_MS.length * PEERS_EACH;
        await stand.open({ topic, count: stopped, pace: { bytes: 64, pauseMs: 1_000_000 } });
        await stand.open({ topic, count: PEERS_EACH, pace: { bytes: 3_000, pauseMs: 9_000 } });
        // More than the clients' kernel takes.
        await stand.publish({ topic, count: 200, everyMs: 0, bytes: 1_000 });
        const stoppedAt = Date.now();
        const ports = (await stand.seen()).map(({ localPort }) => localPort);
        const vanishedAt = new Map<number, number>();
        await Promise.all(
          STOPPED_MS.map(async (stoppedMs, index) => {
            if (stoppedMs === Infinity) return;
            await delay(stoppedMs);
            for (const port of ports.slice(index * PEERS_EACH, (index + 1) * PEERS_EACH)) {
              vanishedAt.set(port, await vanish(stand, port));
            }
          }),
        );
        // They go on while there is more to send, so that lengths alone would tell nothing.
        const publishing = stand.publish({ topic, count: 200, everyMs: 200, bytes: 1_000 });
        await stand.until(
          async () => (await stand.connections()) === PEERS_EACH,
          "eviction of all that do not read",
          60_000,
        );
        await publishing;
        expect(await stand.metric("sluice_lagged_total")).toBe(0);
        const ended = await stand.ended();
        const stayed = ended.filter(({ peer }) => !vanishedAt.has(Number(peer.split(":")[1])));
        const { delaysMs, reasons } = delaysOf(
          ended.filter((one) => !stayed.includes(one)),
          vanishedAt,
        );
        say("window closed", delaysMs, reasons);
        const cutMs = stayed.map(({ at }) => at - stoppedAt).toSorted((a, b) => a - b);
        say("not reading", cutMs, {});
        expect(delaysMs).toHaveLength(stopped - PEERS_EACH);
        expect(delaysMs.at(-1)).toBeLessThanOrEqual(ANY_MS_MAX);
        const { unacked = 0, slow_consumer = 0, ...others } = reasons;
        expect([unacked + slow_consumer, others]).toEqual([delaysMs.length, {}]);
        expect(stayed.map(({ reason }) => reason)).toEqual(Array(PEERS_EACH).fill("slow_consumer"));
        // Give or take how long it took them to connect.
        expect(cutMs[0]).toBeGreaterThan(STALL_MS - 1_000);
        const before = (await stand.seen()).slice(stopped);
        await delay(Math.max(15_000, stoppedAt + 2 * STALL_MS - Date.now()));
        const after = (await stand.seen()).slice(stopped);
        expect(await stand.connections()).toBe(PEERS_EACH);
        for (const [index, { bytes, isOpen }] of after.entries()) {
          expect([isOpen, bytes > (before[index]?.bytes ?? 0)]).toEqual([true, true]);
        }
      },
    );
  },
);
