import { readMetrics, sumOf } from "../support/metrics.ts";
import { BenchOrigin, HTTP2_UPSTREAM } from "../support/origin.ts";
import { atLeast, atMost } from "../support/record.ts";
import { faults, latencyFigures, loadFigures, type Scenario } from "../support/scenario.ts";
import { Load } from "../support/tools.ts";

const URLS = 20;

/** Many clients of few streams: what the origin sees of them. */
export const upstreamShared: Scenario = {
  title: "2,000 clients of 20 URLs of one origin over HTTP/2, 20 events/s of 150 bytes each",
  servers: ["sluice"],
  runs: 2,
  seconds: 5,
  serverOptions: { serveArguments: HTTP2_UPSTREAM },
  async run(server, { seconds, subscribers = 2_000, rate = 20, bytes = 150 }) {
    const origin = await BenchOrigin.open();
    const loads: Load[] = [];
    try {
      for (let url = 0; url < URLS; url += 1) {
        const connections = Math.ceil(subscribers / URLS);
        loads.push(await Load.open({ port: server.port, connections, path: `/streams/${url}` }));
      }
      const { last, lateMs } = await origin.speak(rate, bytes, seconds);
      const reports = [];
      let isComplete = 1;
      for (const load of loads) {
        const { report, isAll } = await load.settle("a", last, 10_000);
        if (!isAll || report.closed > 0) isComplete = 0;
        reports.push(report);
      }
      const { requests, sessions, streamsMax } = await origin.report();
      const samples = await readMetrics(server.adminUrl ?? "");
      const p99 = Math.max(...reports.map(({ all }) => all.latencyMicros.p99));
      return {
        upstreamRequests: requests,
        upstreamStreamsMax: streamsMax,
        upstreamSockets: sessions,
        acquired: sumOf(samples, "sluice_upstream_acquired_total"),
        isComplete,
        faults: reports.reduce((sum, { all }) => sum + faults(all), 0),
        originLateMsMax: lateMs,
        ...latencyFigures((reports[0] as (typeof reports)[number]).all),
        worstLatencyMsP99: p99 / 1_000,
        ...loadFigures(reports[0] as (typeof reports)[number]),
      };
    } finally {
      for (const load of loads) await load.program.stop();
      await origin.program.stop();
    }
  },
  judge: ({ sluice }) => [
    atMost("upstream streams", sluice?.["upstreamStreamsMax"] ?? 1e9, URLS),
    atMost("upstream sockets", sluice?.["upstreamSockets"] ?? 1e9, 2),
    atLeast("every client has everything", sluice?.["isComplete"] ?? 0, 1),
    atMost("gaps, duplicates and reorders", sluice?.["faults"] ?? Number.NaN, 0),
  ],
};
