import { judgeLoop, markInside, readInside } from "../support/probe.ts";
import { rssKiB } from "../support/process.ts";
import { atLeast, atMost } from "../support/record.ts";
import { prefixed, type Scenario } from "../support/scenario.ts";
import { publish, recycle } from "../support/tools.ts";

const ROUNDS = 3;
/** Shorter than the default, so that a run takes no minutes; Node adds up to 1 s of its own. */
const KEEP_ALIVE = "4s";
const SPREAD_MS = 3_000;

/**
 * 10,000 keep-alive connections that are used once, closed by the idle time-out and opened anew. For
 * comparison the same requests on one connection, just before in the same process.
 */
export const recycle10000: Scenario = {
  title: "10,000 idle keep-alive sockets recycled: pauses of garbage collection",
  servers: ["sluice"],
  runs: 2,
  seconds: 10,
  serverOptions: { hasProbe: true, serveArguments: ["--keep-alive-timeout", KEEP_ALIVE] },
  async run(server, { seconds, subscribers = 10_000 }) {
    const common = { port: server.port, path: "/v1/topics/idle" };
    await markInside(server);
    const rate = (ROUNDS * subscribers) / seconds;
    const alone = await publish({ ...common, rate, bytes: 9, seconds });
    const before = await readInside(server);
    const rssBefore = rssKiB(server.pid) / 1_024;

    await markInside(server);
    const sockets = { connections: subscribers, rounds: ROUNDS, spreadMillis: SPREAD_MS };
    const report = await recycle({ ...common, ...sockets });
    const inside = await readInside(server);
    return {
      ...prefixed("one connection: ", { ...before, rssMiB: rssBefore, answered: alone.answered }),
      answered: report.answered,
      openMax: report.openMax,
      closedByServer: report.closedByServer,
      resets: report.resets,
      refused: report.refused,
      answerMsP99: report.answerMicros.p99 / 1_000,
      idleMsP50: report.idleMicros.p50 / 1_000,
      idleMsMax: report.idleMicros.max / 1_000,
      ...inside,
      rssMiB: rssKiB(server.pid) / 1_024,
    };
  },
  judge: ({ sluice }) => [
    // Without one there would be nothing to judge.
    atLeast("major collections", sluice?.["gcMajorCount"] ?? 0, 1),
    atMost("longest pause of a major collection, ms", sluice?.["gcMajorMsMax"] ?? 1e9, 50),
    atMost("resets and refusals", (sluice?.["resets"] ?? 1) + (sluice?.["refused"] ?? 1), 0),
    judgeLoop(sluice),
  ],
};
