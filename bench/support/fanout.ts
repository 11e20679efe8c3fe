import { cpuSeconds, machineCpuSeconds, rssKiB } from "./process.ts";
import type { Figures } from "./record.ts";
import { faults, latencyFigures, loadFigures, pause } from "./scenario.ts";
import type { FeedOptions, Server } from "./servers.ts";
import { Load } from "./tools.ts";

export interface FanoutOptions extends FeedOptions {
  readonly subscribers: number;
  /** How long stragglers may take before the run is judged as it stands. */
  readonly settleMs: number;
}

/** N subscribers of one topic, r events a second: warm up, mark, feed, wait for the last delivery. */
export async function fanout(server: Server, options: FanoutOptions): Promise<Figures> {
  const { subscribers, settleMs, ...feed } = options;
  const load = await Load.open({
    port: server.port,
    connections: subscribers,
    path: "/v1/topics/t",
  });
  try {
    // Code must be compiled and buffers grown before the mark; the numbers of stream d are apart.
    // The rate is one that every server here can carry, so that nothing of it is left at the mark.
    const warmRate = Math.min(feed.rate, 100_000 / subscribers);
    const warm = await server.feed({ ...feed, rate: warmRate, stream: "d", seconds: 2 });
    await load.settle(warm.stream, warm.last, settleMs);
    await pause(300);

    load.program.send("reset");
    const cpuFrom = cpuSeconds(server.pid);
    const machineFrom = machineCpuSeconds();
    const from = performance.now();
    const fed = await server.feed(feed);
    const { report, isAll } = await load.settle(fed.stream, fed.last, settleMs);
    const cpu = cpuSeconds(server.pid) - cpuFrom;
    const machine = machineCpuSeconds() - machineFrom;
    const wallSeconds = (performance.now() - from) / 1_000;

    const { deliveries } = report.all;
    return {
      deliveries,
      // Of what was due: a publisher that was held up has not sent the rest.
      deliveredShare: deliveries / (Math.round(feed.rate * feed.seconds) * subscribers),
      isComplete: isAll && report.closed === 0 ? 1 : 0,
      faults: faults(report.all),
      chunksCut: report.all.chunksCut,
      cpuMicrosPerDelivery: (cpu * 1e6) / deliveries,
      serverCpuShare: cpu / wallSeconds,
      ...latencyFigures(report.all),
      eventsPerChunk: report.all.chunks ? deliveries / report.all.chunks : undefined,
      publishAnswered: fed.publish?.answered,
      publishRefused: fed.publish?.refused,
      publishLateMsMax: fed.publish && fed.publish.lateMicrosMax / 1_000,
      rssMiB: rssKiB(server.pid) / 1_024,
      ...loadFigures(report),
      // Publisher, harness, and whoever disturbs: far above 0.1 the run says little.
      otherCpuShare: (machine - cpu - report.cpuSeconds) / wallSeconds,
    };
  } finally {
    await load.program.stop();
  }
}
