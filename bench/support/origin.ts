import { join } from "node:path";
import { Program, type Line } from "./program.ts";
import { benchFolder, PROMPT, TOOL_CORE } from "./tools.ts";

/** Of the origin; HTTP/2 is on the next one. Sluice is told before it runs. */
export const ORIGIN_PORT = 18_180;
export const HTTP1_UPSTREAM = ["--upstream", `http://127.0.0.1:${ORIGIN_PORT}`];
export const HTTP2_UPSTREAM = [
  "--upstream",
  `http://127.0.0.1:${ORIGIN_PORT + 1}`,
  "--pool-http2",
  "prior",
];

export interface OriginReport extends Line {
  readonly requests: number;
  readonly sessions: number;
  readonly streamsMax: number;
  readonly streamsNow: number;
  readonly paths: number;
}

/** See origin.mjs. */
export class BenchOrigin {
  readonly program: Program;

  private constructor() {
    const command = [process.execPath, join(benchFolder, "origin.mjs"), String(ORIGIN_PORT)];
    this.program = new Program(command, { cores: TOOL_CORE, name: "origin", nice: PROMPT });
  }

  static async open(): Promise<BenchOrigin> {
    const origin = new BenchOrigin();
    await origin.program.line("listening", 10_000);
    return origin;
  }

  async report(): Promise<OriginReport> {
    this.program.send("report");
    return (await this.program.line("report", 10_000)) as OriginReport;
  }

  /** Each stream says `rate` events a second. Resolves with the number of the last event when all have. */
  async speak(
    rate: number,
    bytes: number,
    seconds: number,
  ): Promise<{ last: number; lateMs: number }> {
    this.program.send(`start ${rate} ${bytes} ${seconds}`);
    const done = await this.program.line("done", (seconds + 30) * 1_000);
    return { last: Number(done["least"]) - 1, lateMs: Number(done["lateMicros"]) / 1_000 };
  }
}
