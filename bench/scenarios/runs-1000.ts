import { cpuSeconds, rssKiB } from "../support/process.ts";
import { BenchOrigin, HTTP1_UPSTREAM, HTTP2_UPSTREAM, ORIGIN_PORT } from "../support/origin.ts";
import { atLeast, atMost } from "../support/record.ts";
import {
  during,
  faults,
  latencyFigures,
  loadFigures,
  pause,
  prefixed,
  type Scenario,
} from "../support/scenario.ts";
import { Load } from "../support/tools.ts";

/** Beside the runs, so that both see the same machine at the same time. */
const DIRECT = 50;
/** Between two new answers, of which the first event is timed: ten a second cost 3 % of a core. */
const FIRST_EVERY_MS = 100;

/** From the call to the first event of a new answer, in milliseconds. */
async function firstEventMs(port: number): Promise<number> {
  const since = performance.now();
  const response = await fetch(`http://127.0.0.1:${port}/first`, { method: "POST" });
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  let text = "";
  while (!text.includes("data: ")) {
    const { value, done } = await reader.read();
    if (done) throw new Error("an answer without an event");
    text += Buffer.from(value).toString("latin1");
  }
  const ms = performance.now() - since;
  await reader.cancel();
  return ms;
}

function quantile(all: readonly number[], share: number): number {
  const sorted = all.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

/** A thousand answers of a model at once, each with one reader. */
export const runs1000: Scenario = {
  title: "1,000 runs at once over HTTP/2, each 25 events/s of 150 bytes, beside 50 direct streams",
  servers: ["sluice", "bare-proxy"],
  runs: 3,
  // 600 first events, of which six may be slow, and several major collections: they come every 10 to 40 s.
  seconds: 60,
  serverOptions: { serveArguments: HTTP2_UPSTREAM },
  async run(server, { seconds, subscribers = 1_000, rate = 25, bytes = 150 }) {
    const origin = await BenchOrigin.open();
    const rssFrom = rssKiB(server.pid);
    const options = { method: "POST" as const, path: "/runs/%d" };
    const direct = await Load.open({ ...options, port: ORIGIN_PORT, connections: DIRECT });
    const runs = await Load.open({ ...options, port: server.port, connections: subscribers });
    try {
      await pause(1_000);
      const rssOpen = rssKiB(server.pid);
      // Code that has not run yet is not what is measured.
      await origin.speak(rate, bytes, 3);
      for (const load of [runs, direct]) load.program.send("reset");
      const cpuFrom = cpuSeconds(server.pid);
      const first: number[] = [];
      const firstDirect: number[] = [];
      const { last, lateMs } = await during(
        origin.speak(rate, bytes, seconds),
        FIRST_EVERY_MS,
        async () => {
          first.push(await firstEventMs(server.port));
          firstDirect.push(await firstEventMs(ORIGIN_PORT));
        },
      );
      const { report, isAll } = await runs.settle("a", last, 10_000);
      const cpu = cpuSeconds(server.pid) - cpuFrom;
      const beside = await direct.report();
      const events = report.all.deliveries;
      const { sessions, streamsMax } = await origin.report();
      return {
        upstreamStreams: streamsMax - DIRECT,
        upstreamSockets: sessions - DIRECT,
        isComplete: isAll && report.closed === 0 ? 1 : 0,
        faults: faults(report.all),
        ...latencyFigures(report.all),
        ...prefixed("direct: ", latencyFigures(beside.all)),
        addedMsP50: (report.all.latencyMicros.p50 - beside.all.latencyMicros.p50) / 1_000,
        addedMsP99: (report.all.latencyMicros.p99 - beside.all.latencyMicros.p99) / 1_000,
        firstEventMsP50: quantile(first, 0.5),
        firstEventMsP99: quantile(first, 0.99),
        "direct: firstEventMsP99": quantile(firstDirect, 0.99),
        addedFirstMsP99: quantile(first, 0.99) - quantile(firstDirect, 0.99),
        cpuMicrosPerEvent: (cpu * 1e6) / events,
        serverCpuShare: cpu / seconds,
        kibPerRunOpen: (rssOpen - rssFrom) / subscribers,
        kibPerRunWithLog: (rssKiB(server.pid) - rssFrom) / subscribers,
        originLateMsMax: lateMs,
        ...loadFigures(report),
      };
    } finally {
      await runs.program.stop();
      await direct.program.stop();
      await origin.program.stop();
    }
  },
  judge: ({ sluice }) => [
    atMost("added latency of an event, p99 in ms", sluice?.["addedMsP99"] ?? 1e9, 10),
    atMost("added time to the first event, p99 in ms", sluice?.["addedFirstMsP99"] ?? 1e9, 10),
    atLeast("every run is whole", sluice?.["isComplete"] ?? 0, 1),
    atMost("gaps, duplicates and reorders", sluice?.["faults"] ?? Number.NaN, 0),
  ],
};

/** The same over HTTP/1.1, where each run needs a socket of its own and there are 128. */
export const runs1000Http1: Scenario = {
  title: "1,000 runs at once over HTTP/1.1 with 128 sockets: what the others are told, and when",
  servers: ["sluice"],
  runs: 2,
  seconds: 1,
  serverOptions: { serveArguments: HTTP1_UPSTREAM },
  async run(server, { subscribers = 1_000 }) {
    const origin = await BenchOrigin.open();
    try {
      const since = performance.now();
      const answers = await Promise.all(
        Array.from({ length: subscribers }, async (_each, index) => {
          const response = await fetch(`http://127.0.0.1:${server.port}/runs/${index}`, {
            method: "POST",
          });
          const ms = performance.now() - since;
          if (response.status === 200) return { response, ms, code: "200" };
          const problem = (await response.json()) as { code?: string };
          return { response, ms, code: `${response.status} ${problem.code}` };
        }),
      );
      const open = answers.filter(({ code }) => code === "200");
      const told = answers.filter(({ code }) => code === "503 upstream_exhausted");
      for (const { response } of open) await response.body?.cancel();
      return {
        open: open.length,
        toldTyped: told.length,
        other: answers.length - open.length - told.length,
        toldMsMax: Math.max(0, ...told.map(({ ms }) => ms)),
        upstreamRequests: (await origin.report()).requests,
      };
    } finally {
      await origin.program.stop();
    }
  },
  judge: ({ sluice }) => [
    atLeast("runs that are open", sluice?.["open"] ?? 0, 128),
    atMost("answers of another kind", sluice?.["other"] ?? 1e9, 0),
    atMost("until the last is told, in ms", sluice?.["toldMsMax"] ?? 1e9, 7_000),
  ],
};

/** How long a device takes that comes later to read a finished answer of 1 MB. */
export const runResume: Scenario = {
  title: "a finished run of 1 MB is read from its beginning, by 20 readers one after the other",
  servers: ["sluice"],
  runs: 3,
  seconds: 1,
  serverOptions: { serveArguments: HTTP1_UPSTREAM },
  async run(server) {
    const origin = await BenchOrigin.open();
    try {
      origin.program.send("size 1000000");
      await origin.report();
      const url = `http://127.0.0.1:${server.port}`;
      const first = await fetch(`${url}/runs/0`, { method: "POST" });
      const bytes = (await first.text()).length;
      const times: number[] = [];
      for (let reader = 0; reader < 20; reader += 1) {
        const since = performance.now();
        const again = await fetch(`${url}/v1/runs/${first.headers.get("sluice-run")}`);
        const text = await again.text();
        times.push(performance.now() - since);
        if (text.split("\ndata: ").length < 5_000) throw new Error("the run is not whole");
      }
      times.sort((a, b) => a - b);
      return {
        bytes,
        resumeMsP50: times[10] as number,
        resumeMsMax: times.at(-1) as number,
      };
    } finally {
      await origin.program.stop();
    }
  },
  judge: ({ sluice }) => [atMost("resume, in ms", sluice?.["resumeMsMax"] ?? 1e9, 100)],
};
