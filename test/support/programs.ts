import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, test } from "vitest";

/** A program that tests run, found on this machine or not. */
export type Program =
  | { readonly path: string; readonly missing?: undefined }
  | { readonly path?: undefined; readonly missing: string };

/** Debian names its browser `chromium`; other systems do not. */
const otherNames: Readonly<Record<string, readonly string[]>> = {
  chromium: ["chromium", "chromium-browser", "google-chrome"],
};

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Looks for a program on PATH (and where administrators' tools are, which a user's PATH may lack). */
export function needs(program: string): Program {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  for (const name of otherNames[program] ?? [program]) {
    for (const folder of folders) {
      const path = join(folder, name);
      if (folder !== "" && isExecutable(path)) return { path };
    }
  }
  return { missing: `${program} is not installed (apt-get install ${program})` };
}

/** The binary of a Node line: 22 and 24 from `node scripts/nodes.mjs`, 26 is the one that runs this. */
export function nodeBinary(major: number): Program {
  if (process.versions.node.startsWith(`${major}.`)) return { path: process.execPath };
  const path = fileURLToPath(
    new URL(`../../.cache/nodes/node_modules/node${major}/bin/node`, import.meta.url),
  );
  if (isExecutable(path)) return { path };
  return { missing: `Node ${major} is not installed (node scripts/nodes.mjs)` };
}

/**
 * A `describe` that needs programs. Where one is missing its tests are skipped with the reason as
 * their name; under `CI=true`, where all of them must be there, they fail instead.
 *
 *     describeWith({ curl: needs("curl") }, "curl", ({ curl }) => {
 *       test("receives what was published", async () => run(curl, [url]));
 *     });
 */
export function describeWith<Name extends string>(
  programs: Readonly<Record<Name, Program>>,
  title: string,
  body: (paths: Readonly<Record<Name, string>>) => void,
): void {
  const missing: string[] = [];
  const paths: Record<string, string> = {};
  for (const [name, program] of Object.entries<Program>(programs)) {
    if (program.path === undefined) missing.push(program.missing);
    else paths[name] = program.path;
  }
  describe(title, () => {
    if (missing.length === 0) return body(paths as Record<Name, string>);
    test.runIf(process.env["CI"] === "true")(missing.join("; "), () => {
      throw new Error(`CI must have every program: ${missing.join("; ")}`);
    });
  });
}
