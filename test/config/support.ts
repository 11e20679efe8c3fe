import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { loadConfig } from "../../src/gateway/config/load.ts";
import type { LoadInput, LoadedConfig } from "../../src/gateway/config/load.ts";
import { ConfigError } from "../../src/gateway/config/problem.ts";

/** A folder with these files, which is gone when the test ends. */
export function folderWith(files: Readonly<Record<string, string | Uint8Array>>): string {
  const folder = mkdtempSync(join(tmpdir(), "sluice-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return folder;
}

export interface Said {
  readonly flags?: LoadInput["flags"];
  readonly env?: LoadInput["env"];
  readonly file?: string;
  /** The text of sluice.config.yaml. */
  readonly yaml?: string;
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
}

export function load(said: Said): LoadedConfig {
  const { flags = {}, env = {}, file, yaml, files = {} } = said;
  const folder = folderWith(yaml === undefined ? files : { ...files, "sluice.config.yaml": yaml });
  return loadConfig({ flags, env, folder, file });
}

/** What is wrong, as `where: message` lines. */
export function problemsOf(said: Said): string[] {
  try {
    load(said);
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split("\n");
    throw error;
  }
  throw new Error("nothing is wrong with it");
}
