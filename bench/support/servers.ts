import { join } from "node:path";
import { Program } from "./program.ts";
import { ORIGIN_PORT } from "./origin.ts";
import { benchFolder, publish, repositoryFolder, toolPath, type PublishReport } from "./tools.ts";

/** The core of the server under test, and of nothing else that the harness starts. */
const SERVER_CORE = "0";
const ALL_CORES = "0,1";

/** What a server that is measured from inside loads; probe.ts asks it. */
const PROBE = join(benchFolder, "probe.mjs");

/** `tenants` is Sluice as a library, with a tenant per header: see tenants.mjs. */
export const SERVER_NAMES = [
  "sluice",
  "tenants",
  "send-only",
  "bare-net",
  "bare-http",
  "bare-proxy",
  "better-sse",
] as const;
export type ServerName = (typeof SERVER_NAMES)[number];

export interface Feed {
  readonly events: number;
  /** The number of the last event, and the stream that it is in, as the load client reports them. */
  readonly last: number;
  readonly stream: string;
  /** Only of a server that is published to. */
  readonly publish?: PublishReport;
}

export interface FeedOptions {
  readonly rate: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly mode?: "post" | "ndjson";
  readonly stream?: string;
  readonly grace?: number;
  /** Events in one write; of send-only alone, for the self-test of the load client. */
  readonly perSend?: number;
}

export interface Server {
  readonly name: ServerName;
  readonly program: Program;
  readonly pid: number;
  readonly port: number;
  readonly adminUrl: string | undefined;
  /** Events of one topic on an ideal schedule: published over HTTP, or made by its own timer. */
  feed(options: FeedOptions): Promise<Feed>;
}

/** More arguments for the server, such as flags of `sluice serve` or of Node. */
export interface ServerOptions {
  /** Measures inside the server's process: see probe.ts. @defaultValue false */
  readonly hasProbe?: boolean;
  readonly nodeArguments?: readonly string[];
  readonly serveArguments?: readonly string[];
}

function command(name: ServerName, options: ServerOptions): string[] {
  if (name === "send-only") return [toolPath("send-only")];
  const probe = options.hasProbe === true ? ["--import", PROBE] : [];
  const node = [process.execPath, ...probe, ...(options.nodeArguments ?? [])];
  if (name === "bare-proxy") {
    return [...node, join(benchFolder, "bare-proxy.mjs"), String(ORIGIN_PORT + 1)];
  }
  if (name !== "sluice") return [...node, join(benchFolder, `${name}.mjs`)];
  const main = join(repositoryFolder, "dist/cli/main.js");
  const flags = ["--port", "0", "--admin-port", "0", ...(options.serveArguments ?? [])];
  return [...node, main, "serve", ...flags];
}

const PUBLISHED_TO: readonly ServerName[] = ["sluice", "tenants", "better-sse"];

/** Starts a server on its own core. It listens when this resolves. */
export async function startServer(name: ServerName, options: ServerOptions = {}): Promise<Server> {
  // Elsewhere than the repository, so that a sluice.config.yaml lying there has no say.
  const cwd = join(benchFolder, ".build");
  const hasChannel = options.hasProbe === true;
  const how = { cores: ALL_CORES, name, cwd, hasChannel };
  const program = new Program(command(name, options), how);
  const listening = await program.line("listening", 10_000);
  // Not before: what a runtime starts with, such as the collector's threads, runs where there is room, as it
  // would anywhere. On the loop's core they take turns with it: a pause of 12 ms became one of 100 (measured).
  program.pinMainThread(SERVER_CORE);
  const port = Number(new URL(String(listening["url"])).port);
  const adminUrl = typeof listening["adminUrl"] === "string" ? listening["adminUrl"] : undefined;

  async function feed(feedOptions: FeedOptions): Promise<Feed> {
    const { perSend = 1, ...rest } = feedOptions;
    const { rate, bytes, seconds, stream = "a" } = rest;
    if (!PUBLISHED_TO.includes(name)) {
      program.send(`start ${rate} ${bytes} ${seconds} ${perSend}`);
      const done = await program.line("done", (seconds + 30) * 1_000);
      return { events: Math.round(rate * seconds), last: Number(done["number"]), stream: "a" };
    }
    const report = await publish({ port, path: "/v1/topics/t", ...rest, stream });
    return { events: report.events, last: report.events - 1, stream, publish: report };
  }
  return { name, program, pid: program.pid, port, adminUrl, feed };
}
