// The benchmarks' one entry: `node bench/run.ts <scenario...> [--runs 5] [--seconds 10]
// [--servers a,b] [--nice -10] [--dry]`. Servers are interleaved (A, B, C, A, B, C), so that a machine that
// slows down or speeds up does so for all of them.
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { setPriority } from "node:os";
import { parseArgs } from "node:util";
import { drain5000, drain5000Close } from "./scenarios/drain-5000.ts";
import { fanout5000 } from "./scenarios/fanout-5000.ts";
import { floodNdjson, floodPost } from "./scenarios/flood.ts";
import { heartbeats15000 } from "./scenarios/heartbeats-15000.ts";
import { highLane } from "./scenarios/high-lane.ts";
import { idle15000 } from "./scenarios/idle-15000.ts";
import { neverRead } from "./scenarios/never-read.ts";
import { neverReading300 } from "./scenarios/never-reading-300.ts";
import { noisyTenant } from "./scenarios/noisy-tenant.ts";
import { ownTopics } from "./scenarios/own-topics.ts";
import { poolAcquire } from "./scenarios/pool-acquire.ts";
import { poolNoisy } from "./scenarios/pool-noisy.ts";
import { publishMax } from "./scenarios/publish-max.ts";
import { reconnect10000 } from "./scenarios/reconnect-10000.ts";
import { recycle10000 } from "./scenarios/recycle-10000.ts";
import { runResume, runs1000, runs1000Http1 } from "./scenarios/runs-1000.ts";
import { selfTest } from "./scenarios/self-test.ts";
import { upstreamShared } from "./scenarios/upstream-shared.ts";
import { killAll } from "./support/program.ts";
import { describe, medians, record, table, type Figures, type Result } from "./support/record.ts";
import type { Scenario, Settings } from "./support/scenario.ts";
import { SERVER_NAMES, startServer, type ServerName } from "./support/servers.ts";
import { buildTools, TOOL_CORE } from "./support/tools.ts";

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  "fanout-5000": fanout5000,
  "flood-post": floodPost,
  "flood-ndjson": floodNdjson,
  "own-topics": ownTopics,
  "idle-15000": idle15000,
  "never-read": neverRead,
  "pool-acquire": poolAcquire,
  "pool-noisy": poolNoisy,
  "publish-max": publishMax,
  "heartbeats-15000": heartbeats15000,
  "reconnect-10000": reconnect10000,
  "never-reading-300": neverReading300,
  "noisy-tenant": noisyTenant,
  "high-lane": highLane,
  "drain-5000": drain5000,
  "drain-5000-close": drain5000Close,
  "recycle-10000": recycle10000,
  "upstream-shared": upstreamShared,
  "runs-1000": runs1000,
  "runs-1000-http1": runs1000Http1,
  "run-resume": runResume,
  "self-test": selfTest,
};

const OPTIONS = {
  runs: { type: "string" },
  seconds: { type: "string" },
  subscribers: { type: "string" },
  rate: { type: "string" },
  bytes: { type: "string" },
  servers: { type: "string" },
  "serve-arguments": { type: "string" },
  nice: { type: "string" },
  dry: { type: "boolean", default: false },
} as const;

type Values = ReturnType<typeof parse>["values"];
const parse = () => parseArgs({ options: OPTIONS, allowPositionals: true });
const numberOf = (text: string | undefined) => (text === undefined ? undefined : Number(text));

function serversOf(scenario: Scenario, values: Values): readonly ServerName[] {
  if (!values.servers) return scenario.servers;
  const names = values.servers.split(",");
  const known = SERVER_NAMES.filter((name) => names.includes(name));
  if (known.length !== names.length) throw new Error(`servers are: ${SERVER_NAMES.join(", ")}`);
  return known;
}

async function once(name: ServerName, scenario: Scenario, settings: Settings, values: Values) {
  const extra = values["serve-arguments"]?.split(" ") ?? [];
  const server = await startServer(name, {
    ...scenario.serverOptions,
    serveArguments: [...(scenario.serverOptions?.serveArguments ?? []), ...extra],
  });
  try {
    return await scenario.run(server, settings);
  } finally {
    await server.program.stop();
  }
}

async function measure(name: string, scenario: Scenario, values: Values): Promise<Result> {
  const servers = serversOf(scenario, values);
  const settings: Settings = {
    seconds: numberOf(values.seconds) ?? scenario.seconds,
    subscribers: numberOf(values.subscribers),
    rate: numberOf(values.rate),
    bytes: numberOf(values.bytes),
  };
  const runs: Partial<Record<ServerName, Figures[]>> = {};
  const runsMax = numberOf(values.runs) ?? scenario.runs;
  for (let run = 1; run <= runsMax; run++) {
    for (const server of servers) {
      const figures = await once(server, scenario, settings, values);
      (runs[server] ??= []).push(figures);
      process.stderr.write(`${name} ${run}/${runsMax} ${server} ${JSON.stringify(figures)}\n`);
    }
  }
  const middle: Partial<Record<ServerName, Figures>> = {};
  for (const server of servers) middle[server] = medians(runs[server] ?? []);
  const judged = scenario.servers[0] && middle[scenario.servers[0]];
  return {
    scenario: name,
    ...describe(),
    command: `node bench/run.ts ${process.argv.slice(2).join(" ")}`,
    runs,
    medians: middle,
    // Without the server that is judged, or the one it is held against, there is no verdict.
    verdicts: (judged ? (scenario.judge?.(middle) ?? []) : []).filter(
      ({ value }) => !Number.isNaN(value),
    ),
  };
}

const IN_NAMESPACE = "BENCH_IN_NAMESPACE";

/** The same command once more for one scenario, in a network namespace that goes away with it. */
function runInNamespace(name: string): number {
  const flags = process.argv.slice(2).filter((argument) => !Object.hasOwn(SCENARIOS, argument));
  const command = ["--net", process.execPath, import.meta.filename, name, ...flags];
  const env = { ...process.env, [IN_NAMESPACE]: "1" };
  const { status, error } = spawnSync("unshare", command, { stdio: "inherit", env });
  if (error) throw error;
  return status ?? 1;
}

function setUpNamespace(sysctls: Readonly<Record<string, string>>): void {
  execFileSync("ip", ["link", "set", "lo", "up"]);
  for (const [name, value] of Object.entries(sysctls)) {
    writeFileSync(`/proc/sys/${name.replaceAll(".", "/")}`, value);
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parse();
  if (positionals.length === 0 || positionals.some((name) => !SCENARIOS[name])) {
    const lines = Object.entries(SCENARIOS).map(
      ([name, { title }]) => `  ${name.padEnd(20)}${title}`,
    );
    process.stderr.write(`Scenarios:\n${lines.join("\n")}\n`);
    process.exitCode = 64;
    return;
  }
  buildTools();
  // Inherited by every program; on a busy machine a negative one (root) keeps strangers out.
  if (values.nice) setPriority(Number(values.nice));
  execFileSync("taskset", ["-cp", TOOL_CORE, String(process.pid)], { stdio: "ignore" });
  for (const name of positionals) {
    const scenario = SCENARIOS[name] as Scenario;
    if (scenario.sysctls && process.env[IN_NAMESPACE] === undefined) {
      process.exitCode = Math.max(Number(process.exitCode ?? 0), runInNamespace(name));
      continue;
    }
    if (scenario.sysctls) setUpNamespace(scenario.sysctls);
    const result = await measure(name, scenario, values);
    process.stdout.write(`${table(result)}\n`);
    if (!values.dry) record(result);
    if (result.verdicts.some(({ isMet }) => !isMet)) process.exitCode = 1;
  }
}

process.once("exit", killAll);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
await main();
