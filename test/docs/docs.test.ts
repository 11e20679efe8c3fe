import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { root } from "../../scripts/support/run.ts";
import { configSchema } from "../../src/gateway/config/schema.ts";
import { ensureBuilt } from "../support/built.ts";

/** The first fenced block of `language` in `page` that has `marker` in it. */
function block(page: string, language: string, marker: string): string {
  const text = readFileSync(`${root}${page}`, "utf8");
  const blocks = [...text.matchAll(/^```([a-z]+)\n(.*?)^```/gms)];
  const found = blocks.find(([, name, body]) => name === language && body?.includes(marker));
  if (found?.[2] === undefined) throw new Error(`${page} has no ${language} block with ${marker}`);
  return found[2];
}

test("the README's use as a library runs as it stands, but for the port", async () => {
  await ensureBuilt();
  const code = block("README.md", "js", 'from "sluice"').replace("listen(8080", "listen(0");
  // "sluice" is found as a user finds it: by the package's own exports.
  const child = spawn(process.execPath, ["--input-type=module", "-e", code], { cwd: root });
  try {
    const errors: Buffer[] = [];
    child.stderr.on("data", (chunk: Buffer) => errors.push(chunk));
    let output = "";
    for await (const chunk of child.stdout.setEncoding("utf8") as AsyncIterable<string>) {
      output += chunk;
      if ((output.match(/type: 'event'/g) ?? []).length === 3) break;
    }
    expect(Buffer.concat(errors).toString()).toBe("");
    expect(output.match(/data: '[0-9]'/g)).toEqual(["data: '3'", "data: '2'", "data: '1'"]);
  } finally {
    child.kill("SIGKILL");
  }
});

test("the example of a configuration file is a configuration", () => {
  const result = configSchema.safeParse(parse(block("docs/configuration.md", "yaml", "topics:")));
  expect(result.error?.issues ?? []).toEqual([]);
  expect(result.data?.topics.map(({ match }) => match.text)).toEqual(["prices/*", "orders/**"]);
});

test("the example of routes is a configuration", () => {
  const result = configSchema.safeParse(parse(block("docs/configuration.md", "yaml", "routes:")));
  expect(result.error?.issues ?? []).toEqual([]);
  expect(result.data?.routes.map(({ match }) => match)).toEqual(["/api/chat/*", "/jobs/**"]);
});
