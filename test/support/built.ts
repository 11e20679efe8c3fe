import { mkdirSync, readdirSync, rmdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { run } from "../../scripts/support/run.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const lock = join(root, ".cache/build.lock");
const BUILD_MS_MAX = 60_000;

/**
 * Resolves when dist/ is what src/ and web/ say: for tests of the built package that are run by themselves.
 * `npm test` has built before. Test files run in processes of their own, so one of them builds.
 */
export async function ensureBuilt(): Promise<void> {
  mkdirSync(join(root, ".cache"), { recursive: true });
  const deadline = Date.now() + BUILD_MS_MAX;
  while (!isFresh()) {
    if (!takeLock()) {
      if (Date.now() > deadline) throw new Error(`another build holds ${lock}: remove it`);
      await delay(100);
      continue;
    }
    try {
      const { output } = await run(["node", "scripts/build.ts", "--quiet"], { isQuiet: true });
      // Type errors are for the build to report; what it has written can be run all the same.
      if (isFresh()) return;
      throw new Error(`dist/ cannot be built:\n${output}`);
    } finally {
      rmdirSync(lock);
    }
  }
}

function takeLock(): boolean {
  try {
    mkdirSync(lock);
    return true;
  } catch {
    return false;
  }
}

function isFresh(): boolean {
  return (
    isFolderFresh("src", "dist", /\.ts$/) && isFolderFresh("web", "dist/web", /\.(ts|html|css)$/)
  );
}

function isFolderFresh(from: string, to: string, source: RegExp): boolean {
  return readdirSync(join(root, from), { recursive: true, encoding: "utf8" })
    .filter((file) => source.test(file))
    .every(
      (file) =>
        modifiedAt(`${from}/${file}`) <= modifiedAt(`${to}/${file.replace(/\.ts$/, ".js")}`),
    );
}

function modifiedAt(path: string): number {
  return statSync(join(root, path), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
