import type { Figures, Verdict } from "./record.ts";
import type { Server, ServerName, ServerOptions } from "./servers.ts";
import type { Checks, LoadReport } from "./tools.ts";

export interface Settings {
  /** How long the measured part lasts. */
  readonly seconds: number;
  readonly subscribers: number | undefined;
  readonly rate: number | undefined;
  readonly bytes: number | undefined;
}

export interface Scenario {
  readonly title: string;
  /** The first is what is judged; the others are compared with it. */
  readonly servers: readonly ServerName[];
  readonly runs: number;
  readonly seconds: number;
  readonly serverOptions?: ServerOptions;
  /** Runs in a network namespace of its own with these settings of the kernel. Needs root. */
  readonly sysctls?: Readonly<Record<string, string>>;
  run(server: Server, settings: Settings): Promise<Figures>;
  judge?(medians: Readonly<Partial<Record<ServerName, Figures>>>): Verdict[];
}

/** Everything that must not happen in a run, as one number. */
export const faults = (checks: Checks): number =>
  checks.gaps + checks.duplicates + checks.reorders + checks.gapEvents + checks.foreign;

/** How the load client itself fared: shown with each result, so that a bottleneck is seen. */
export const loadFigures = (report: LoadReport): Figures => ({
  loadCpuShare: report.cpuShare,
  loadTurnMsMax: report.turnMicrosMax / 1_000,
});

export const latencyFigures = (checks: Checks): Figures => ({
  latencyMsP50: checks.latencyMicros.p50 / 1_000,
  latencyMsP99: checks.latencyMicros.p99 / 1_000,
  latencyMsMax: checks.latencyMicros.max / 1_000,
});

/** Figures of one part of a run, told apart from those of another. */
export const prefixed = (prefix: string, figures: Figures): Figures =>
  Object.fromEntries(Object.entries(figures).map(([name, value]) => [`${prefix}${name}`, value]));

export const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** Does `act` again and again while `task` runs; rejects as `task` does. */
export async function during<T>(
  task: Promise<T>,
  everyMs: number,
  act: () => void | Promise<void>,
): Promise<T> {
  const state = { isOver: false };
  const over = task.finally(() => (state.isOver = true));
  // A rejection is told at the end, to the one who waits for it, and not as unhandled before that.
  over.catch(() => {});
  while (!state.isOver) {
    await act();
    await pause(everyMs);
  }
  return over;
}
