import { createServer } from "node:http";
import { spawn } from "node:child_process";
import { stripVTControlCharacters } from "node:util";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { listen } from "../../src/gateway/listen.ts";
import { ensureBuilt } from "../support/built.ts";
import { describeWith, needs } from "../support/programs.ts";
import { MAIN, cleanEnv, ended, sluice } from "./support.ts";

beforeAll(ensureBuilt, 60_000);

const ORIGINS = [
  {
    origin: "http://app:3000",
    circuit: "closed",
    health: "healthy",
    http: "1.1",
    socketsMax: 128,
    sockets: { connecting: 1, idle: 2, leased: 3, draining: 0, dead: 9 },
    streamsNow: 3,
    waiting: 4,
    tenants: 2,
  },
  {
    origin: "https://api.example.com:443",
    circuit: "open",
    health: "unhealthy",
    http: "2",
    socketsMax: 128,
    sockets: { leased: 2 },
    streamsNow: 1_234,
    waiting: 0,
    tenants: 1,
  },
];

/** What answers as the admin listener does. */
async function startAdmin(origins: readonly object[]): Promise<string> {
  const server = createServer((request, response) => {
    const isPool = request.method === "GET" && request.url === "/pool";
    response.writeHead(isPool ? 200 : 404, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ origins }));
  });
  onTestFinished(() => void server.close());
  return listen(server, "127.0.0.1", 0);
}

test("piped, the pool is a JSON object a line, with --json too", async () => {
  const adminUrl = await startAdmin(ORIGINS);
  for (const args of [["pool"], ["pool", "--json"]]) {
    const { code, stdout, stderr } = await sluice([...args, "--admin-url", adminUrl]);
    expect([code, stderr]).toEqual([0, ""]);
    const lines = stdout.trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(ORIGINS);
  }
});

test("where nobody listens it says so, and how to mend it", async () => {
  const { code, stderr } = await sluice(["pool", "--admin-url", "http://127.0.0.1:9"]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^sluice: no admin listener answers at [^\n]+\n {2}hint: name the admin/);
});

describeWith({ script: needs("script") }, "on a terminal", ({ script }) => {
  test("there is a table, and how many origins there are", async () => {
    const adminUrl = await startAdmin(ORIGINS);
    const command = `exec "${process.execPath}" "${MAIN}" pool --admin-url ${adminUrl}`;
    const child = spawn(script, ["-qec", command, "/dev/null"], { env: cleanEnv(), cwd: "/" });
    onTestFinished(() => void child.kill("SIGKILL"));
    const { code, stdout } = await ended(child);
    const lines = stripVTControlCharacters(stdout).trimEnd().split("\r\n");
    expect(code).toBe(0);
    expect(lines.map((line) => line.split(/ {2,}/))).toEqual([
      "ORIGIN CIRCUIT HEALTH HTTP OPEN MAX LEASED IDLE STREAMS WAITING TENANTS".split(" "),
      "http://app:3000 closed healthy 1.1 6 128 3 2 3 4 2".split(" "),
      "https://api.example.com:443 open unhealthy 2 2 128 2 0 1,234 0 1".split(" "),
      ["2 origins"],
    ]);
  });
});
