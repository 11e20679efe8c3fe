import { createServer } from "node:http";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { banner } from "../../src/cli/banner.ts";
import { listen } from "../../src/gateway/listen.ts";
import { folderWith, load } from "../config/support.ts";
import { ensureBuilt } from "../support/built.ts";
import { FREE_PORTS, serve, sluice } from "./support.ts";

beforeAll(ensureBuilt, 60_000);

async function startOrigin(): Promise<string> {
  const server = createServer((request, response) => {
    response.end(`${request.method} ${request.url}`);
  });
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return listen(server, "127.0.0.1", 0);
}

/** A port on which nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer();
  const url = await listen(server, "127.0.0.1", 0);
  await new Promise((resolve) => server.close(resolve));
  return Number(new URL(url).port);
}

test("the line at the start names the upstream, and an origin that answers is not warned of", async () => {
  const origin = await startOrigin();
  const { child, stdout, stderr, exited } = await serve(["--upstream", origin]);
  const listening = JSON.parse(stdout.all[0] ?? "") as Record<string, unknown>;
  expect(listening).toMatchObject({ msg: "listening", upstream: origin });
  child.kill("SIGTERM");
  expect(await exited).toBe(0);
  expect([...stdout.all, ...stderr.all].join("\n")).not.toContain("does not answer");
});

test("an upstream that does not answer is warned of, on both outputs, and it runs all the same", async () => {
  const upstream = `http://127.0.0.1:${await freePort()}`;
  const { url, stderr, stdout } = await serve(["--upstream", upstream]);
  const said = await stderr.until("does not answer");
  expect(said).toBe(
    `sluice: WARNING: the upstream ${upstream} does not answer (connect ECONNREFUSED ${upstream.slice(7)}): requests for it fail until it does`,
  );
  await stdout.until("does not answer");
  expect((await fetch(`${url}/v1/topics/a`, { method: "POST", body: "x" })).status).toBe(201);
});

test("P15 what is no origin is refused with exit code 78, and what was meant", async () => {
  const args = ["serve", ...FREE_PORTS, "--upstream", "localhost:3000"];
  const { code, stdout, stderr } = await sluice(args);
  expect([code, stdout]).toEqual([78, ""]);
  expect(stderr).toMatch(
    /^sluice: --upstream: upstream must be .*; the scheme is missing; did you mean "http:\/\/localhost:3000"\?\n/,
  );
});

test("P15 authorities that cannot be read are refused in one line", async () => {
  const folder = folderWith({});
  const file = join(folder, "ca.pem");
  const args = ["serve", ...FREE_PORTS, "--upstream", "https://app", "--pool-ca", file];
  const missing = await sluice(args);
  expect([missing.code, missing.stdout]).toEqual([78, ""]);
  expect(missing.stderr).toMatch(
    /^sluice: --pool-ca: pool\.ca is ".*", which cannot be read: there is no such file\n/,
  );
  writeFileSync(file, "garbage");
  expect((await sluice(args)).stderr).toMatch(/which has no certificate in PEM\n/);
});

test("the banner names what is proxied, and offers the playground only where it is served", () => {
  const facts = { version: "1", url: "http://127.0.0.1:1", adminUrl: "http://127.0.0.1:2" };
  const shown = (yaml: string): string =>
    banner(process.stdout, { ...facts, config: load({ yaml }).config });
  const whole = shown("upstream: http://app:3000");
  expect(whole).toMatch(
    /upstream\S* +http:\/\/app:3000, for every path that is not Sluice's own\n/,
  );
  expect(whole).not.toContain("playground");
  const some = shown("routes:\n  - { match: /chat/*, to: 'http://app' }");
  expect(some).toMatch(/routes\S* +1 rule; see sluice config print\n/);
  expect(some).toContain("playground");
});
