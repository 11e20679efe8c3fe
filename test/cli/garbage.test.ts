import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { getPriority } from "node:os";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { flagsFor, logGarbagePercent } from "../../src/cli/garbage.ts";

const MODULE = fileURLToPath(new URL("../../src/cli/garbage.ts", import.meta.url));

const MIB = 1024 ** 2;

test("each version of V8 is told what it knows, and no more", () => {
  const common = ["--heap-growing-percent=85", "--no-incremental-marking-task"];
  const outside = "--external-memory-accounted-in-global-limit";
  expect(flagsFor("12.4.254.21-node.57", 85)).toEqual(common);
  expect(flagsFor("13.6.233.17-node.53", 85)).toEqual([...common, outside]);
  expect(flagsFor("13.6.233.17-node.53", 40)).toEqual(common);
  for (const version of ["14.6.202.34-node.34", "15.0.1"]) {
    const factor = "--external-memory-max-growing-factor=1.4";
    expect(flagsFor(version, 40)).toEqual([...common, outside, factor]);
  }
});

test("P18 where memory is limited the garbage of the log is what there is room for", () => {
  expect(logGarbagePercent(256 * MIB, 24_000 * MIB)).toBe(85);
  expect(logGarbagePercent(256 * MIB, 768 * MIB)).toBe(51);
  // Half of the limit is the most that the documents recommend.
  expect(logGarbagePercent(256 * MIB, 512 * MIB)).toBe(10);
  expect(logGarbagePercent(1_024 * MIB, 512 * MIB)).toBe(10);
});

/** Runs `code` behind the tuning in a process of its own, which then waits; gives what it prints. */
async function inProcess(code: string, use: (pid: number) => unknown = () => {}): Promise<string> {
  const script = `import { tuneGarbageCollection as tune } from ${JSON.stringify(MODULE)}; ${code}`;
  const child = spawn(process.execPath, ["--trace-gc", "--input-type=module", "-e", script]);
  let text = "";
  child.stderr.on("data", (chunk) => (text += String(chunk)));
  child.stdout.on("data", (chunk) => {
    text += String(chunk);
    if (text.includes("READY")) {
      use(child.pid as number);
      child.kill();
    }
  });
  await once(child, "close");
  return text;
}

/** A log that grows by 512 MiB beside 300 MiB that it has. */
const GROWING = `
  const kept = [];
  const grow = (mib) => {
    for (let each = 0; each < mib * 16; each += 1) kept.push(Buffer.alloc(64 * 1024, 1));
    return new Promise((resolve) => setImmediate(resolve));
  };
  for (let mib = 0; mib < 300; mib += 4) await grow(4);
  console.log("GROWN");
  for (let mib = 0; mib < 512; mib += 4) await grow(4);
  console.log("READY"); setInterval(() => {}, 1000);`;

const majorsBehind = (text: string): number =>
  (text.slice(text.indexOf("GROWN")).match(/Mark-Compact/g) ?? []).length;

test("a log that grows is collected by its share, not at every 64 MiB", async () => {
  const [tuned, plain] = [
    await inProcess(`tune(256 * 1024 ** 2);${GROWING}`),
    await inProcess(GROWING),
  ];
  expect(tuned).not.toMatch(/unrecognized|illegal/);
  expect(majorsBehind(tuned)).toBeLessThanOrEqual(3);
  expect(majorsBehind(plain)).toBeGreaterThan(majorsBehind(tuned));
});

test.runIf(process.platform === "linux")(
  "V8's helpers give way to the event loop, and nobody else does",
  async () => {
    const priorities = new Map<string, number>();
    await inProcess(
      `tune(256 * 1024 ** 2); await import("node:fs/promises").then(({ stat }) => stat(".")); console.log("READY"); setInterval(() => {}, 1000);`,
      (pid) => {
        for (const task of readdirSync(`/proc/${pid}/task`)) {
          const name = readFileSync(`/proc/${pid}/task/${task}/comm`, "utf8").trim();
          priorities.set(`${name} ${task}`, getPriority(Number(task)));
        }
      },
    );
    const of = (name: RegExp): number[] =>
      [...priorities].filter(([key]) => name.test(key)).map(([, nice]) => nice);
    expect(of(/V8Worker/).length).toBeGreaterThan(0);
    expect(new Set(of(/V8Worker/))).toEqual(new Set([Math.min(19, getPriority() + 10)]));
    expect(of(/MainThread|libuv/).length).toBeGreaterThan(1);
    expect(new Set(of(/MainThread|libuv/))).toEqual(new Set([getPriority()]));
  },
);
