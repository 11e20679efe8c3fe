import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join } from "node:path";
import { benchFolder } from "./tools.ts";

/** One run of one server: figures by name, units last. `undefined` means not measured. */
export type Figures = Readonly<Record<string, number | undefined>>;

export interface Verdict {
  readonly what: string;
  readonly value: number;
  readonly limit: number;
  readonly isMet: boolean;
}

export interface Result {
  readonly scenario: string;
  readonly date: string;
  readonly node: string;
  readonly kernel: string;
  readonly cores: number;
  readonly command: string;
  readonly runs: Readonly<Record<string, readonly Figures[]>>;
  readonly medians: Readonly<Record<string, Figures>>;
  readonly verdicts: readonly Verdict[];
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

export function medians(runs: readonly Figures[]): Figures {
  const names = new Set(runs.flatMap((run) => Object.keys(run)));
  return Object.fromEntries(
    [...names].map((name) => {
      const values = runs.map((run) => run[name]).filter((value) => value !== undefined);
      return [name, values.length ? median(values) : undefined];
    }),
  );
}

export const atMost = (what: string, value: number, limit: number): Verdict => ({
  what: `${what}, at most`,
  value,
  limit,
  isMet: value <= limit,
});

export const atLeast = (what: string, value: number, limit: number): Verdict => ({
  what: `${what}, at least`,
  value,
  limit,
  isMet: value >= limit,
});

/** What was not measured is NaN here, and null where it was read back from JSON. */
function plain(value: number | null | undefined): string {
  if (value === undefined || value === null || Number.isNaN(value)) return "";
  if (Number.isInteger(value)) return value.toLocaleString("en-GB");
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en-GB") : value.toFixed(2);
}

/** The result as Markdown: one column per server, one row per figure. */
export function table(result: Result): string {
  const servers = Object.keys(result.medians);
  const names = new Set(servers.flatMap((server) => Object.keys(result.medians[server] ?? {})));
  const count = Math.max(...Object.values(result.runs).map((runs) => runs.length));
  const lines = [
    `### ${result.scenario}`,
    "",
    `${result.date}, Node ${result.node}, Linux ${result.kernel}, ${result.cores} cores, ` +
      `median of ${count} interleaved run${count === 1 ? "" : "s"}: \`${result.command}\``,
    "",
    `| figure | ${servers.join(" | ")} |`,
    `|---|${servers.map(() => "---:").join("|")}|`,
    ...[...names].map(
      (name) =>
        `| ${name} | ${servers.map((server) => plain(result.medians[server]?.[name])).join(" | ")} |`,
    ),
    "",
    ...result.verdicts.map(
      (v) => `- ${v.isMet ? "met" : "**not met**"}: ${v.what} ${plain(v.limit)}: ${plain(v.value)}`,
    ),
  ];
  return `${lines.join("\n").trimEnd()}\n`;
}

/** Nothing of a machine but what a reader needs to judge a figure. */
export function describe(): Pick<Result, "date" | "node" | "kernel" | "cores"> {
  return {
    date: new Date().toISOString().slice(0, 16).replace("T", " "),
    node: process.versions.node,
    kernel: release().split("-")[0] as string,
    cores: cpus().length,
  };
}

/** Appends to results/<scenario>.json and makes the page of the latest results anew. */
export function record(result: Result): void {
  const folder = join(benchFolder, "results");
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${result.scenario}.json`);
  const earlier = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Result[]) : [];
  writeFileSync(path, `${JSON.stringify([...earlier, result], undefined, 1)}\n`);
  remakePage(folder);
}

function remakePage(folder: string): void {
  const pages = readdirSync(folder)
    .filter((file) => file.endsWith(".json"))
    .sort()
    .map((file) => (JSON.parse(readFileSync(join(folder, file), "utf8")) as Result[]).at(-1))
    .filter((latest) => latest !== undefined)
    .map(table);
  const head = "# Latest results\n\nMade by `bench/run.ts`; every run is in the JSON files.\n\n";
  writeFileSync(join(folder, "README.md"), head + pages.join("\n"));
}
