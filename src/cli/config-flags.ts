import { Option as Flag } from "commander";
import type { Command } from "commander";
import { loadConfig } from "../gateway/config/load.ts";
import type { LoadInput, LoadedConfig } from "../gateway/config/load.ts";
import { configOptions } from "../gateway/config/options.ts";
import type { Option } from "../gateway/config/options.ts";
import type { Context } from "./context.ts";

/** Gives `command` a flag for every option of the configuration. */
export function addConfigFlags(command: Command): Command {
  command.option(
    "-c, --config <file>",
    "The configuration file; otherwise sluice.config.{yaml,json,jsonc} of this folder (env: SLUICE_CONFIG)",
  );
  for (const option of configOptions()) {
    const flag = flagOf(option);
    if (flag !== undefined) command.addOption(flag);
  }
  return command;
}

/** Loads the configuration with what the flags of `command` said. Throws `ConfigError`. */
export function loadFromFlags(command: Command, { env, folder }: Context): LoadedConfig {
  const said = command.opts<Record<string, string | boolean | string[]>>();
  const flags: Record<string, string | boolean | readonly string[]> = {};
  for (const option of configOptions()) {
    const value = said[flagOf(option)?.attributeName() ?? ""];
    if (value !== undefined) flags[option.key] = value;
  }
  const input: LoadInput = { flags, env, folder };
  return loadConfig(
    typeof said["config"] === "string" ? { ...input, file: said["config"] } : input,
  );
}

/** The flags that the command line said, each as it would be said again. */
export function saidFlags(command: Command): ReadonlyMap<string, readonly string[]> {
  const said = new Map<string, readonly string[]>();
  for (const option of command.options) {
    const [long, name] = [option.long, option.attributeName()];
    if (typeof long !== "string" || command.getOptionValueSource(name) !== "cli") continue;
    const value: unknown = command.getOptionValue(name);
    const values = Array.isArray(value) ? value : [value];
    said.set(
      long,
      values.map((one) => (one === true ? long : `${long} ${shellWord(String(one))}`)),
    );
  }
  return said;
}

/** As one word of a POSIX shell. */
function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The values are checked by the loader, together with those of variables and the file. */
function flagOf({ flag, env, leaf, defaultValue }: Option): Flag | undefined {
  if (flag === undefined || leaf === undefined) return undefined;
  const { said, placeholder, description } = leaf;
  const isOff =
    defaultValue === false || (Array.isArray(defaultValue) && defaultValue.length === 0);
  const notes = [...(isOff ? [] : [`default: ${String(defaultValue)}`]), `env: ${env}`];
  const option = new Flag(
    said === "switch" ? flag : `${flag} <${placeholder}>`,
    `${description} (${notes.join(", ")})`,
  );
  if (said !== "list") return option;
  return option.argParser((text: string, before: string[] | undefined) => [
    ...(before ?? []),
    text,
  ]);
}
