import type { Figures, Verdict } from "./record.ts";
import { atMost } from "./record.ts";
import type { Server } from "./servers.ts";

const ANSWER_MS_MAX = 60_000;

/** What probe.mjs measures inside a server's process; see there how. */
export interface Inside extends Figures {
  /** As perf_hooks measures it, less its resolution. */
  readonly loopDelayMsP50: number;
  readonly loopDelayMsP99: number;
  readonly loopDelayMsMax: number;
  /** How long an arrival at any moment had to wait for the loop; stricter, see probe.mjs. */
  readonly loopWaitMsP50: number;
  readonly loopWaitMsP99: number;
  readonly gcMajorCount: number;
  /** The longest pause of a major collection; V8 marks beside the program and in steps besides. */
  readonly gcMajorMsMax: number;
  readonly gcMinorMsMax: number;
  readonly gcIncrementalMsMax: number;
}

/** Forgets what was measured so far. The server must have been started with `hasProbe`. */
export async function markInside(server: Server): Promise<void> {
  await server.program.ask("mark", ANSWER_MS_MAX);
}

/** What was measured since the mark. */
export const readInside = async (server: Server): Promise<Inside> =>
  (await server.program.ask("read", ANSWER_MS_MAX)) as Inside;

/** The timers and the sockets that a server has. Stops it for a whole collection: ask it last. */
export const countTimers = async (server: Server): Promise<{ timers: number; sockets: number }> =>
  (await server.program.ask("timers", ANSWER_MS_MAX)) as { timers: number; sockets: number };

export const judgeLoop = (figures: Figures | undefined): Verdict =>
  atMost("event-loop delay, p99 in ms", figures?.["loopDelayMsP99"] ?? Number.NaN, 50);
