import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { root } from "../../scripts/support/run.ts";
import { configSchema } from "../../src/gateway/config/schema.ts";
import { GatewayProcess } from "../soak/gateway-process.ts";
import { ensureBuilt } from "../support/built.ts";
import { openRaw } from "../support/raw-stream.ts";
import type { RawStream } from "../support/raw-stream.ts";

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

test("law 13: the first minute of the proxy: two readers, one upstream request, and a resume", async () => {
  await ensureBuilt();
  const code = block("docs/proxy.md", "js", "createServer")
    .replace('listen(3000, () => console.log("origin on 3000"))', "listen(0, '127.0.0.1')")
    .replace("createServer((", "const server = createServer((")
    .replace("const server", "let requests = 0; const server")
    .replace("response.writeHead", "requests += 1; response.writeHead");
  const origin = spawn(
    process.execPath,
    [
      "--input-type=module",
      "-e",
      `${code}; server.once("listening", () => console.log(server.address().port)); process.on("SIGUSR2", () => console.log(requests));`,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  onTestFinished(() => void origin.kill("SIGKILL"));
  const said = createInterface({ input: origin.stdout })[Symbol.asyncIterator]();
  const port = String((await said.next()).value);
  const gateway = await GatewayProcess.start(`upstream: http://127.0.0.1:${port}\n`);
  onTestFinished(() => gateway.stop("SIGKILL"));
  const open = (headers: Record<string, string> = {}): RawStream =>
    openRaw({
      port: gateway.port,
      path: "/count",
      headers: { Accept: "text/event-stream", ...headers },
    });
  const [one, two] = [open(), open()];
  await one.until(() => one.events.length >= 2, "two counts");
  await two.until(() => two.events.length >= 2, "two counts");
  expect([one.data.slice(0, 2), two.data.slice(0, 2)]).toEqual([
    ["1", "2"],
    ["1", "2"],
  ]);
  const first = one.events[0]?.lastEventId ?? "";
  one.socket.destroy();
  const again = open({ "Last-Event-ID": first });
  await again.until(() => again.events.length >= 2, "what it missed");
  expect(again.data.slice(0, 2)).toEqual(["2", "3"]);
  origin.kill("SIGUSR2");
  expect((await said.next()).value).toBe("1");
});
