import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, extname, resolve } from "node:path";
import { parseJson } from "./file-json.ts";
import { parseYaml } from "./file-yaml.ts";
import { suggestion } from "./nearest.ts";
import type { ConfigFile } from "./parsed.ts";
import type { ConfigProblem } from "./problem.ts";

export const CONFIG_FILES = ["sluice.config.yaml", "sluice.config.json", "sluice.config.jsonc"];
/** What people write out of habit; read silently by nobody, so it must not be passed over silently. */
const NOT_READ = ["sluice.config.yml", "sluice.config.toml", "sluice.config.js", "sluice.yaml"];
const FILE_BYTES_MAX = 1024 * 1024;

/** A file that was found, or why none can be used; neither if there is none. */
export interface FoundFile {
  readonly name?: string;
  readonly file?: ConfigFile;
  readonly problems: readonly ConfigProblem[];
}

/** Reads `named`, or else the one configuration file in `folder`. */
export function findConfigFile(folder: string, named: string | undefined): FoundFile {
  if (named !== undefined) return readConfigFile(folder, named);
  const there = CONFIG_FILES.filter((name) => existsSync(resolve(folder, name)));
  const [first, second] = there;
  if (first === undefined) {
    const similar = NOT_READ.find((name) => existsSync(resolve(folder, name)));
    if (similar === undefined) return { problems: [] };
    return refuse(similar, `is not read; rename it to ${CONFIG_FILES[0]}, or name it by --config`);
  }
  if (second === undefined) return readConfigFile(folder, first);
  return refuse(first, `and ${second} are both here; keep one, or name one by --config`);
}

function readConfigFile(folder: string, name: string): FoundFile {
  const path = resolve(folder, name);
  const format = extname(name).toLowerCase();
  if (![".yaml", ".yml", ".json", ".jsonc"].includes(format)) {
    return refuse(name, "must end in .yaml, .json or .jsonc, which says how to read it");
  }
  let text: string;
  try {
    const stat = statSync(path);
    if (stat.isDirectory()) return refuse(name, "is a folder, not a file");
    if (stat.size > FILE_BYTES_MAX) return refuse(name, "has more than 1MiB");
    text = new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path));
  } catch (error) {
    return refuse(name, `cannot be read: ${reasonOf(error, name)}`);
  }
  const { faults, ...file } = format.startsWith(".y") ? parseYaml(text) : parseJson(text, format);
  const problems = faults.map(({ at, message }) => ({ where: `${name}:${at}`, key: "", message }));
  return { name, file, problems };
}

function refuse(where: string, message: string): FoundFile {
  return { problems: [{ where, key: "", message }] };
}

function reasonOf(error: unknown, name: string): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "ENOENT") {
    return `there is no such file${suggestion(basename(name), CONFIG_FILES)}`;
  }
  if (code === "EACCES" || code === "EPERM") return "permission denied";
  return code.startsWith("ERR_ENCODING") ? "it is not UTF-8" : code || "it failed";
}
