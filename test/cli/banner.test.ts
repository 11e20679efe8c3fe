import { ensureBuilt } from "../support/built.ts";
import { execFile, spawn } from "node:child_process";
import { promisify, stripVTControlCharacters } from "node:util";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { banner } from "../../src/cli/banner.ts";
import { load } from "../config/support.ts";
import { startWorld } from "../gateway/support.ts";
import { describeWith, needs } from "../support/programs.ts";
import { MAIN, Lines, cleanEnv } from "./support.ts";

beforeAll(ensureBuilt, 60_000);

describeWith({ curl: needs("curl"), sh: needs("sh") }, "the banner's curl lines", ({ sh }) => {
  test("publish and read what was published, when pasted in that order", async () => {
    const { url, adminUrl } = await startWorld();
    const { config } = load({});
    const text = banner(process.stdout, { version: "1.2.3", url, adminUrl, config });
    const [publish, read] = stripVTControlCharacters(text)
      .split("\n")
      .filter((line) => line.trim().startsWith("curl"));
    const published = await promisify(execFile)(sh, ["-c", publish ?? ""]);
    const { id } = JSON.parse(published.stdout) as { id: string };
    const child = spawn(sh, ["-c", `exec ${read}`]);
    onTestFinished(() => void child.kill());
    const lines = new Lines(child.stdout);
    await lines.until(`id: ${id}`, lines.all.indexOf(await lines.until("data: hello")));
  });
});

test("the playground is only offered where it is served", () => {
  const { config } = load({});
  const facts = { version: "1", url: "http://127.0.0.1:1", adminUrl: "http://127.0.0.1:2" };
  expect(banner(process.stdout, { ...facts, config })).toContain("playground");
  const insecure = load({ flags: { host: "0.0.0.0", insecure: true } }).config;
  expect(banner(process.stdout, { ...facts, config: insecure })).not.toContain("playground");
});

describeWith({ script: needs("script") }, "on a terminal", ({ script }) => {
  test("there is the banner instead of the JSON line, and Ctrl-C ends it with exit code 0", async () => {
    // Without `exec` a shell that waits (dash) gets the Ctrl-C too, and its 130 would be the exit code.
    const command = `exec "${process.execPath}" "${MAIN}" serve --port 0 --admin-port 0`;
    const child = spawn(script, ["-qec", command, "/dev/null"], { env: cleanEnv(), cwd: "/" });
    const lines = new Lines(child.stdout);
    await lines.until("curl -N");
    await lines.until("Ctrl-C stops");
    expect(lines.all.join("\n")).not.toContain('"listening"');
    const exited = new Promise((resolve) => child.once("close", resolve));
    child.stdin.write("\u0003");
    expect(await exited).toBe(0);
  });
});
