// Real proxies in front of a gateway, in the foreground, in a folder and on ports of their own. Their
// configuration is what examples/deploy/ has, but for addresses and what a test breaks on purpose.
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { run } from "../../src/cli/run.ts";
import type { Finding } from "../../src/cli/doctor/finding.ts";
import { needs } from "../support/programs.ts";

const DEPLOY = fileURLToPath(new URL("../../examples/deploy/", import.meta.url));
const STARTED_MS_MAX = 10_000;
/** After a reload the processes of before end their streams at last after this, in seconds. */
const RELOAD_S = 1;

export interface Origin {
  readonly url: string;
  readonly adminUrl: string;
}

export interface Proxy {
  readonly url: string;
  /** Reads the configuration again; the streams of before are cut after a second. */
  reload(): void;
}

export type Edit = (config: string) => string;

/** What a proxy needs to run, and how its configuration is made of an example. */
interface Kind {
  readonly name: string;
  readonly program: ReturnType<typeof needs>;
  readonly start: (binary: string, origin: Origin, edit?: Edit) => Promise<Proxy>;
}

export const PROXIES: readonly Kind[] = [
  { name: "nginx", program: needs("nginx"), start: startNginx },
  { name: "haproxy", program: needs("haproxy"), start: startHaproxy },
];

export async function startNginx(
  binary: string,
  origin: Origin,
  edit: Edit = (config) => config,
): Promise<Proxy> {
  const port = await freePort();
  const folder = newFolder();
  const site = replaced(readFileSync(`${DEPLOY}nginx.conf`, "utf8"), [
    ["server 127.0.0.1:8080;", `server ${hostOf(origin.url)};`],
    ["listen 80;", `listen 127.0.0.1:${port};`],
  ]);
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${folder}/${name};`)
    .join("\n");
  const config = `
daemon off;
${process.getuid?.() === 0 ? "user root;" : ""}
pid ${folder}/nginx.pid;
error_log stderr warn;
worker_processes 1;
worker_shutdown_timeout ${RELOAD_S}s;
events { worker_connections 1024; }
http {
access_log off;
${paths}
${edit(site)}
}`;
  writeFileSync(join(folder, "nginx.conf"), config);
  const args = ["-c", join(folder, "nginx.conf"), "-e", "stderr"];
  const child = await started(binary, args, port);
  return { url: `http://127.0.0.1:${port}`, reload: () => void child.kill("SIGHUP") };
}

export async function startHaproxy(
  binary: string,
  origin: Origin,
  edit: Edit = (config) => config,
): Promise<Proxy> {
  const port = await freePort();
  const folder = newFolder();
  const adminPort = new URL(origin.adminUrl).port;
  const config = replaced(readFileSync(`${DEPLOY}haproxy.cfg`, "utf8"), [
    [
      "server one 127.0.0.1:8080 check port 8081",
      `server one ${hostOf(origin.url)} check port ${adminPort}`,
    ],
    ["bind :80", `bind 127.0.0.1:${port}`],
    ["hard-stop-after 15m", `hard-stop-after ${RELOAD_S}s`],
    // A listening socket is handed to the next process: nobody is refused meanwhile.
    ["maxconn 40000", `maxconn 1000\n  stats socket ${folder}/socket expose-fd listeners`],
  ]);
  writeFileSync(join(folder, "haproxy.cfg"), edit(config));
  const args = ["-W", "-db", "-f", join(folder, "haproxy.cfg")];
  const child = await started(binary, args, port);
  return { url: `http://127.0.0.1:${port}`, reload: () => void child.kill("SIGUSR2") };
}

/** Replaces what must be there, each once: an example that changes breaks its tests. */
export function replaced(text: string, pairs: readonly (readonly [string, string])[]): string {
  let result = text;
  for (const [from, to] of pairs) {
    if (result.split(from).length !== 2) throw new Error(`not there once: ${from}`);
    result = result.replace(from, () => to);
  }
  return result;
}

export interface Diagnosis {
  readonly exitCode: number;
  readonly findings: readonly Finding[];
  /** What was found by `check`, or undefined. */
  readonly of: (check: string) => Finding | undefined;
}

/** Runs `sluice doctor` on the way to `url` in this process. */
export async function diagnose(url: string, ...args: string[]): Promise<Diagnosis> {
  let text = "";
  const stdout = new PassThrough().on("data", (bytes: Buffer) => (text += bytes.toString()));
  const context = {
    stdin: process.stdin,
    stdout: stdout as unknown as NodeJS.WriteStream,
    stderr: new PassThrough() as unknown as NodeJS.WriteStream,
    env: {},
    folder: "/",
  };
  const exitCode = await run(["doctor", url, "--json", "--no-machine", ...args], context);
  const lines = text.split("\n").slice(0, -1);
  const findings = lines.map((line) => JSON.parse(line) as Finding).filter(({ check }) => check);
  return { exitCode, findings, of: (name) => findings.find(({ check }) => check === name) };
}

async function started(
  binary: string,
  args: readonly string[],
  port: number,
): Promise<ChildProcess> {
  const child = spawn(binary, args, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (bytes: Buffer) => (said += bytes.toString()));
  const exited = new Promise<void>((resolve) => child.once("close", () => resolve()));
  onTestFinished(async () => {
    // Both end their workers on SIGTERM; what is left then is not ours to wait for.
    child.kill("SIGTERM");
    await Promise.race([exited, sleep(2_000)]);
    child.kill("SIGKILL");
  });
  const deadline = performance.now() + STARTED_MS_MAX;
  while (!(await isListening(port))) {
    if (child.exitCode !== null || performance.now() > deadline) {
      throw new Error(`${binary} did not start: ${said}`);
    }
    await sleep(20);
  }
  return child;
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "sluice-proxy-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function hostOf(url: string): string {
  return new URL(url).host;
}
