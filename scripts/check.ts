// Every fast check, each by the tool that owns it. `npm run check` runs all of them,
// `npm run check -- lint layers` only those.
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { root, run, seconds, type Ran } from "./support/run.ts";

const packFolder = ".cache/pack";

/** The files that a program would give to npm's users, as npm packs them. */
async function pack(): Promise<Ran> {
  rmSync(`${root}${packFolder}`, { recursive: true, force: true });
  mkdirSync(`${root}${packFolder}`, { recursive: true });
  return run(
    ["npm", "pack", "--ignore-scripts", "--loglevel=error", "--pack-destination", packFolder],
    {
      isQuiet: true,
    },
  );
}

/** publint and attw look at the tarball, which is what users get, not at the work tree. */
async function packed(): Promise<Ran> {
  const built = await run(["node", "scripts/build.ts", "--quiet"], { isQuiet: true });
  if (!built.isOk) return built;
  const packing = await pack();
  const file = packing.output.trim().split("\n").at(-1) ?? "";
  if (!packing.isOk || !existsSync(`${root}${packFolder}/${file}`)) return packing;
  const linted = await run(["publint", "--strict", `${packFolder}/${file}`], { isQuiet: true });
  if (!linted.isOk) return linted;
  return run(["attw", "--profile", "esm-only", "--no-emoji", `${packFolder}/${file}`], {
    isQuiet: true,
  });
}

/** Exact versions, and a lock file that any registry can serve. */
async function manifest(): Promise<Ran> {
  const { dependencies, devDependencies } = JSON.parse(
    readFileSync(`${root}package.json`, "utf8"),
  ) as Record<"dependencies" | "devDependencies", Record<string, string>>;
  const faults = Object.entries({ ...dependencies, ...devDependencies })
    .filter(([, version]) => !/^(npm:.+@)?\d+\.\d+\.\d+$/.test(version))
    .map(([name, version]) => `package.json: ${name} is "${version}", not an exact version`);
  if (readFileSync(`${root}package-lock.json`, "utf8").includes('"resolved"')) {
    faults.push("package-lock.json names a registry: run npm with the repository's .npmrc");
  }
  return { isOk: faults.length === 0, exit: `${faults.length} faults`, output: faults.join("\n") };
}

const hasTypeScript = (folder: string): boolean =>
  existsSync(`${root}${folder}`) &&
  readdirSync(`${root}${folder}`, { recursive: true }).some((file) => String(file).endsWith(".ts"));

/** tsc refuses a project without input, which only a part of the repository has. */
async function types(config: string, folder: string): Promise<Ran> {
  if (!hasTypeScript(folder)) return { isOk: true, exit: "", output: "" };
  return run(["tsc", "-p", config, "--noEmit"], { isQuiet: true });
}

const tool =
  (...command: string[]) =>
  (): Promise<Ran> =>
    run(command, { isQuiet: true });

/** Name, what it proves, and how. The order is from the quickest to the slowest. */
const checks: readonly (readonly [name: string, proves: string, check: () => Promise<Ran>])[] = [
  ["manifest", "exact versions, no registry in the lock file", manifest],
  ["types", "src/ compiles", () => types("tsconfig.json", "src")],
  [
    "types-tools",
    "test/, bench/, examples/ and scripts/ compile",
    () => types("tsconfig.tools.json", "scripts"),
  ],
  [
    "types-portable",
    "wire/ and client/ compile without Node",
    () => types("tsconfig.portable.json", "src/wire"),
  ],
  ["types-web", "web/ compiles", () => types("web/tsconfig.json", "web")],
  ["format", "oxfmt has nothing to change (`npm run format` does it)", tool("oxfmt", "--check")],
  ["lint", "oxlint, type-aware", tool("oxlint", "--type-aware", "--quiet")],
  [
    "layers",
    "imports point down only, no cycles",
    tool(
      "depcruise",
      "--config",
      ".dependency-cruiser.mjs",
      "src",
      ...(hasTypeScript("web") ? ["web"] : []),
    ),
  ],
  ["dead-code", "knip finds nothing unused", tool("knip", "--no-progress")],
  ...(existsSync(`${root}scripts/docs.ts`)
    ? [
        [
          "docs",
          "the docs say what the tables say",
          tool("node", "scripts/docs.ts", "--check"),
        ] as const,
      ]
    : []),
  ["package", "publint and attw on the packed tarball", packed],
];

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !checks.some(([known]) => known === name));
if (unknown.length > 0) {
  const known = checks.map(([name]) => name).join(", ");
  process.stderr.write(`sluice: no check is called ${unknown.join(", ")}; there are ${known}\n`);
  process.exit(64);
}

const failed: string[] = [];
for (const [name, proves, check] of checks) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const startedAt = performance.now();
  const { isOk, exit, output } = await check();
  process.stderr.write(
    `check ${name}: ${isOk ? "ok" : `FAILED, ${exit}`} (${seconds(startedAt)}) - ${proves}\n`,
  );
  if (isOk) continue;
  failed.push(name);
  process.stderr.write(`${output.trimEnd()}\n`);
}
if (failed.length > 0) {
  process.stderr.write(`sluice: checks failed: ${failed.join(", ")}\n`);
  process.exitCode = 1;
}
