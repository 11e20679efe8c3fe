// DNS that fails on the wire: packets to port 53 that vanish, or are refused.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { onTestFinished, test } from "vitest";
import { connectHosts, needsNamespaces } from "../../support/netns.ts";
import { describeWith, needs } from "../../support/programs.ts";
import { CLIENT_IP } from "../../support/remote.ts";
import type { Outcome } from "./dialling-host.ts";

describeWith({ ip: needsNamespaces(), iptables: needs("iptables") }, "DNS on the wire", () => {
  test(
    "P22 a name server that vanishes: known names are reached by their last address, others are a typed error in time",
    { timeout: 60_000 },
    async ({ expect }) => {
      const undo: (() => Promise<void> | void)[] = [];
      onTestFinished(async () => {
        for (const task of undo.toReversed()) await task();
      });
      const hosts = await connectHosts((task) => undo.push(task));
      // What `ip netns exec` shows as /etc/resolv.conf in there.
      const folder = `/etc/netns/${hosts.gateway.namespace}`;
      mkdirSync(folder, { recursive: true });
      undo.push(() => rmSync(folder, { recursive: true }));
      writeFileSync(`${folder}/resolv.conf`, `nameserver ${CLIENT_IP}\n`);
      const origin = hosts.client.start(new URL("origin-host.ts", import.meta.url), {});
      undo.push(() => origin.stop());
      await origin.call("open");
      const dialling = hosts.gateway.start(new URL("dialling-host.ts", import.meta.url), {});
      undo.push(() => dialling.stop());
      const dial = (name: string): Promise<Outcome> => dialling.call<Outcome>("dial", name);

      expect(await dial("app.example")).toMatchObject({ result: CLIENT_IP });
      await hosts.client.drop("INPUT", "-p", "udp", "--dport", "53");
      // The answer is no longer fresh.
      await delay(1_200);
      const [known, unknown, again] = await Promise.all([
        dial("app.example"),
        dial("other.example"),
        delay(1_500).then(() => dial("app.example")),
      ]);
      console.log(`known ${known.ms} ms, unknown ${unknown.ms} ms, known again ${again.ms} ms`);
      expect(known.result).toBe(CLIENT_IP);
      expect(known.ms).toBeLessThan(2_500);
      expect(unknown.result).toBe("upstream_timeout");
      expect(unknown.ms).toBeLessThan(4_500);
      // DNS was found slow already: nobody waits for it again.
      expect(again.result).toBe(CLIENT_IP);
      expect(again.ms).toBeLessThan(900);

      // Refused, not dropped: an error at once, and the last good address all the same.
      await hosts.client.run("iptables", "-w", "-F", "INPUT");
      const refusing = ["-p", "udp", "--dport", "53", "-j", "REJECT"];
      await hosts.client.run("iptables", "-w", "-A", "INPUT", ...refusing);
      expect(await dial("app.example")).toMatchObject({ result: CLIENT_IP });
    },
  );
});
