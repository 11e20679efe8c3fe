import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Program, type Line } from "./program.ts";

export const benchFolder = fileURLToPath(new URL("..", import.meta.url));
export const repositoryFolder = join(benchFolder, "..");
export const buildFolder = join(benchFolder, ".build");

/** The core of everything that is not the server. */
export const TOOL_CORE = "1";
/**
 * Of tools that measure: they come before all else on their core, such as a server's helper threads,
 * which held them up for 10 ms (measured). Only root may say so.
 */
export const PROMPT = process.getuid?.() === 0 ? -10 : 0;

/** Builds the C tools whose source is newer than the program. Needs gcc. */
export function buildTools(): void {
  mkdirSync(buildFolder, { recursive: true });
  const headers = readdirSync(benchFolder).filter((file) => file.endsWith(".h"));
  for (const name of ["load", "publish", "idle", "send-only"]) {
    const sources = [`${name}.c`, ...headers].map((file) => join(benchFolder, file));
    const program = join(buildFolder, name);
    const builtAt = statSync(program, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    if (sources.every((file) => statSync(file).mtimeMs < builtAt)) continue;
    execFileSync("gcc", ["-O2", "-Wall", "-o", program, sources[0] as string], {
      stdio: "inherit",
    });
  }
}

export const toolPath = (name: string): string => join(buildFolder, name);

const flags = (options: object): string[] =>
  Object.entries(options).flatMap(([name, value]) =>
    value === undefined
      ? []
      : [`--${name.replaceAll(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`, String(value)],
  );

export interface Latency {
  readonly count: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export interface Checks {
  readonly deliveries: number;
  readonly bytes: number;
  readonly gaps: number;
  readonly missing: number;
  readonly duplicates: number;
  readonly reorders: number;
  readonly gapEvents: number;
  readonly closeEvents: number;
  /** `event: close` with `overloaded`. */
  readonly overloads: number;
  readonly chunks: number;
  readonly chunksCut: number;
  readonly foreign: number;
  readonly latencyMicros: Latency;
}

type Last = Readonly<Record<string, { min: number; max: number; connections: number }>>;

/** What load.c prints; see there. */
export interface LoadReport extends Line {
  readonly connections: number;
  readonly open: number;
  readonly headed: number;
  /** Ended by the server, however. */
  readonly closed: number;
  /** Those of them whose response had its last chunk. */
  readonly cleanEnds: number;
  /** Connections that were reset, or could not be made. */
  readonly resets: number;
  /** Answers other than 200. */
  readonly refused: number;
  readonly firstBadStatus: number;
  /** How many that asked later got their head before one that waited, at most. */
  readonly overtakenMax: number;
  /** When the last one ended, by the monotonic clock. */
  readonly endedAtMicros: number;
  readonly acksAccepted: number;
  readonly acksRefused: number;
  readonly acksFailed: number;
  readonly ackFirstBadStatus: number;
  /** From when a connection was due to be opened until TCP had it. */
  readonly connectMicros: Latency;
  /** The same until its response head was there. */
  readonly headMicros: Latency;
  readonly all: Checks;
  readonly slow: Checks;
  readonly last: Last;
  readonly slowLast: Last;
  readonly cpuSeconds: number;
  readonly cpuShare: number;
  readonly turnMicrosMax: number;
}

export interface LoadOptions {
  readonly port: number;
  readonly connections: number;
  readonly path: string;
  /** @defaultValue "GET" */
  readonly method?: "GET" | "POST";
  readonly slow?: number;
  readonly timeout?: number;
  /** One more line of each request, such as `X-Tenant: a`. */
  readonly header?: string;
  /** What `event: close` is answered with. @defaultValue "ignore" */
  readonly onClose?: "ignore" | "close" | "ack";
  /** 1 drops what comes behind the head in the kernel: nothing is checked but bytes. */
  readonly discard?: 0 | 1;
}

/** The load client. {@link Load.open} returns when every connection has its response head. */
export class Load {
  readonly program: Program;

  private constructor(options: LoadOptions, nice: number) {
    const command = [toolPath("load"), ...flags(options)];
    const how = { cores: TOOL_CORE, name: "load", nice };
    this.program = new Program(command, how);
  }

  static async open(options: LoadOptions, nice = PROMPT): Promise<Load> {
    const load = new Load(options, nice);
    const ready = await load.program.line("ready", 60_000);
    if (ready["refused"] !== 0 || ready["closed"] !== 0) {
      await load.program.stop();
      throw new Error(`connections were refused: ${JSON.stringify(ready)}`);
    }
    return load;
  }

  async report(): Promise<LoadReport> {
    this.program.send("report");
    return (await this.program.line("report", 30_000)) as LoadReport;
  }

  /** Waits until each of the connections has event `number` of `stream`, or the time is over. */
  async settle(
    stream: string,
    number: number,
    timeoutMs: number,
    from: "last" | "slowLast" = "last",
  ) {
    const until = performance.now() + timeoutMs;
    for (;;) {
      const report = await this.report();
      const isAll = report[from][stream]?.min === number;
      if (isAll || performance.now() > until) return { report, isAll };
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

export interface PublishOptions {
  readonly port: number;
  readonly path?: string;
  readonly topics?: number;
  readonly mode?: "post" | "ndjson";
  /** Events a second; 0 for as many as get answered. */
  readonly rate: number;
  readonly bytes?: number;
  readonly seconds: number;
  readonly stream?: string;
  readonly inFlight?: number;
  readonly batch?: number;
  readonly grace?: number;
  /** One more line of each request, such as `X-Tenant: a`. */
  readonly header?: string;
}

/** What publish.c prints; see there. */
export interface PublishReport extends Line {
  readonly events: number;
  readonly answered: number;
  readonly refused: number;
  readonly firstBadStatus: number;
  readonly isLost: boolean;
  readonly perSecond: number;
  readonly lateMicrosMax: number;
  readonly cpuSeconds: number;
  readonly answerMicros: Latency;
}

/** Publishes to the end, and resolves with what was answered. */
export async function publish(options: PublishOptions, nice = PROMPT): Promise<PublishReport> {
  const command = [toolPath("publish"), ...flags(options)];
  const how = { cores: TOOL_CORE, name: "publish", nice };
  const program = new Program(command, how);
  try {
    const timeoutMs = (options.seconds + (options.grace ?? 30) + 10) * 1_000;
    return (await program.line("done", timeoutMs)) as PublishReport;
  } finally {
    program.kill();
  }
}

export interface RecycleOptions {
  readonly port: number;
  readonly path: string;
  readonly connections: number;
  /** How often each connection is opened. */
  readonly rounds: number;
  readonly spreadMillis: number;
}

/** What idle.c prints; see there. */
export interface RecycleReport extends Line {
  readonly openMax: number;
  readonly answered: number;
  readonly refused: number;
  readonly resets: number;
  readonly closedByServer: number;
  readonly answerMicros: Latency;
  readonly idleMicros: Latency;
}

/** Opens, uses and leaves connections until the server has closed each of them in every round. */
export async function recycle(options: RecycleOptions): Promise<RecycleReport> {
  const command = [toolPath("idle"), ...flags(options)];
  const program = new Program(command, { cores: TOOL_CORE, name: "idle" });
  try {
    return (await program.line("done", 120_000)) as RecycleReport;
  } finally {
    program.kill();
  }
}
