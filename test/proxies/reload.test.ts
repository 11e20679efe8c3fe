import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { publish, subscribe } from "../../src/client/index.ts";
import { startWorld } from "../gateway/support.ts";
import { describeWith } from "../support/programs.ts";
import { PROXIES } from "./support.ts";

const RELOADS = 4;
const RELOAD_MS = 3_000;
const READERS = 10;

for (const { name, program, start } of PROXIES) {
  describeWith({ proxy: program }, `${name} that is reloaded`, ({ proxy: binary }) => {
    test("F28 every few seconds under load: every reader has every event, once and in order", async () => {
      const world = await startWorld();
      const proxy = await start(binary, world);
      const { url } = proxy;
      const topic = "load";
      const over = new AbortController();
      let cuts = 0;
      const read = async (): Promise<string[]> => {
        const data: string[] = [];
        for await (const item of subscribe({
          url,
          topics: [topic],
          from: "earliest",
          backoff: { capMs: 500 },
          onReconnect: () => (cuts += 1),
        })) {
          if (item.type !== "event") throw new Error(`told ${JSON.stringify(item)}`);
          if (item.data === "over") break;
          data.push(item.data);
        }
        return data;
      };
      const readers = Array.from({ length: READERS }, read);
      // Its own requests are repeated under one key until they are answered.
      const published = (async () => {
        const data: string[] = [];
        for (let n = 0; !over.signal.aborted; n += 1) {
          const body = `${n} `.padEnd(200, "x");
          await publish({ url, topic, data: body, attemptsMax: 20 });
          data.push(body);
          await sleep(5);
        }
        await publish({ url, topic, data: "over", attemptsMax: 20 });
        return data;
      })();
      for (let n = 0; n < RELOADS; n += 1) {
        await sleep(RELOAD_MS);
        proxy.reload();
      }
      await sleep(RELOAD_MS);
      over.abort();
      const expected = await published;
      expect(expected.length).toBeGreaterThan(100);
      for (const data of await Promise.all(readers)) expect(data).toEqual(expected);
      // They were cut indeed: a reload that left the streams alone would prove nothing.
      expect(cuts).toBeGreaterThanOrEqual(READERS);
    });
  });
}
