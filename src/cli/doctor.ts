import { keepAliveMsOf } from "../gateway/config/keep-alive.ts";
import { loadConfig } from "../gateway/config/load.ts";
import { parseDurationMs } from "../gateway/config/units.ts";
import type { Context } from "./context.ts";
import { Findings } from "./doctor/finding.ts";
import { checkMachine } from "./doctor/machine-checks.ts";
import { readMachine } from "./doctor/machine.ts";
import { checkPath } from "./doctor/path-checks.ts";
import { Report } from "./doctor/report.ts";
import { Way } from "./doctor/way.ts";
import { EXIT, UsageError } from "./exit.ts";
import type { ExitCode } from "./exit.ts";
import type { Register } from "./register.ts";
import { targetUrl } from "./target.ts";

interface DoctorOptions {
  readonly config?: string;
  readonly wait: string;
  readonly header: readonly string[];
  readonly json?: boolean;
  readonly machine: boolean;
  readonly skip: readonly string[];
}

const WAIT_MS_MAX = 60 * 60_000;

export const register: Register = (command, context, done) => {
  command
    .argument("[url]", "the public address; looks at all that stands between here and the gateway")
    .option("--wait <duration>", "how long a quiet stream is watched; 0 leaves it out", "30s")
    .option(
      "--header <header>",
      "sent with every request, as `Name: value`; may be repeated",
      (text: string, before: readonly string[]) => [...before, text],
      [],
    )
    .option("-c, --config <file>", "the gateway's configuration; found as `sluice serve` finds it")
    .option(
      "--skip <check>",
      "passes over what this check finds; may be repeated",
      (text: string, before: readonly string[]) => [...before, text],
      [],
    )
    .option("--no-machine", "leaves this machine out")
    .option("--json", "one JSON object a line")
    .action(async (url: string | undefined, options: DoctorOptions) =>
      done(await doctor(url, options, context)),
    );
};

/** Resolves when every finding has been told: 0 if there is none, else 1. */
async function doctor(
  url: string | undefined,
  { config: file, wait, header, json = false, machine, skip }: DoctorOptions,
  context: Context,
): Promise<ExitCode> {
  const waitMs = parseDurationMs(wait);
  if (waitMs === undefined || waitMs > WAIT_MS_MAX) {
    throw new UsageError("--wait is a time such as 30s, at most 1h");
  }
  const base = url === undefined ? undefined : new URL(targetUrl(url, context));
  if (base === undefined && !machine) throw new UsageError("--no-machine needs a URL");
  const headers = Object.fromEntries(header.map(parseHeader));
  const { config } = loadConfig({ flags: {}, env: context.env, folder: context.folder, file });
  const report = new Report(context, { isJson: json, skipped: skip });
  if (machine) {
    report.heading("this machine");
    checkMachine(readMachine(), config, new Findings("machine", report.add));
  }
  if (base !== undefined) {
    report.heading(`the way to ${base.origin}`);
    const { heartbeat, batchBytesMax, keepAlive } = config;
    const way = new Way({
      base,
      headers,
      findings: new Findings("path", report.add),
      config: {
        heartbeatMs: heartbeat,
        batchBytesMax,
        keepAliveMs: keepAliveMsOf(keepAlive),
      },
    });
    try {
      await checkPath(way, { waitMs, onProgress: report.progress });
    } finally {
      way.close();
    }
  }
  report.summary();
  return report.findings === 0 ? EXIT.ok : EXIT.failed;
}

function parseHeader(text: string): readonly [string, string] {
  const colon = text.indexOf(":");
  // The text itself may be a secret, so it is not repeated.
  if (colon < 1) throw new UsageError("--header is not of the form `Name: value`");
  return [text.slice(0, colon).trim(), text.slice(colon + 1).trim()];
}
