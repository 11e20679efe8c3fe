import { readMetrics } from "../support/metrics.ts";
import { countTimers, judgeLoop, markInside, readInside } from "../support/probe.ts";
import { cpuSeconds, rssKiB } from "../support/process.ts";
import { atLeast, atMost } from "../support/record.ts";
import { loadFigures, pause, type Scenario } from "../support/scenario.ts";
import type { Server } from "../support/servers.ts";
import { Load } from "../support/tools.ts";

/** Of `sluice serve`, which keeps its default here. */
const HEARTBEAT_SECONDS = 20;
const EMPTY_SECONDS = 5;
/** Timers of the whole process that may come with the connections; one each would be 15,000. */
const TIMERS_MORE_MAX = 20;

async function cpuShare(server: Server, seconds: number): Promise<number> {
  const from = cpuSeconds(server.pid);
  await pause(seconds * 1_000);
  return (cpuSeconds(server.pid) - from) / seconds;
}

/** What connections cost that get nothing but heartbeats, and on how many timers. */
export const heartbeats15000: Scenario = {
  title: "15,000 connections with heartbeats each 20 s: CPU, memory, timers",
  servers: ["sluice"],
  runs: 1,
  seconds: 60,
  serverOptions: { hasProbe: true },
  async run(server, { seconds, subscribers = 15_000 }) {
    const metrics = async () => readMetrics(server.adminUrl as string);
    const empty = await countTimers(server);
    const cpuShareEmpty = await cpuShare(server, EMPTY_SECONDS);
    const rssEmpty = rssKiB(server.pid);
    const load = await Load.open({
      port: server.port,
      connections: subscribers,
      path: "/v1/topics/t",
    });
    try {
      await pause(2_000);
      const before = await metrics();
      load.program.send("reset");
      await markInside(server);
      const share = await cpuShare(server, seconds);
      const inside = await readInside(server);
      const after = await metrics();
      const rss = rssKiB(server.pid);
      const report = await load.report();
      const { timers, sockets } = await countTimers(server);
      const grown = (name: string): number => (after.get(name) ?? 0) - (before.get(name) ?? 0);
      const heartbeats = grown("sluice_heartbeats_total");
      const cpuMicrosMore = (share - cpuShareEmpty) * seconds * 1e6;
      return {
        closed: report.closed,
        sockets,
        timersEmpty: empty.timers,
        timers,
        timersMore: timers - empty.timers,
        cpuShareEmpty,
        cpuShare: share,
        cpuMicrosPerConnectionSecond: cpuMicrosMore / seconds / subscribers,
        heartbeats,
        heartbeatsArrived: report.all.chunks,
        heartbeatsOfDue: heartbeats / ((seconds / HEARTBEAT_SECONDS) * subscribers),
        cpuMicrosPerHeartbeat: cpuMicrosMore / heartbeats,
        unackedScans: grown("sluice_unacked_scans_total"),
        rssMiBEmpty: rssEmpty / 1_024,
        rssMiB: rss / 1_024,
        rssKiBEach: (rss - rssEmpty) / subscribers,
        ...inside,
        ...loadFigures(report),
      };
    } finally {
      await load.program.stop();
    }
  },
  judge: ({ sluice }) => [
    atMost("timers more than without connections", sluice?.["timersMore"] ?? 1e9, TIMERS_MORE_MAX),
    atMost("connections lost", sluice?.["closed"] ?? Number.NaN, 0),
    // Below 1 a connection was quiet for longer than the interval. The first are due 20 s after the mark.
    atLeast("heartbeats of those due", sluice?.["heartbeatsOfDue"] ?? 0, 1),
    judgeLoop(sluice),
  ],
};
