import { readMetrics, sumOf } from "../support/metrics.ts";
import { judgeLoop, markInside, readInside } from "../support/probe.ts";
import { listenOverflows, resetRssPeak, rssKiB, rssPeakKiB } from "../support/process.ts";
import { atLeast, atMost, median } from "../support/record.ts";
import { during, faults, loadFigures, pause, type Scenario } from "../support/scenario.ts";
import type { Server } from "../support/servers.ts";
import { Load } from "../support/tools.ts";

const STEADY_SECONDS = 5;
const RETURN_MS = 1_000;
const HEADED_MS_MAX = 15_000;

/** Resident memory while nothing but events happens: the middle of what was seen. */
async function steadyMiB(server: Server): Promise<number> {
  const seen: number[] = [];
  await during(pause(STEADY_SECONDS * 1_000), 100, () => void seen.push(rssKiB(server.pid)));
  return median(seen) / 1_024;
}

/** How long it took until each client had an answer again. */
async function untilHeaded(load: Load, subscribers: number): Promise<number> {
  const from = performance.now();
  for (;;) {
    const { headed } = await load.report();
    const ms = performance.now() - from;
    if (headed >= subscribers || ms > HEADED_MS_MAX) return ms;
    await pause(100);
  }
}

/**
 * All clients are cut at one moment and come back within a second with their last ids, while events go
 * on. An event's latency counts from its publication, whether its reader was there or not: so the
 * longest latency bounds how long it took anybody to be caught up again.
 */
export const reconnect10000: Scenario = {
  title: "10,000 clients are cut at once and return within 1 s, while events are published",
  servers: ["sluice"],
  runs: 3,
  seconds: 18,
  serverOptions: { hasProbe: true },
  async run(server, { seconds, subscribers = 10_000, rate = 5, bytes = 100 }) {
    const path = "/v1/topics/t";
    const load = await Load.open({ port: server.port, connections: subscribers, path });
    try {
      const warm = await server.feed({ rate, bytes, seconds: 2, stream: "d" });
      await load.settle("d", warm.last, 10_000);
      load.program.send("reset");
      const feeding = server.feed({ rate, bytes, seconds, stream: "a" });
      const steady = await steadyMiB(server);
      const before = await load.report();

      const metricsFrom = await readMetrics(server.adminUrl as string);
      const overflowsFrom = listenOverflows();
      resetRssPeak(server.pid);
      await markInside(server);
      load.program.send("reset");
      load.program.send("cut");
      load.program.send(`return ${RETURN_MS}`);
      const stormMs = await untilHeaded(load, subscribers);
      // Of the storm alone: the quiet time behind it would flatter the quantiles.
      const inside = await readInside(server);
      const fed = await feeding;
      const { report, isAll } = await load.settle("a", fed.last, 20_000);
      const peak = rssPeakKiB(server.pid) / 1_024;
      const metrics = await readMetrics(server.adminUrl as string);
      const grown = (name: string): number => sumOf(metrics, name) - sumOf(metricsFrom, name);
      return {
        returned: report.headed,
        stormMs,
        resets: report.resets,
        refused: report.refused + report.all.overloads,
        closed: report.closed,
        isComplete: isAll && report.open === subscribers ? 1 : 0,
        faults: faults(before.all) + faults(report.all),
        listenOverflows: listenOverflows() - overflowsFrom,
        connectMsP99: report.connectMicros.p99 / 1_000,
        connectMsMax: report.connectMicros.max / 1_000,
        headMsP50: report.headMicros.p50 / 1_000,
        headMsP99: report.headMicros.p99 / 1_000,
        headMsMax: report.headMicros.max / 1_000,
        overtakenMax: report.overtakenMax,
        admissionDelayed: grown("sluice_admission_delayed_total"),
        rejected: grown("sluice_rejected_total"),
        latencyMsP99Steady: before.all.latencyMicros.p99 / 1_000,
        latencyMsMax: report.all.latencyMicros.max / 1_000,
        rssMiBSteady: steady,
        rssMiBPeak: peak,
        rssRatio: peak / steady,
        ...inside,
        ...loadFigures(report),
      };
    } finally {
      await load.program.stop();
    }
  },
  judge: ({ sluice }) => [
    atMost("resets", sluice?.["resets"] ?? Number.NaN, 0),
    atMost("refused or closed", (sluice?.["refused"] ?? 1) + (sluice?.["closed"] ?? 1), 0),
    atLeast("all are back and have everything", sluice?.["isComplete"] ?? 0, 1),
    atMost("gaps, duplicates and reorders", sluice?.["faults"] ?? Number.NaN, 0),
    atMost("longest way of an event, in ms", sluice?.["latencyMsMax"] ?? Number.NaN, 10_000),
    atMost("peak of resident memory over steady", sluice?.["rssRatio"] ?? Number.NaN, 1.3),
    judgeLoop(sluice),
  ],
};
