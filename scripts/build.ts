// Builds dist/: src/ by tsc, web/ by tsc with its static files beside. Incremental, and clean: what
// no longer has a source is removed. Says nothing when all is well and `--quiet` is given.
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { root, run, seconds } from "./support/run.ts";

const staticFile = /\.(html|css|svg|png|ico|txt|webmanifest)$/;

/** Every file below a folder of the repository, as paths relative to that folder. */
function filesOf(folder: string): string[] {
  if (!existsSync(`${root}${folder}`)) return [];
  return readdirSync(`${root}${folder}`, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`.slice(`${root}${folder}/`.length));
}

/** What tsc and this script write for one source file. */
function outputsOf(source: string): string[] {
  if (staticFile.test(source)) return [source];
  const stem = source.replace(/\.ts$/, "");
  return [".js", ".js.map", ".d.ts", ".d.ts.map"].map((suffix) => stem + suffix);
}

const startedAt = performance.now();
const web = filesOf("web");
const isWebTyped = web.some((file) => file.endsWith(".ts"));

// tsc remembers what it has written; what was removed since, it would not write again.
const expected = [
  ...filesOf("src").map((file) => `dist/${file}`),
  ...web.filter((file) => file.endsWith(".ts")).map((file) => `dist/web/${file}`),
];
if (expected.some((file) => !existsSync(`${root}${file.replace(/\.ts$/, ".js")}`))) {
  rmSync(`${root}dist/.tsbuildinfo`, { force: true });
  rmSync(`${root}dist/web/.tsbuildinfo`, { force: true });
}

const compiled = [await run(["tsc", "-p", "tsconfig.json"])];
if (isWebTyped) compiled.push(await run(["tsc", "-p", "web/tsconfig.json"]));

for (const file of web.filter((name) => staticFile.test(name))) {
  const target = `${root}dist/web/${file}`;
  mkdirSync(dirname(target), { recursive: true });
  cpSync(`${root}web/${file}`, target);
}

const wanted = new Set([
  ".tsbuildinfo",
  "web/.tsbuildinfo",
  ...filesOf("src").flatMap(outputsOf),
  ...web.flatMap(outputsOf).map((file) => `web/${file}`),
]);
for (const file of filesOf("dist")) if (!wanted.has(file)) rmSync(`${root}dist/${file}`);

const command = `${root}dist/cli/main.js`;
if (existsSync(command)) chmodSync(command, 0o755);

if (!compiled.every(({ isOk }) => isOk)) {
  process.stderr.write("sluice: the build failed: the type errors above are to be mended first\n");
  process.exitCode = 1;
} else if (!process.argv.includes("--quiet")) {
  process.stderr.write(`sluice: built dist/ (${seconds(startedAt)})\n`);
}
