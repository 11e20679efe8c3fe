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
    if (request.url === "/stream") {
      response.writeHead(200, { "Content-Type": "text/event-stream" }).write("data: 1\n\n");
    } else response.end(`${request.method} ${request.url}`);
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

test("what is not Sluice's own goes to the upstream, `/` too, and `sluice pool` and the metrics show it", async () => {
  const origin = await startOrigin();
  const { url, adminUrl } = await serve(["--upstream", origin]);
  const text = async (path: string, init?: RequestInit): Promise<string> =>
    (await fetch(`${url}${path}`, init)).text();
  expect(await text("/")).toBe("GET /");
  expect(await text("/v1/chat/completions?a=b", { method: "POST", body: "x" })).toBe(
    "POST /v1/chat/completions?a=b",
  );
  expect((await fetch(`${url}/v1/topics/a`, { method: "POST", body: "x" })).status).toBe(201);
  expect((await fetch(`${url}/v1/runs/none`)).status).toBe(404);
  const shown = await sluice(["pool"], { env: { SLUICE_ADMIN_URL: adminUrl } });
  expect([shown.code, shown.stderr]).toEqual([0, ""]);
  expect(JSON.parse(shown.stdout)).toMatchObject({
    origin,
    circuit: "closed",
    health: "unknown",
    http: "1.1",
    socketsMax: 128,
    waiting: 0,
  });
  const metrics = await (await fetch(`${adminUrl}/metrics`)).text();
  expect(metrics).toMatch(/^sluice_upstream_acquired_total 2$/m);
  expect(metrics).toMatch(/^sluice_upstream_sockets\{state="leased"\} 0$/m);
});

test("`sluice conns` shows readers of a run without its whole id, which is their secret", async () => {
  const origin = await startOrigin();
  const { url, adminUrl } = await serve(["--upstream", origin]);
  const asked = await fetch(`${url}/stream`, { method: "POST" });
  const run = asked.headers.get("sluice-run") ?? "";
  expect(run).toMatch(/^[\w-]{22}$/);
  const env = { SLUICE_ADMIN_URL: adminUrl };
  const listed = await sluice(["conns", "--tenant", "default"], { env });
  expect(JSON.parse(listed.stdout)).toMatchObject({
    tenant: "default (upstream)",
    topics: [`runs/${run.slice(0, 8)}`],
  });
  expect(listed.stdout).not.toContain(run);
  const byTopic = await sluice(["conns", "close", "--topic", `runs/${run}`], { env });
  expect(JSON.parse(byTopic.stdout)).toEqual({ closed: 1 });
  expect(await asked.text()).toContain(": close closed_by_operator\n");
});

test("routes of a file go where they say, and nothing else is proxied", async () => {
  const [one, other] = [await startOrigin(), await startOrigin()];
  const folder = folderWith({
    "sluice.config.yaml": `routes:\n  - { match: /a/*, to: "${one}" }\n  - { match: /b/**, to: "${other}" }\n`,
  });
  const { url, adminUrl } = await serve([], { folder });
  expect(await (await fetch(`${url}/a/x`)).text()).toBe("GET /a/x");
  expect(await (await fetch(`${url}/b/x/y`)).text()).toBe("GET /b/x/y");
  expect((await fetch(`${url}/a/x/y`)).status).toBe(404);
  // The playground is where it was.
  expect(await (await fetch(`${url}/`)).text()).toContain("<html");
  const pool = (await (await fetch(`${adminUrl}/pool`)).json()) as {
    origins: { origin: string }[];
  };
  expect(pool.origins.map(({ origin }) => origin)).toEqual([one, other]);
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
