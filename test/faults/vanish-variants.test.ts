// The same on older lines of Node, and over TLS.
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
