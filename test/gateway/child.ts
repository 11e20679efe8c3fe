import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import type { GatewayOptions } from "../../src/gateway/gateway.ts";

const SCRIPT = fileURLToPath(new URL("gateway-child.ts", import.meta.url));

export interface GatewayChild {
  readonly url: string;
  readonly adminUrl: string;
  readonly port: number;
  readonly child: ChildProcess;
  /** See gateway-child.ts; resolves when it is done. */
  command(line: string): Promise<void>;
  /** The sum of a metric over its labels, or of the one label. */
  metric(name: string, label?: string): Promise<number>;
  kill(): Promise<void>;
}

/** A gateway in a process of its own. `shell` is run first, in the same process: `ulimit -n 256`. */
export async function startChild(
  options: GatewayOptions & { port?: number } = {},
  shell = "true",
): Promise<GatewayChild> {
  const child = spawn(
    "/bin/sh",
    [
      "-c",
      `${shell} && exec "$0" "$@"`,
      process.execPath,
      "--expose-gc",
      SCRIPT,
      JSON.stringify(options),
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  };
  onTestFinished(kill);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<Record<string, string>> => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error(`the gateway has ended: ${child.exitCode}`);
    return JSON.parse(value) as Record<string, string>;
  };
  const { url = "", adminUrl = "" } = await next();
  return {
    url,
    adminUrl,
    child,
    port: Number(new URL(url).port),
    kill,
    async command(line) {
      child.stdin.write(`${line}\n`);
      await next();
    },
    async metric(name, label) {
      const text = await (await fetch(`${adminUrl}/metrics`)).text();
      return text
        .split("\n")
        .filter((line) => new RegExp(`^${name}[{ ]`).test(line))
        .filter((line) => label === undefined || line.includes(`"${label}"`))
        .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
    },
  };
}
