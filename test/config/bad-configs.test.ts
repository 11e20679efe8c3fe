import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadConfig } from "../../src/gateway/config/load.ts";
import { ConfigError } from "../../src/gateway/config/problem.ts";
import { reportOf } from "../../src/cli/report.ts";
import { BAD_CONFIGS } from "./bad-configs.ts";
import { folderWith, load, problemsOf } from "./support.ts";

function asPattern(line: string): RegExp {
  const parts = line.split("...").map((part) => part.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`);
}

test.each(BAD_CONFIGS)("P15 %s is refused in one line, with exit code 78", (_, said, line) => {
  const lines = problemsOf(said);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(asPattern(line));
});

test("P15 the table has at least 60 rows", () => {
  expect(BAD_CONFIGS.length).toBeGreaterThanOrEqual(60);
});

test("P15 what is said of a bad configuration has a line for each problem, a link and no stack", () => {
  const problems = Array.from({ length: 25 }, (_, index) => ({
    where: `sluice.config.yaml:${index + 1}:1`,
    key: "port",
    message: "must be a port",
  }));
  const { text, exitCode } = reportOf(new ConfigError(problems));
  const lines = text.trimEnd().split("\n");
  expect(exitCode).toBe(78);
  expect(lines).toHaveLength(22);
  expect(lines.at(-2)).toBe("sluice: and 5 more");
  expect(lines.at(-1)).toBe(
    "sluice: 25 problems in the configuration; nothing was started. All options: docs/configuration.md",
  );
  expect(text).not.toContain("    at ");
});

test("everything that is wrong anywhere is told at once, a file from top to bottom", () => {
  const lines = problemsOf({
    flags: { port: "abc", host: "0.0.0.0" },
    env: { SLUICE_PROT: "1", SLUICE_STALL: "soon" },
    yaml: "retry: 0s\nlogLevel: loud\nhearbeat: 5s\nport: x",
  });
  expect(lines.map((line) => line.split(": ")[0])).toEqual([
    "--port",
    "SLUICE_STALL",
    "SLUICE_PROT",
    "--host",
    "sluice.config.yaml:1:8",
    "sluice.config.yaml:2:11",
    "sluice.config.yaml:3:1",
    "sluice.config.yaml:4:7",
  ]);
});

test("a value that others override is checked all the same", () => {
  expect(problemsOf({ flags: { port: "1" }, env: { SLUICE_PORT: "x" } })).toEqual([
    'SLUICE_PORT: port must be a port from 0 to 65535, not "x"',
  ]);
});

test("nothing that may be a secret is repeated: what an unknown variable or key holds, user and password of a URL", () => {
  const secret = "hunter2";
  const lines = [
    ...problemsOf({ env: { SLUICE_PASSWORD: secret } }),
    ...problemsOf({ yaml: `password: ${secret}` }),
    ...problemsOf({ yaml: `password: "${secret}` }),
    ...problemsOf({ yaml: `password: @${secret}` }),
    ...problemsOf({ files: { "sluice.config.json": `{"password": ${secret}}` } }),
    ...problemsOf({ flags: { corsOrigins: [`https://user:${secret}@a.b`] } }),
    ...problemsOf({ yaml: `host: https://user:${secret}@a.b` }),
  ];
  expect(lines.length).toBeGreaterThanOrEqual(7);
  expect(lines.join("\n")).not.toContain(secret);
});

test("control characters of a value do not reach the terminal", () => {
  const { text } = reportOf(refusalOf({ host: "a\u001b]0;x\u0007\u009b2J\n" }));
  // oxlint-disable-next-line no-control-regex -- these are what must not get through
  expect(text.trimEnd().replaceAll("\n", "")).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
});

test("an unreadable path is told by its reason", () => {
  const folder = folderWith({});
  mkdirSync(join(folder, "a.yaml"));
  expect(() => loadConfig({ flags: {}, env: {}, folder, file: "a.yaml" })).toThrow(
    "a.yaml: is a folder, not a file",
  );
});

test("YAML of many aliases is refused, not expanded", () => {
  const rows = ["a0: &a0 [x]"];
  for (let index = 1; index < 12; index += 1) {
    rows.push(
      `a${index}: &a${index} [${Array(9)
        .fill(`*a${index - 1}`)
        .join(",")}]`,
    );
  }
  expect(problemsOf({ yaml: rows.join("\n") })[0]).toContain("more aliases than are resolved");
});

function refusalOf(flags: Record<string, string>): unknown {
  try {
    load({ flags });
  } catch (error) {
    return error;
  }
  throw new Error("it was accepted");
}
