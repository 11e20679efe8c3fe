import { cpuSeconds } from "../support/process.ts";
import type { Figures } from "../support/record.ts";
import { atLeast, atMost } from "../support/record.ts";
import { faults, latencyFigures, prefixed, type Scenario } from "../support/scenario.ts";
import type { Server } from "../support/servers.ts";
import { Load } from "../support/tools.ts";

interface Part {
  readonly subscribers: number;
  readonly rate: number;
  readonly perSend: number;
  readonly seconds: number;
}

async function part(server: Server, options: Part): Promise<Figures> {
  const { subscribers, rate, perSend, seconds } = options;
  const load = await Load.open({ port: server.port, connections: subscribers, path: "/" });
  try {
    load.program.send("reset");
    const cpuFrom = cpuSeconds(server.pid);
    const from = performance.now();
    const fed = await server.feed({ rate, bytes: 100, seconds, perSend });
    const { report, isAll } = await load.settle(fed.stream, fed.last, 5_000);
    const wallSeconds = (performance.now() - from) / 1_000;
    const serverCpu = cpuSeconds(server.pid) - cpuFrom;
    return {
      deliveriesPerSecond: report.all.deliveries / wallSeconds,
      isComplete: isAll ? 1 : 0,
      faults: faults(report.all),
      loadCpuShare: report.cpuSeconds / wallSeconds,
      serverCpuShare: serverCpu / wallSeconds,
      loadCpuOverServerCpu: report.cpuSeconds / serverCpu,
      ...latencyFigures(report.all),
    };
  } finally {
    await load.program.stop();
  }
}

/**
 * Is the load client a bottleneck? It reads three times what the scenarios ask, from a server that
 * does nothing but send(): one event a send (where that server is the first to run out of its
 * core), and 60 events a send (where a flush that coalesces would be).
 */
export const selfTest: Scenario = {
  title: "the load client against send-only at three times the scenarios' rates",
  servers: ["send-only"],
  runs: 3,
  seconds: 5,
  async run(server, { seconds }) {
    const single = await part(server, { subscribers: 5_000, rate: 60, perSend: 1, seconds });
    const batched = await part(server, { subscribers: 1_000, rate: 6_000, perSend: 60, seconds });
    return {
      ...prefixed("300,000/s single: ", single),
      ...prefixed("6,000,000/s batched: ", batched),
    };
  },
  judge: ({ "send-only": figures }) => [
    atLeast("all arrived, single", figures?.["300,000/s single: isComplete"] ?? 0, 1),
    atMost(
      "load client's CPU over send-only's, single",
      figures?.["300,000/s single: loadCpuOverServerCpu"] ?? 1,
      0.9,
    ),
    atLeast("all arrived, batched", figures?.["6,000,000/s batched: isComplete"] ?? 0, 1),
    atLeast(
      "deliveries/s, batched",
      figures?.["6,000,000/s batched: deliveriesPerSecond"] ?? 0,
      5_500_000,
    ),
    atMost(
      "load client's CPU share, batched",
      figures?.["6,000,000/s batched: loadCpuShare"] ?? 1,
      0.9,
    ),
  ],
};
