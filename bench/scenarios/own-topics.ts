import { fanout } from "../support/fanout.ts";
import { cpuSeconds } from "../support/process.ts";
import { atLeast, atMost } from "../support/record.ts";
import { faults, latencyFigures, loadFigures, pause, type Scenario } from "../support/scenario.ts";
import type { Server } from "../support/servers.ts";
import { Load, publish } from "../support/tools.ts";

const OWN_RATE = 2_000;

/** Both publishers at once: the common topic on stream `a`, all own topics in turn on `b`. */
async function feedBoth(
  server: Server,
  topics: number,
  rate: number,
  bytes: number,
  seconds: number,
) {
  const common = { port: server.port, path: "/v1/topics/common", rate, bytes, seconds };
  // Whole rounds, so that each own topic gets the same count.
  const rounds = Math.max(1, Math.round((OWN_RATE * seconds) / topics));
  const own = { port: server.port, path: "/v1/topics/own/%d", topics, bytes, seconds };
  const [commonReport, ownReport] = await Promise.all([
    publish({ ...common, stream: "a" }),
    publish({ ...own, rate: (rounds * topics) / seconds, stream: "b" }),
  ]);
  return { commonEvents: commonReport.events, ownEvents: ownReport.events, rounds };
}

/**
 * Sets of topics that are all different, and one that all share. Compared with the plain fan-out on
 * the same process just before. What publishing costs without a reader is measured too, as an own
 * topic's event costs one publication for one delivery.
 */
export const ownTopics: Scenario = {
  title: "10,000 subscribers, each of a common topic and one of its own, both busy",
  servers: ["sluice"],
  runs: 5,
  seconds: 10,
  async run(server, { seconds, subscribers = 10_000, rate = 8, bytes = 100 }) {
    const first = await fanout(server, {
      subscribers: 5_000,
      rate: 20,
      bytes,
      seconds,
      settleMs: 10_000,
    });
    const idleFrom = cpuSeconds(server.pid);
    const alone = await feedBoth(server, subscribers, rate, bytes, seconds);
    const publishCpu = cpuSeconds(server.pid) - idleFrom;

    const path = "/v1/events?topic=common&topic=own/%d&form=plain";
    const load = await Load.open({ port: server.port, connections: subscribers, path });
    try {
      await pause(500);
      load.program.send("reset");
      const cpuFrom = cpuSeconds(server.pid);
      const fed = await feedBoth(server, subscribers, rate, bytes, seconds);
      await load.settle("a", fed.commonEvents - 1, 10_000);
      const { report } = await load.settle("b", fed.rounds - 1, 10_000);
      const cpu = cpuSeconds(server.pid) - cpuFrom;
      const { deliveries } = report.all;
      return {
        deliveries,
        deliveredShare: deliveries / (fed.commonEvents * subscribers + fed.ownEvents),
        faults: faults(report.all),
        cpuMicrosPerDelivery: (cpu * 1e6) / deliveries,
        cpuMicrosPerDeliveryLessPublish: ((cpu - publishCpu) * 1e6) / deliveries,
        publishCpuMicrosPerEvent: (publishCpu * 1e6) / (alone.commonEvents + alone.ownEvents),
        plainCpuMicrosPerDelivery: first["cpuMicrosPerDelivery"],
        ...latencyFigures(report.all),
        ...loadFigures(report),
      };
    } finally {
      await load.program.stop();
    }
  },
  judge({ sluice }) {
    const plain = sluice?.["plainCpuMicrosPerDelivery"] ?? Number.NaN;
    return [
      atLeast("share of the deliveries that arrived", sluice?.["deliveredShare"] ?? 0, 1),
      atMost(
        "CPU per delivery over the plain fan-out's",
        (sluice?.["cpuMicrosPerDelivery"] ?? Number.NaN) / plain,
        2,
      ),
    ];
  },
};
