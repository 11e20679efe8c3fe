import { spawn } from "node:child_process";
import type { ChildProcess, StdioOptions } from "node:child_process";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

/** The built command; see `ensureBuilt`. */
export const MAIN = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
export const FREE_PORTS = ["--port", "0", "--admin-port", "0"];

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly folder?: string;
  /** Runs it as another user, which root may. */
  readonly uid?: number | undefined;
}

/** This process's environment without what would reach the command by accident. */
export function cleanEnv(env: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(SLUICE_|NODE_|VITEST|FORCE_COLOR|NO_COLOR)/.test(name),
  );
  return { ...Object.fromEntries(kept), ...env };
}

export function start(
  args: readonly string[],
  { env, folder = "/", uid }: RunOptions = {},
  stdio: StdioOptions = "pipe",
): ChildProcess {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: folder,
    env: cleanEnv(env),
    stdio,
    ...(uid !== undefined && { uid }),
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

/** Runs the command to its end. */
export async function sluice(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const child = start(args, options);
  child.stdin?.on("error", () => {});
  child.stdin?.end(options.input ?? "");
  return ended(child);
}

export async function ended(child: ChildProcess): Promise<Ran> {
  let [stdout, stderr] = ["", ""];
  child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, stdout, stderr };
}

/** Lines of a child's output, as they come. */
export class Lines {
  readonly all: string[] = [];
  #isEnded = false;
  #notify = (): void => {};

  constructor(stream: NodeJS.ReadableStream | null) {
    let rest = "";
    stream?.on("data", (chunk: Buffer) => {
      const parts = (rest + chunk.toString()).split("\n");
      rest = parts.pop() ?? "";
      this.all.push(...parts);
      this.#notify();
    });
    stream?.on("end", () => {
      this.#isEnded = true;
      this.#notify();
    });
  }

  /** Resolves with the first line that has `part`, from `from` on. */
  async until(part: string, from = 0): Promise<string> {
    for (let index = from; ; index += 1) {
      while (index >= this.all.length) {
        if (this.#isEnded) throw new Error(`no line has ${part}: ${this.all.join("\n")}`);
        await new Promise<void>((resolve) => (this.#notify = resolve));
      }
      const line = this.all[index] ?? "";
      if (line.includes(part)) return line;
    }
  }

  /** Resolves when `count` lines have come, with them. */
  async take(count: number): Promise<string[]> {
    while (this.all.length < count) {
      if (this.#isEnded) throw new Error(`ended after ${this.all.length} lines`);
      await new Promise<void>((resolve) => (this.#notify = resolve));
    }
    return this.all.slice(0, count);
  }
}

export interface Serving {
  readonly url: string;
  readonly adminUrl: string;
  readonly child: ChildProcess;
  readonly stdout: Lines;
  readonly stderr: Lines;
  readonly exited: Promise<number | null>;
}

/** `sluice serve` on free ports, listening. */
export async function serve(
  args: readonly string[] = [],
  options: RunOptions = {},
): Promise<Serving> {
  const child = start(["serve", ...FREE_PORTS, ...args], options);
  const exited = new Promise<number | null>((resolve) => child.once("close", resolve));
  const [stdout, stderr] = [new Lines(child.stdout), new Lines(child.stderr)];
  const listening = JSON.parse(await stdout.until('"listening"')) as Record<string, string>;
  const { url = "", adminUrl = "" } = listening;
  return { url, adminUrl, child, stdout, stderr, exited };
}

export interface AckingStream {
  /** All that it was sent. Rejects if it was cut instead of ended. */
  readonly text: Promise<string>;
}

/** A stream whose client acknowledges goodbye. It is open when this resolves. */
export async function openAcking(url: string): Promise<AckingStream> {
  const response = await fetch(`${url}/v1/topics/a`);
  const id = response.headers.get("sluice-connection") ?? "";
  const read = async (): Promise<string> => {
    let text = "";
    let hasAcked = false;
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += chunk;
      if (hasAcked || !text.includes("event: close")) continue;
      hasAcked = true;
      await fetch(`${url}/v1/connections/${id}/ack`, { method: "POST" });
    }
    return text;
  };
  return { text: read() };
}
