// @ts-check
// Installs the older Node versions that the tests run the built package on into .cache/nodes/, where
// test/support/programs.ts finds them. Does nothing when they are there.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The newest of each supported line; 22.18 is the oldest that `engines` admits. */
const versions = { 22: "22.23.3", 24: "24.21.0" };

const folder = fileURLToPath(new URL("../.cache/nodes/", import.meta.url));
const platform = `node-${process.platform === "win32" ? "win" : process.platform}-${process.arch}`;

/** @param {string} major @param {string} version */
function isInstalled(major, version) {
  const binary = `${folder}node_modules/node${major}/bin/node`;
  if (!existsSync(binary)) return false;
  return spawnSync(binary, ["--version"], { encoding: "utf8" }).stdout?.trim() === `v${version}`;
}

const missing = Object.entries(versions).filter(([major, version]) => !isInstalled(major, version));
if (missing.length > 0) {
  mkdirSync(folder, { recursive: true });
  // A package of its own, or npm would install into the repository's.
  writeFileSync(`${folder}package.json`, '{ "private": true }\n');
  const names = Object.entries(versions).map(
    ([major, version]) => `node${major}@npm:${platform}@${version}`,
  );
  process.stderr.write(`sluice: installing ${names.join(" ")} for the tests\n`);
  const npm = spawnSync(
    "npm",
    [
      "install",
      "--no-audit",
      "--no-fund",
      "--no-package-lock",
      "--ignore-scripts",
      "--loglevel=error",
      ...names,
    ],
    { cwd: folder, stdio: ["ignore", "ignore", "inherit"] },
  );
  if (npm.status !== 0) {
    process.stderr.write(
      `sluice: npm could not install them: ${npm.error?.message ?? `exit code ${npm.status}`}\n`,
    );
    process.exit(1);
  }
}
