import { readMetrics } from "../support/metrics.ts";
import { judgeLoop, markInside, readInside } from "../support/probe.ts";
import { kernelTcpKiB, rssKiB } from "../support/process.ts";
import type { Figures } from "../support/record.ts";
import { atLeast, atMost } from "../support/record.ts";
import {
  during,
  faults,
  latencyFigures,
  loadFigures,
  prefixed,
  type Scenario,
} from "../support/scenario.ts";
import type { FeedOptions, Server } from "../support/servers.ts";
import { Load } from "../support/tools.ts";

const STALLED_SHARE = 0.15;
/** At 80 KB/s each, 256 KiB of the kernel are full after 4 s. */
const FILL_SECONDS = 10;
const PENDING_MIB_MAX = 64;

interface Watched {
  laggingLow: number;
  laggingHigh: number;
  pendingMiBMax: number;
  rssMiBMax: number;
  kernelMiBMax: number;
}

/** Looks at the server once a second while `task` runs. */
async function watch(server: Server, task: Promise<unknown>): Promise<Watched> {
  const seen = { laggingLow: 1e9, laggingHigh: 0, pendingMiBMax: 0, rssMiBMax: 0, kernelMiBMax: 0 };
  await during(task, 1_000, async () => {
    const metrics = await readMetrics(server.adminUrl as string);
    const lagging = metrics.get('sluice_subscribers{state="reading"}') ?? 0;
    const pending = metrics.get("sluice_pending_bytes") ?? 0;
    seen.laggingLow = Math.min(seen.laggingLow, lagging);
    seen.laggingHigh = Math.max(seen.laggingHigh, lagging);
    seen.pendingMiBMax = Math.max(seen.pendingMiBMax, pending / 1_024 ** 2);
    seen.rssMiBMax = Math.max(seen.rssMiBMax, rssKiB(server.pid) / 1_024);
    seen.kernelMiBMax = Math.max(seen.kernelMiBMax, kernelTcpKiB() / 1_024);
  });
  return seen;
}

/** One measured part: its latencies, and what the server looked like meanwhile. */
async function part(server: Server, healthy: Load, feed: FeedOptions): Promise<Figures> {
  healthy.program.send("reset");
  await markInside(server);
  const feeding = server.feed(feed);
  const seen = await watch(server, feeding);
  const fed = await feeding;
  const { report, isAll } = await healthy.settle(fed.stream, fed.last, 10_000);
  return {
    isComplete: isAll && report.closed === 0 ? 1 : 0,
    faults: faults(report.all),
    ...latencyFigures(report.all),
    ...seen,
    ...(await readInside(server)),
    ...loadFigures(report),
  };
}

/** Readers that never read cost the others little, and the process no more than the cap. */
export const neverReading300: Scenario = {
  title: "300 of 2,000 connections never read, 20 events/s of 4 KiB, tcp_wmem at most 256 KiB",
  servers: ["sluice"],
  runs: 2,
  seconds: 10,
  sysctls: { "net.ipv4.tcp_wmem": "4096 16384 262144" },
  serverOptions: {
    hasProbe: true,
    serveArguments: ["--pending-bytes-max", `${PENDING_MIB_MAX}MiB`],
  },
  async run(server, { seconds, subscribers = 2_000, rate = 20, bytes = 4_096 }) {
    const stalled = Math.round(subscribers * STALLED_SHARE);
    const common = { port: server.port, path: "/v1/topics/t" };
    const feed = { rate, bytes, seconds };
    const healthy = await Load.open({ ...common, connections: subscribers - stalled });
    let never: Load | undefined;
    try {
      await part(server, healthy, { ...feed, seconds: 3, stream: "d" });
      const before = await part(server, healthy, { ...feed, stream: "a" });
      never = await Load.open({ ...common, connections: stalled, slow: stalled });
      never.program.send("stall");
      const filling = { ...feed, seconds: FILL_SECONDS, stream: "b" };
      const filled = await part(server, healthy, filling);
      const after = await part(server, healthy, { ...feed, stream: "c" });
      return {
        stalled,
        laggingSeen: filled["laggingHigh"],
        ...prefixed("baseline: ", before),
        ...after,
        latencyRatio: (after["latencyMsP99"] ?? Number.NaN) / (before["latencyMsP99"] ?? 0),
        rssMiBMore: (after["rssMiBMax"] ?? Number.NaN) - (before["rssMiBMax"] ?? 0),
        kernelMiBMore: (after["kernelMiBMax"] ?? Number.NaN) - (before["kernelMiBMax"] ?? 0),
      };
    } finally {
      never?.program.kill();
      await healthy.program.stop();
    }
  },
  judge: ({ sluice }) => [
    atLeast(
      "lagging at every look, of those that never read",
      (sluice?.["laggingLow"] ?? 0) / (sluice?.["stalled"] ?? 1),
      1,
    ),
    atMost("the others' p99 over the baseline", sluice?.["latencyRatio"] ?? Number.NaN, 2),
    atMost("MiB pending in the process", sluice?.["pendingMiBMax"] ?? 1e9, PENDING_MIB_MAX),
    atMost("MiB of resident memory more", sluice?.["rssMiBMore"] ?? Number.NaN, PENDING_MIB_MAX),
    atLeast("the others have everything", sluice?.["isComplete"] ?? 0, 1),
    atMost("gaps, duplicates and reorders", sluice?.["faults"] ?? Number.NaN, 0),
    judgeLoop(sluice),
  ],
};
