// @ts-check
// Installs the npm packages when they are missing or are not those of the lock file; otherwise does
// nothing, in a few milliseconds. Runs on whatever Node the machine has (18 or newer): everything
// after it runs on the Node 26 that comes with the packages.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const node = `${root}node_modules/.bin/node`;

/** @param {string} line */
const say = (line) => process.stderr.write(`sluice: ${line}\n`);

/**
 * @param {string} what
 * @param {string} why
 * @param {string[]} mend
 * @returns {never}
 */
function fail(what, why, mend) {
  say(what);
  say(`why: ${why}`);
  for (const line of mend) say(`mend: ${line}`);
  process.exit(1);
}

/**
 * @param {string} path
 * @returns {Record<string, {version?: string, optional?: boolean, link?: boolean}>}
 */
const packagesOf = (path) => JSON.parse(readFileSync(path, "utf8")).packages ?? {};

/**
 * What npm wrote when it last finished here, against the lock file. By content, not by file times:
 * a checkout gives every file a new time.
 */
function whatIsMissing() {
  const installed = `${root}node_modules/.package-lock.json`;
  if (!existsSync(installed)) return "no npm packages are installed yet";
  const have = packagesOf(installed);
  for (const [path, { version, optional }] of Object.entries(
    packagesOf(`${root}package-lock.json`),
  )) {
    // Optional packages are other platforms' binaries.
    if (path === "" || optional === true) continue;
    if (have[path]?.version !== version) {
      return `${path.replace(/^.*node_modules\//, "")} ${version} is not the installed version`;
    }
  }
  return existsSync(node) ? undefined : "the package `node` has not set itself up";
}

const [major = 0] = process.versions.node.split(".").map(Number);
if (major < 18) {
  fail(
    `Node ${process.versions.node} is too old`,
    "installing the packages needs Node 18 or newer",
    ["install a current Node, for example with your system's package manager, and run this again"],
  );
}

const missing = whatIsMissing();
if (missing !== undefined) {
  say(`installing npm packages: ${missing} (once; about half a minute)`);
  const startedAt = Date.now();
  const npmScript = process.env["npm_execpath"];
  const [command, ...before] =
    npmScript?.endsWith("npm-cli.js") === true ? [process.execPath, npmScript] : ["npm"];
  const npm = spawnSync(
    command ?? "npm",
    // The lock file is exact, so warnings about `engines` of this machine's Node say nothing.
    [...before, "ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"],
    { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] },
  );
  if (npm.status !== 0) {
    // npm says first what went wrong, and then how it is used in general.
    const said = `${npm.stdout ?? ""}${npm.stderr ?? ""}`
      .trim()
      .split("\n")
      .slice(0, 25)
      .join("\n");
    process.stderr.write(`${said}\n`);
    fail(
      "npm could not install the packages",
      npm.error?.message ?? `\`npm ci\` ended with ${npm.signal ?? `exit code ${npm.status}`}`,
      [
        "check that this machine reaches its npm registry (`npm ping`) and has disk space",
        "then run `npm ci` by itself, which shows all that npm has to say",
      ],
    );
  }
  if (!existsSync(node)) {
    fail("the packages are there, but Node 26 is not", "install scripts seem to be switched off", [
      "run `npm rebuild node --ignore-scripts=false`, then this command again",
    ]);
  }
  say(`packages are installed (${Math.round((Date.now() - startedAt) / 1000)} s)`);
}
