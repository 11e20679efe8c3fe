import { text } from "node:stream/consumers";
import { Metrics } from "../../src/core/metrics.ts";
import { systemRuntime } from "../../src/internal/clock.ts";
import type { UpstreamResponse } from "../../src/upstreams/message.ts";
import { parseOrigin } from "../../src/upstreams/origin.ts";
import { UpstreamPool } from "../../src/upstreams/pool/pool.ts";
import { BenchOrigin, ORIGIN_PORT } from "../support/origin.ts";
import { atLeast } from "../support/record.ts";
import type { Scenario } from "../support/scenario.ts";

const SOCKETS = 128;
const NOISY = SOCKETS * 10;
const QUIET = 100;

type Tenant = "noisy" | "quiet";

/** Of a pool that one tenant wants ten times over, what another gets: by requests, and by streams that do not end. */
export const poolNoisy: Scenario = {
  title: "one tenant wants ten times all upstream sockets: what is left for another",
  servers: ["send-only"],
  runs: 3,
  seconds: 5,
  async run(_server, { seconds }) {
    const bench = await BenchOrigin.open();
    const origin = parseOrigin(`http://127.0.0.1:${ORIGIN_PORT}`, { isNamed: true });
    const open = (acquireMsMax: number): UpstreamPool =>
      new UpstreamPool({
        runtime: systemRuntime(),
        metrics: new Metrics(),
        socketsMax: SOCKETS,
        queueMax: 2 * NOISY,
        acquireMsMax,
      });
    const ask = (pool: UpstreamPool, tenant: Tenant, path: string): Promise<UpstreamResponse> =>
      pool.request({ origin, method: "GET", path, headers: [], tenant });
    try {
      const requests = open(60_000);
      const served = { noisy: 0, quiet: 0 };
      const until = performance.now() + seconds * 1_000;
      const loop = async (tenant: Tenant): Promise<void> => {
        while (performance.now() < until) {
          await text((await ask(requests, tenant, "/first")).body);
          served[tenant] += 1;
        }
      };
      await Promise.all([
        ...Array.from({ length: NOISY }, () => loop("noisy")),
        ...Array.from({ length: QUIET }, () => loop("quiet")),
      ]);
      requests.close();

      const streams = open(1_000);
      const responses = [await ask(streams, "quiet", "/held")];
      const held = async (tenant: Tenant, count: number): Promise<number> => {
        const asked = Array.from({ length: count }, () => ask(streams, tenant, "/held"));
        const settled = await Promise.allSettled(asked);
        for (const each of settled) if (each.status === "fulfilled") responses.push(each.value);
        return settled.filter(({ status }) => status === "fulfilled").length;
      };
      const noisyStreams = await held("noisy", NOISY);
      const quietStreams = 1 + (await held("quiet", QUIET));
      for (const { body } of responses) body.destroy();
      streams.close();
      const all = served.noisy + served.quiet;
      return {
        requestsPerSecond: all / seconds,
        quietRequestsPercent: (served.quiet / all) * 100,
        noisyStreams,
        quietStreams,
        quietStreamsPercent: (quietStreams / SOCKETS) * 100,
      };
    } finally {
      await bench.program.stop();
    }
  },
  judge: ({ "send-only": figures }) => [
    atLeast("of the requests, %", figures?.["quietRequestsPercent"] ?? Number.NaN, 40),
    atLeast("of the sockets for streams, %", figures?.["quietStreamsPercent"] ?? Number.NaN, 40),
  ],
};
