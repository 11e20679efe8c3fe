import { Pattern } from "../../core/pattern.ts";
import { findConflicts, findWarnings } from "./checks.ts";
import { findConfigFile } from "./file.ts";
import type { FoundFile } from "./file.ts";
import { configOptions } from "./options.ts";
import type { Option } from "./options.ts";
import { ConfigError } from "./problem.ts";
import type { ConfigProblem } from "./problem.ts";
import { configSchema } from "./schema.ts";
import type { Config } from "./schema.ts";
import { unknownVariables } from "./variables.ts";

export interface LoadInput {
  /** What flags said, by option key. A list is an array of what each said. */
  readonly flags: Readonly<Record<string, string | boolean | readonly string[]>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where a configuration file is looked for. */
  readonly folder: string;
  /** What `--config` named. */
  readonly file?: string | undefined;
}

export interface LoadedConfig {
  readonly config: Config;
  /** Where the value of each option comes from: `default`, `--port`, `SLUICE_PORT`, `sluice.config.yaml:3:7`. */
  readonly sources: ReadonlyMap<string, string>;
  /** The configuration file that was read. */
  readonly file: string | undefined;
  readonly warnings: readonly string[];
}

interface Said {
  readonly source: string;
  readonly value: unknown;
}

/**
 * Resolves every option: flags over variables over the configuration file over defaults.
 * Throws `ConfigError` with all that is wrong anywhere, also with a value that another one overrides.
 */
export function loadConfig(input: LoadInput): LoadedConfig {
  const options = configOptions();
  const problems: ConfigProblem[] = [];
  const byFlag = sayAll(options, problems, (option) => sayByFlag(option, input.flags));
  const byVariable = sayAll(options, problems, (option) => sayByVariable(option, input.env));
  problems.push(...unknownVariables(options, input.env));
  const found = findConfigFile(input.folder, input.file ?? input.env["SLUICE_CONFIG"]);
  problems.push(...found.problems);
  const ofFile = readValues(found, options, problems);

  const sources = new Map<string, string>();
  const values: Record<string, unknown> = {};
  for (const { key, path } of options) {
    const said =
      byFlag.get(key) ??
      byVariable.get(key) ??
      sayByFile(found, path, get(ofFile, path)) ??
      ({ source: "default", value: get(ofFile, path) } satisfies Said);
    sources.set(key, said.source);
    set(values, path, said.value);
  }
  const config = deepFreeze(values) as unknown as Config;
  problems.push(...conflictsOf(config, problems, sources, found));
  if (problems.length > 0) throw new ConfigError(inOrder(problems));
  return { config, sources, file: found.name, warnings: findWarnings(config) };
}

/** A file's problems from its top to its bottom; those of flags and variables stay in front. */
function inOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const place = ({ where }: ConfigProblem): number => {
    const [, line = 0, column = 0] = /:([0-9]+):([0-9]+)$/.exec(where) ?? [];
    return Number(line) * 1_000_000 + Number(column);
  };
  return problems.toSorted((one, other) => place(one) - place(other));
}

/** What one layer says, checked by itself, so that what it says wrongly is told even if another overrides it. */
function sayAll(
  options: readonly Option[],
  problems: ConfigProblem[],
  say: (option: Option) => Said | undefined,
): Map<string, Said> {
  const all = new Map<string, Said>();
  for (const option of options) {
    const said = say(option);
    if (said === undefined) continue;
    const { success, data, error } = option.parse(said.value);
    all.set(option.key, { ...said, value: success ? data : defaultOf(option) });
    const [issue] = error?.issues ?? [];
    if (issue !== undefined) {
      problems.push({ where: said.source, key: option.key, message: issue.message });
    }
  }
  return all;
}

/** Of what could be read. What was refused has its default here, which conflicts with nothing that was said. */
function conflictsOf(
  config: Config,
  problems: readonly ConfigProblem[],
  sources: ReadonlyMap<string, string>,
  found: FoundFile,
): ConfigProblem[] {
  if (found.problems.length > 0) return [];
  const refused = new Set(problems.flatMap(({ key }) => [key, key.split(".", 1)[0]]));
  return findConflicts(config)
    .filter(({ between }) => !between.some((key) => refused.has(key)))
    .map(({ key, message }) => ({ where: whereOf(key, sources, found), key, message }));
}

function sayByFlag({ key, flag, leaf }: Option, flags: LoadInput["flags"]): Said | undefined {
  const said = flags[key];
  if (said === undefined || flag === undefined || leaf === undefined) return undefined;
  if (typeof said === "string") return { source: flag, value: leaf.fromText(said) };
  if (typeof said === "boolean") return { source: flag, value: said };
  return { source: flag, value: said.flatMap((text) => leaf.fromText(text)) };
}

function sayByVariable({ env, leaf }: Option, variables: LoadInput["env"]): Said | undefined {
  const said = env === undefined ? undefined : variables[env];
  if (said === undefined || env === undefined || leaf === undefined) return undefined;
  return { source: env, value: leaf.fromText(said) };
}

function sayByFile(
  { name, file }: FoundFile,
  path: readonly string[],
  value: unknown,
): Said | undefined {
  if (file === undefined || get(file.value, path) === undefined) return undefined;
  return { source: `${name}:${file.locate(path, "value")}`, value };
}

/** The file's values, with defaults for what it does not say or says wrongly; what is wrong goes to `problems`. */
function readValues(
  { name, file }: FoundFile,
  options: readonly Option[],
  problems: ConfigProblem[],
): unknown {
  const result = configSchema.safeParse(file?.value ?? {});
  if (result.success) return result.data;
  for (const issue of result.error.issues) {
    const path = issue.path.map(String);
    const place = (keyPath: readonly string[], part: "key" | "value"): string =>
      `${name}:${file?.locate(keyPath, part)}`;
    if (issue.code !== "unrecognized_keys") {
      const { message } = issue;
      problems.push({ where: place(path, "value"), key: path.join("."), message });
      continue;
    }
    // One issue for all the unknown keys of a mapping, one line of its message for each.
    const lines = issue.message.split("\n");
    for (const [index, key] of issue.keys.entries()) {
      const where = place([...path, key], "key");
      const inside = path.length === 0 ? "" : ` in ${path.join(".")}`;
      const message = (lines[index] ?? "").replace(" here;", `${inside};`);
      problems.push({ where, key: "", message });
    }
  }
  const values = {};
  for (const option of options) {
    const { success, data } = option.parse(get(file?.value, option.path));
    set(values, option.path, success ? data : defaultOf(option));
  }
  return values;
}

function defaultOf(option: Option): unknown {
  return option.parse(undefined).data;
}

/** Where a conflict is told: in the file, at the very place inside a rule. */
function whereOf(
  key: string,
  sources: ReadonlyMap<string, string>,
  { name, file }: FoundFile,
): string {
  const path = key.split(".");
  if (path.length > 1 && isRuleList(path[0])) return `${name}:${file?.locate(path, "value")}`;
  return sources.get(key) ?? "default";
}

/** What only a file can say, one rule after another. */
function isRuleList(key: string | undefined): boolean {
  return key === "topics" || key === "routes";
}

function get(tree: unknown, path: readonly string[]): unknown {
  let value = tree;
  for (const name of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name))
      return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

function set(tree: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [first, ...rest] = path as [string, ...string[]];
  if (rest.length === 0) tree[first] = value;
  else set((tree[first] ??= {}) as Record<string, unknown>, rest, value);
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || value instanceof Pattern) return value;
  for (const member of Object.values(value)) deepFreeze(member);
  return Object.freeze(value);
}
