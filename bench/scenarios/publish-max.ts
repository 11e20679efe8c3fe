import { cpuSeconds } from "../support/process.ts";
import type { Figures } from "../support/record.ts";
import { atLeast } from "../support/record.ts";
import { faults, type Scenario } from "../support/scenario.ts";
import { Load, publish } from "../support/tools.ts";
import type { Server } from "../support/servers.ts";

async function part(server: Server, mode: "post" | "ndjson", bytes: number, seconds: number) {
  const cpuFrom = cpuSeconds(server.pid);
  const stream = mode === "post" ? "a" : "b";
  const inFlight = mode === "post" ? 1_000 : 10_000;
  const options = { path: "/v1/topics/t", mode, rate: 0, bytes, seconds, stream, inFlight };
  const report = await publish({ port: server.port, ...options });
  const cpu = cpuSeconds(server.pid) - cpuFrom;
  return {
    last: report.events - 1,
    figures: {
      [`${mode}EventsPerSecond`]: report.perSecond,
      [`${mode}CpuMicrosPerEvent`]: (cpu * 1e6) / report.answered,
      [`${mode}AnswerMsP99`]: report.answerMicros.p99 / 1_000,
      [`${mode}Refused`]: report.refused,
    } satisfies Figures,
  };
}

/** As many events as get answered over one connection, one reader checking every one of them. */
export const publishMax: Scenario = {
  title: "as many events of 100 bytes as one connection gets answered",
  servers: ["sluice", "better-sse"],
  runs: 5,
  seconds: 5,
  async run(server, { seconds, bytes = 100 }) {
    const load = await Load.open({ port: server.port, connections: 1, path: "/v1/topics/t" });
    try {
      const single = await part(server, "post", bytes, seconds);
      const batched = await part(server, "ndjson", bytes, seconds);
      const { report, isAll } = await load.settle("b", batched.last, 10_000);
      return {
        ...single.figures,
        ...batched.figures,
        isComplete: isAll && report.last["a"]?.min === single.last ? 1 : 0,
        faults: faults(report.all),
      };
    } finally {
      await load.program.stop();
    }
  },
  judge: ({ sluice }) => [
    atLeast("events/s by NDJSON", sluice?.["ndjsonEventsPerSecond"] ?? 0, 20_000),
    atLeast("the reader has all of them", sluice?.["isComplete"] ?? 0, 1),
  ],
};
