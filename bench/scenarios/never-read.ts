import { readMetrics } from "../support/metrics.ts";
import { rssKiB } from "../support/process.ts";
import { atLeast, atMost } from "../support/record.ts";
import { during, faults, loadFigures, type Scenario } from "../support/scenario.ts";
import type { FeedOptions, Server } from "../support/servers.ts";
import { Load } from "../support/tools.ts";

const STALLED = 100;
// At 200 KB/s the kernel's buffers of a connection (4 MiB at most, tcp_wmem) are full by then.
const STALLED_SECONDS = 25;

/** The subscribers that now read the log instead of being live; NaN without an admin listener. */
async function laggingNow(server: Server): Promise<number> {
  if (!server.adminUrl) return Number.NaN;
  return (await readMetrics(server.adminUrl)).get('sluice_subscribers{state="reading"}') ?? 0;
}

/** Feeds for `seconds`; how many of the stalled subscribers were seen lagging at the same time. */
async function feedUntilLagging(server: Server, feed: FeedOptions): Promise<number> {
  let laggingMax = 0;
  await during(server.feed({ ...feed, stream: "b", seconds: STALLED_SECONDS }), 100, async () => {
    laggingMax = Math.max(laggingMax, await laggingNow(server));
  });
  return laggingMax;
}

/** Highest and lowest resident memory in MiB while `task` runs. */
async function watchRss(
  pid: number,
  task: Promise<unknown>,
): Promise<{ low: number; high: number }> {
  const seen: number[] = [];
  await during(task, 200, () => {
    seen.push(rssKiB(pid) / 1_024);
  });
  return { low: Math.min(...seen), high: Math.max(...seen) };
}

/** Readers that stop must cost the others nothing, and the process no memory. */
export const neverRead: Scenario = {
  title: "100 of 1,000 clients never read, until each was seen lagging",
  servers: ["sluice", "better-sse"],
  runs: 3,
  seconds: 10,
  async run(server, { seconds, subscribers = 1_000, rate = 50, bytes = 4_000 }) {
    const path = "/v1/topics/t";
    const load = await Load.open({
      port: server.port,
      connections: subscribers,
      path,
      slow: STALLED,
    });
    try {
      const feed = { rate, bytes, seconds };
      await server.feed({ ...feed, stream: "d", seconds: 4 });
      load.program.send("reset");
      const before = await server.feed({ ...feed, stream: "a" });
      const reading = (await load.settle("a", before.last, 5_000)).report;

      load.program.send("stall");
      const lagging = await feedUntilLagging(server, feed);
      load.program.send("reset");
      const rssFrom = rssKiB(server.pid) / 1_024;
      const fed = server.feed({ ...feed, stream: "c" });
      const rss = await watchRss(server.pid, fed);
      const { report, isAll } = await load.settle("c", (await fed).last, 5_000);

      load.program.send("resume");
      const back = await load.settle("c", (await fed).last, 20_000, "slowLast");
      const p99Before = reading.all.latencyMicros.p99 / 1_000;
      const p99 = report.all.latencyMicros.p99 / 1_000;
      return {
        laggingSeen: lagging,
        latencyMsP99Before: p99Before,
        latencyMsP99: p99,
        latencyRatio: p99 / p99Before,
        isComplete: isAll ? 1 : 0,
        faults: faults(report.all) + faults(reading.all),
        rssMiBFrom: rssFrom,
        rssMiBLow: rss.low,
        rssMiBHigh: rss.high,
        // Those that stopped must be told the truth when they read again.
        slowClosed: back.report.closed,
        slowCaughtUp: back.isAll ? 1 : 0,
        slowFaults: back.report.slow.duplicates + back.report.slow.reorders,
        slowGapEvents: back.report.slow.gapEvents,
        slowGaps: back.report.slow.gaps,
        ...loadFigures(report),
      };
    } finally {
      await load.program.stop();
    }
  },
  judge: ({ sluice }) => [
    atLeast("stalled clients seen lagging", sluice?.["laggingSeen"] ?? 0, STALLED),
    atMost("the others' p99 over what it was", sluice?.["latencyRatio"] ?? Number.NaN, 2),
    atMost(
      "growth of resident memory, MiB",
      (sluice?.["rssMiBHigh"] ?? Number.NaN) - (sluice?.["rssMiBFrom"] ?? Number.NaN),
      16,
    ),
  ],
};
