// Behind nginx and HAProxy with examples/deploy/, which is what docs/operations.md says to set.
import { expect, test } from "vitest";
import { publish, subscribe } from "../../src/client/index.ts";
import type { ReceivedItem } from "../../src/client/index.ts";
import { openStream, post, send, startWorld } from "../gateway/support.ts";
import { describeWith } from "../support/programs.ts";
import { PROXIES, diagnose } from "./support.ts";

for (const { name, program, start } of PROXIES) {
  describeWith({ proxy: program }, `${name} as examples/deploy/ has it`, ({ proxy: binary }) => {
    test("sluice doctor has nothing to find: no buffering, no delay, quiet streams live, those who go are noticed", async () => {
      const world = await startWorld({
        gateway: { corsOrigins: ["*"] },
        hub: { heartbeat: { heartbeatMs: 2_000 } },
      });
      const proxy = await start(binary, world);
      const { exitCode, findings, of } = await diagnose(proxy.url, "--wait", "6s");
      expect(findings.filter(({ status }) => status === "finding")).toEqual([]);
      expect(exitCode).toBe(0);
      expect(of("idle")?.what).toMatch(/lived for [0-9]+ s, with heartbeats$/);
      for (const check of ["buffering", "delay", "compression", "body_size", "gone"]) {
        expect(of(check)?.status, check).toBe("ok");
      }
    });

    test("publishing, batches of megabytes, subscribing and resuming work", async () => {
      const world = await startWorld();
      const { url } = await start(binary, world);
      const lines = Array.from({ length: 40 }, (_, n) =>
        JSON.stringify(`${n} `.padEnd(100_000, "x")),
      );
      const first = await publish({ url, topic: "a", data: "first" });
      const batch = await publish({ url, topic: "a", type: "ndjson", data: lines.join("\n") });
      expect(batch.count).toBe(lines.length);
      const read = async (from: string, count: number): Promise<ReceivedItem[]> => {
        const items: ReceivedItem[] = [];
        for await (const item of subscribe({ url, topics: ["a", "b"], from })) {
          items.push(item);
          if (items.length === count) break;
        }
        return items;
      };
      const all = await read("earliest", 1 + lines.length);
      expect(all.map((item) => item.type === "event" && item.data)).toEqual(["first", ...lines]);
      expect(await read(first.id, lines.length)).toEqual(all.slice(1));
    });

    test("a client that leaves a quiet stream is noticed within seconds", async () => {
      const world = await startWorld();
      const proxy = await start(binary, world);
      const stream = await openStream(proxy, "/v1/topics/a");
      expect(world.hub.subscribersNow).toBe(1);
      const cutAt = performance.now();
      stream.cut();
      await expect.poll(() => world.hub.subscribersNow, { timeout: 10_000 }).toBe(0);
      expect(performance.now() - cutAt).toBeLessThan(5_000);
    });

    test("P06 a drain reaches every client through it, their ACKs come back, and publishes go on meanwhile", async () => {
      const world = await startWorld();
      const proxy = await start(binary, world);
      // One of them ACKs, one closes, one does neither.
      const streams = await Promise.all(
        ["a", "b", "c"].map((topic) => openStream(proxy, `/v1/topics/${topic}`)),
      );
      const drained = world.drain({ ackWaitMs: 3_000, deadlineMs: 20_000 });
      await Promise.all(streams.map((stream) => stream.take(1)));
      for (const { events } of streams) {
        expect(events).toMatchObject([{ event: "close", data: "pool_draining" }]);
      }
      const [acking, closing, silent] = streams;
      const id = String(acking?.headers["sluice-connection"]);
      expect((await post(proxy, "/v1/topics/a", "late")).status).toBe(201);
      const ack = await send(proxy, `/v1/connections/${id}/ack`, { method: "POST" });
      expect(ack.status).toBe(204);
      closing?.cut();
      expect(await acking?.ended).toBe(true);
      expect(await silent?.ended).toBe(true);
      const { byHow, isForced } = await drained;
      expect(byHow).toMatchObject({ ack: 1, closed: 1, ack_timeout: 1 });
      expect(isForced).toBe(false);
    });
  });
}
