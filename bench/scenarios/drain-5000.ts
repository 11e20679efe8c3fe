import { readMetrics } from "../support/metrics.ts";
import { judgeLoop, markInside, readInside, type Inside } from "../support/probe.ts";
import type { Figures } from "../support/record.ts";
import { atLeast, atMost } from "../support/record.ts";
import { faults, loadFigures, pause, type Scenario } from "../support/scenario.ts";
import type { Server } from "../support/servers.ts";
import { Load, publish, type LoadReport } from "../support/tools.ts";

const LOOK_MS = 200;
/** Longer than any deadline here: past it the drain hangs. */
const DRAIN_MS_MAX = 45_000;

const nowMicros = (): number => Number(process.hrtime.bigint() / 1_000n);

interface Watched {
  readonly report: LoadReport;
  readonly inside: Inside | undefined;
  /** How connections ended, as the gateway counts them. */
  readonly ends: Figures;
}

/** Looks until no client has a connection any more. What the server said last counts: then it is gone. */
async function watch(server: Server, load: Load): Promise<Watched> {
  const until = performance.now() + DRAIN_MS_MAX;
  let inside: Inside | undefined;
  let ends: Figures = {};
  for (;;) {
    const report = await load.report();
    inside = (await readInside(server).catch(() => undefined)) ?? inside;
    const metrics = await readMetrics(server.adminUrl as string).catch(() => undefined);
    const rows = [...(metrics ?? [])].flatMap(([name, value]): [string, number][] => {
      const how = /^sluice_drain_closed_total\{how="(.+)"\}$/.exec(name)?.[1];
      return how === undefined ? [] : [[`ended: ${how}`, value]];
    });
    if (rows.length > 0) ends = Object.fromEntries(rows);
    if (report.open === 0 || performance.now() > until) return { report, inside, ends };
    await pause(LOOK_MS);
  }
}

/** SIGTERM while everybody listens and events go on; each client acknowledges its goodbye by a POST. */
const drain = (onClose: "ack" | "close", what: string): Scenario => ({
  title: `SIGTERM with 5,000 connections that ${what}`,
  servers: ["sluice"],
  runs: 3,
  seconds: 5,
  serverOptions: { hasProbe: true },
  async run(server, { seconds, subscribers = 5_000, rate = 2, bytes = 100 }) {
    const path = "/v1/topics/t";
    const load = await Load.open({ port: server.port, connections: subscribers, path, onClose });
    // Until the listener is gone; that it then loses its connection is no mistake.
    const feed = { port: server.port, path, rate, bytes, seconds: seconds + 30, grace: 1 };
    const publishing = publish({ ...feed, stream: "a" }).catch(() => undefined);
    try {
      await pause(seconds * 1_000);
      await markInside(server);
      const at = nowMicros();
      server.program.signal("SIGTERM");
      const { report, inside, ends } = await watch(server, load);
      const isGone = await server.program.isGoneWithin(DRAIN_MS_MAX);
      const exitMs = (nowMicros() - at) / 1_000;
      return {
        drainMs: report.open === 0 ? (report.endedAtMicros - at) / 1_000 : DRAIN_MS_MAX,
        exitMs: isGone ? exitMs : 2 * DRAIN_MS_MAX,
        // A signal leaves none.
        exitCode: server.program.exitCode ?? -1,
        closeEventsShare: report.all.closeEvents / subscribers,
        cleanEndsShare: report.cleanEnds / subscribers,
        acksAcceptedShare: report.acksAccepted / subscribers,
        resets: report.resets,
        acksRefused: report.acksRefused,
        acksFailed: report.acksFailed,
        firstBadAckStatus: report.ackFirstBadStatus,
        // Of the last look, so a few less than there are clients.
        ...ends,
        eventsEach: report.all.deliveries / subscribers,
        faults: faults(report.all),
        ...inside,
        ...loadFigures(report),
      };
    } finally {
      await server.program.stop();
      await load.program.stop();
      await publishing;
    }
  },
  judge: ({ sluice }) => [
    atMost("ms until the last connection was gone", sluice?.["drainMs"] ?? 1e9, 10_000),
    atMost("forced at the deadline", sluice?.["ended: deadline"] ?? 0, 0),
    atMost("without an ACK in time", sluice?.["ended: ack_timeout"] ?? 0, 0),
    atMost("exit code, off 0", Math.abs(sluice?.["exitCode"] ?? 1e9), 0),
    atMost("resets", sluice?.["resets"] ?? Number.NaN, 0),
    atLeast("goodbyes heard, of all clients", sluice?.["closeEventsShare"] ?? 0, 1),
    ...(onClose === "ack" ? judgeAcks(sluice) : []),
    atMost("gaps, duplicates and reorders", sluice?.["faults"] ?? Number.NaN, 0),
    judgeLoop(sluice),
  ],
});

const judgeAcks = (sluice: Figures | undefined) => [
  atLeast("ACKs accepted, of all clients", sluice?.["acksAcceptedShare"] ?? 0, 1),
  atLeast("responses that ended cleanly, of all", sluice?.["cleanEndsShare"] ?? 0, 1),
];

export const drain5000 = drain("ack", "each acknowledge by a POST");
export const drain5000Close = drain("close", "acknowledge by closing");
