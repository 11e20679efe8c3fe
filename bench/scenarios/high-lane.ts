import { join } from "node:path";
import { Flood, measured } from "../support/flood.ts";
import { judgeLoop } from "../support/probe.ts";
import { atLeast, atMost } from "../support/record.ts";
import { prefixed, type Scenario } from "../support/scenario.ts";
import { benchFolder, Load } from "../support/tools.ts";

const TIMES = 10;
const CALIBRATION = { rate: 20_000, seconds: 3 };

/**
 * Events of a `high` topic while a `bulk` topic of the same tenant has a backlog that only grows. For
 * comparison the same events on a topic of the `bulk` lane.
 */
export const highLane: Scenario = {
  title: "a bulk topic floods: latency of a high topic, 1,000 readers, 20 events/s",
  servers: ["sluice"],
  runs: 1,
  seconds: 10,
  serverOptions: {
    hasProbe: true,
    serveArguments: ["--config", join(benchFolder, "lanes.yaml")],
  },
  async run(server, { seconds, subscribers = 1_000, rate = 20, bytes = 100 }) {
    const { port } = server;
    const topics = { high: "/v1/topics/high/t", bulk: "/v1/topics/bulk/t" };
    const high = await Load.open({ port, connections: subscribers, path: topics.high });
    const feed = { port, path: topics.high, rate, bytes, seconds };
    let flood: Flood | undefined;
    let slow: Load | undefined;
    try {
      await measured(server, high, { ...feed, stream: "d", seconds: 2 });
      const alone = await measured(server, high, { ...feed, stream: "a" });
      flood = await Flood.open(server, {
        path: "/v1/topics/bulk/flood",
        subscribers: Math.ceil(subscribers / 2),
        bytes: 1_000,
      });
      await flood.measureCapacity(CALIBRATION.rate, CALIBRATION.seconds);
      const { of: beside, figures } = await flood.during(TIMES, seconds + 2, () =>
        measured(server, high, { ...feed, stream: "b" }),
      );
      slow = await Load.open({ port, connections: subscribers, path: topics.bulk });
      const measuredSlow = slow;
      const { of: bulk } = await flood.during(TIMES, seconds + 2, () =>
        measured(server, measuredSlow, { ...feed, path: topics.bulk, stream: "c" }),
      );
      return {
        ...prefixed("alone: ", alone),
        ...beside,
        latencyRatio: (beside["latencyMsP99"] ?? Number.NaN) / (alone["latencyMsP99"] ?? 0),
        ...figures,
        ...prefixed("in the bulk lane: ", bulk),
      };
    } finally {
      await flood?.stop();
      await slow?.program.stop();
      await high.program.stop();
    }
  },
  judge: ({ sluice }) => [
    atLeast("flood over capacity", sluice?.["floodOverCapacity"] ?? 0, 0.95 * TIMES),
    atLeast("the high topic's readers have everything", sluice?.["isComplete"] ?? 0, 1),
    atMost("their gaps, duplicates and reorders", sluice?.["faults"] ?? Number.NaN, 0),
    judgeLoop(sluice),
  ],
};
