import { spawn } from "node:child_process";
import { delimiter } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository, with a trailing slash. */
export const root = fileURLToPath(new URL("../..", import.meta.url));

const bin = `${root}node_modules/.bin`;

/** What a command answered. `output` is empty when it went to the terminal. */
export interface Ran {
  readonly isOk: boolean;
  readonly exit: string;
  readonly output: string;
}

/**
 * Runs a command in the repository, the tools of node_modules first (so that `node` is the
 * repository's own), and resolves when it has ended. Never rejects.
 */
export function run(
  command: readonly string[],
  options: { readonly isQuiet?: boolean; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Ran> {
  const [program = "", ...args] = command;
  const isQuiet = options.isQuiet === true;
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: root,
      stdio: isQuiet ? ["ignore", "pipe", "pipe"] : ["ignore", "inherit", "inherit"],
      env: {
        ...process.env,
        PATH: `${bin}${delimiter}${process.env["PATH"] ?? ""}`,
        ...options.env,
      },
    });
    const chunks: Buffer[] = [];
    child.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.stderr?.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.on("error", (error) => {
      resolve({ isOk: false, exit: error.message, output: Buffer.concat(chunks).toString() });
    });
    child.on("close", (code, signal) => {
      resolve({
        isOk: code === 0,
        exit: signal === null ? `exit code ${code}` : signal,
        output: Buffer.concat(chunks).toString(),
      });
    });
  });
}

/** Seconds since `startedAt` (milliseconds of `performance.now()`), as people read them. */
export function seconds(startedAt: number): string {
  return `${((performance.now() - startedAt) / 1000).toFixed(1)} s`;
}
