import { Flood, measured } from "../support/flood.ts";
import { judgeLoop } from "../support/probe.ts";
import { atLeast, atMost } from "../support/record.ts";
import { prefixed, type Scenario } from "../support/scenario.ts";
import { Load } from "../support/tools.ts";

const TIMES = 10;
/** More than can be delivered to 500 readers, by far. */
const CALIBRATION = { rate: 20_000, seconds: 3 };

/** One tenant floods; what another one's readers see of it. */
export const noisyTenant: Scenario = {
  title: "one tenant floods 10 times the capacity: another's latency, 1,000 readers, 20 events/s",
  servers: ["tenants"],
  runs: 2,
  seconds: 10,
  serverOptions: { hasProbe: true },
  async run(server, { seconds, subscribers = 1_000, rate = 20, bytes = 100 }) {
    const path = "/v1/topics/t";
    const quiet = { port: server.port, path, header: "X-Tenant: quiet" };
    const load = await Load.open({ ...quiet, connections: subscribers });
    let flood: Flood | undefined;
    try {
      const feed = { ...quiet, rate, bytes, seconds };
      await measured(server, load, { ...feed, stream: "d", seconds: 2 });
      const alone = await measured(server, load, { ...feed, stream: "a" });
      flood = await Flood.open(server, {
        path,
        header: "X-Tenant: noisy",
        subscribers: Math.ceil(subscribers / 2),
        bytes: 1_000,
      });
      await flood.measureCapacity(CALIBRATION.rate, CALIBRATION.seconds);
      const { of: beside, figures } = await flood.during(TIMES, seconds + 2, () =>
        measured(server, load, { ...feed, stream: "b" }),
      );
      return {
        ...prefixed("alone: ", alone),
        ...beside,
        latencyRatio: (beside["latencyMsP99"] ?? Number.NaN) / (alone["latencyMsP99"] ?? 0),
        ...figures,
      };
    } finally {
      await flood?.stop();
      await load.program.stop();
    }
  },
  judge: ({ tenants }) => [
    atLeast("flood over capacity", tenants?.["floodOverCapacity"] ?? 0, 0.95 * TIMES),
    atMost("the quiet tenant's p99 over its own alone", tenants?.["latencyRatio"] ?? 1e9, 2),
    atLeast("the quiet tenant has everything", tenants?.["isComplete"] ?? 0, 1),
    atMost("its gaps, duplicates and reorders", tenants?.["faults"] ?? Number.NaN, 0),
    judgeLoop(tenants),
  ],
};
