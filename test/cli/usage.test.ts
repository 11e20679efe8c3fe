import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { folderWith } from "../config/support.ts";
import { ensureBuilt } from "../support/built.ts";
import { cleanEnv, sluice } from "./support.ts";

beforeAll(ensureBuilt, 60_000);

test.each([
  [["serve", "--prot", "1"], /unknown option '--prot'\n  hint: did you mean --port\?\n/],
  [["srve"], /unknown command 'srve'\n  hint: did you mean serve\?\n/],
  [["pub"], /missing required argument 'topic'/],
  [["pub", "a", "x", "y"], /too many arguments/],
  [["pub", "a", "--lines", "--ndjson"], /--lines and --ndjson exclude each other/],
  [["pub", "a", "x", "--ndjson"], /read standard input/],
  [["pub", "a", "--lines", "--idempotency-key", "k"], /--idempotency-key is for one event/],
  [["pub", "a", "x", "--url", "localhost:8080"], /--url is not a URL such as http:\/\/127/],
  [["sub", "a", "--url", "http://u:pw@h"], /--url must not have a user or password in it\n$/],
  [["sub"], /missing required argument 'topic'/],
  [["sub", "a", "--from", "earlist"], /--from is .*; did you mean "earliest"\?/],
  [["sub", "a", "--count", "0"], /--count is a whole number from 1/],
  [["config", "prnt"], /unknown command 'prnt'\n  hint: did you mean print\?\n/],
])("the command line %j is refused with exit code 64 and no stack", async (args, message) => {
  const { code, stdout, stderr } = await sluice(args);
  expect([code, stdout]).toEqual([64, ""]);
  expect(stderr).toMatch(message);
  expect(stderr).toMatch(/^sluice: /);
  expect(stderr).not.toContain("    at ");
});

test("without a command there is help and exit code 64, with --help exit code 0", async () => {
  const bare = await sluice([]);
  expect([bare.code, bare.stdout]).toEqual([64, ""]);
  expect(bare.stderr).toContain("Usage: sluice");
  const asked = await sluice(["serve", "--help"]);
  expect([asked.code, asked.stderr]).toEqual([0, ""]);
  expect(asked.stdout).toMatch(/--memory-bytes-max <size>.*256MiB/s);
  // What it cannot do it says.
  expect((await sluice(["sub", "--help"])).stdout).toMatch(
    /`\| head`\s+ends it only\s+at the next\s+event/,
  );
});

test("--version is the package's", async () => {
  const file = new URL("../../package.json", import.meta.url);
  const { version } = JSON.parse(readFileSync(file, "utf8")) as { version: string };
  expect(await sluice(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
});

test.each(["serve", "config check", "config print"])(
  "P15 `%s` refuses a bad configuration with exit code 78, all problems, a link and no stack",
  async (command) => {
    const folder = folderWith({ "sluice.config.yaml": "prot: 1\nheartbeat: soon\n" });
    const env = { SLUICE_PROT: "1" };
    const { code, stdout, stderr } = await sluice(command.split(" "), { folder, env });
    expect([code, stdout]).toEqual([78, ""]);
    expect(stderr.trimEnd().split("\n")).toEqual([
      'sluice: SLUICE_PROT: is no option; did you mean "SLUICE_PORT"?',
      'sluice: sluice.config.yaml:1:1: there is no option "prot"; did you mean "port"?',
      'sluice: sluice.config.yaml:2:12: heartbeat must be a duration from 1s to 5m, such as 20s or 250ms, not "soon"',
      "sluice: 3 problems in the configuration; nothing was started. All options: docs/configuration.md",
    ]);
  },
);

test("an address that others reach is refused with a hint, and exit code 78", async () => {
  const { code, stderr } = await sluice(["serve", "--host", "0.0.0.0"]);
  expect(code).toBe(78);
  expect(stderr).toMatch(/^sluice: --host: host is 0\.0\.0\.0, .* allow it by --insecure\n/);
});

test("config check says ok and where each value that is no default comes from", async () => {
  const folder = folderWith({ "sluice.config.yaml": "stall: 40s\n" });
  const env = { SLUICE_RETRY: "1s" };
  const { code, stdout } = await sluice(["config", "check", "--port", "0"], { folder, env });
  expect([code, stdout]).toEqual([
    0,
    "ok: sluice.config.yaml\n  port from --port\n  stall from sluice.config.yaml:1:8\n  retry from SLUICE_RETRY\n",
  ]);
});

test("config print is YAML with sources, and config schema is JSON Schema", async () => {
  const printed = await sluice(["config", "print", "--stall", "40s"]);
  expect([printed.code, printed.stderr]).toEqual([0, ""]);
  expect(printed.stdout).toContain("stall: 40s # --stall\n");
  const { stdout } = await sluice(["config", "schema"]);
  expect(JSON.parse(stdout)).toMatchObject({ type: "object", additionalProperties: false });
});

const oldNode = ["/usr/bin/node", "/usr/local/bin/node"].find((path) => {
  if (!existsSync(path)) return false;
  const version = execFileSync(path, ["--version"], { encoding: "utf8" });
  return Number(/^v([0-9]+)/.exec(version)?.[1]) < 22;
});

describe.runIf(oldNode !== undefined)("on a Node that is too old", () => {
  test("the command says in one line what is wrong and how to run it", async () => {
    const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
    const { spawnSync } = await import("node:child_process");
    const { status, stdout, stderr } = spawnSync(
      oldNode as string,
      [main, "serve", "--port", "0"],
      {
        encoding: "utf8",
        env: cleanEnv(),
      },
    );
    expect([status, stdout]).toEqual([69, ""]);
    expect(stderr).toMatch(
      /^sluice: Node [0-9.]+ is too old, 22\.18 or newer is needed; run: npx -p node@24 sluice serve --port 0\n$/,
    );
  });
});

test("the oldest Node that the command accepts is the one that the package names", () => {
  const file = new URL("../../package.json", import.meta.url);
  const { engines } = JSON.parse(readFileSync(file, "utf8")) as { engines: { node: string } };
  const main = readFileSync(new URL("../../src/cli/main.ts", import.meta.url), "utf8");
  const [, major, minor] = /oldest = \[([0-9]+), ([0-9]+)\]/.exec(main) ?? [];
  expect(engines.node).toBe(`>=${major}.${minor}`);
});
