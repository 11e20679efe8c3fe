import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";

/** Only two hosts see each other, so every cable has the same addresses; see netns.ts. */
export const GATEWAY_IP = "10.0.0.1";
export const CLIENT_IP = "10.0.0.2";
export const PORT = 8080;

type Answer = { readonly id: number; readonly value?: unknown; readonly error?: string };

/**
 * A process in another network namespace that does what it is called for; its side is `serve`. Calls
 * go over a pipe, which no fault of the network touches.
 */
export class RemoteProcess {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #calls = 0;

  constructor(namespace: string, command: readonly string[], options: unknown) {
    const all = ["netns", "exec", namespace, ...command, JSON.stringify(options ?? {})];
    const env = { ...process.env, NODE_NO_WARNINGS: "1" };
    this.#child = spawn("ip", all, { stdio: ["ignore", "inherit", "inherit", "ipc"], env });
    this.#child.on("message", (answer: Answer) => {
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
    this.#child.once("exit", (code, signal) => {
      const error = `${command.join(" ")} has ended with ${code ?? signal}`;
      for (const [id, settle] of this.#waiting) settle({ id, error });
    });
  }

  /** Calls a function of the process, and resolves with what it returns. */
  async call<Result>(name: string, argument?: unknown): Promise<Result> {
    this.#calls += 1;
    const id = this.#calls;
    const answer = await new Promise<Answer>((resolve) => {
      this.#waiting.set(id, resolve);
      if (this.#child.connected) this.#child.send({ id, name, argument });
      else resolve({ id, error: `nobody is there to ${name}` });
    });
    this.#waiting.delete(id);
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.value as Result;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Kills it, and resolves when it has gone. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }
}

type Functions = Readonly<Record<string, (argument: never) => unknown>>;

/** The other side of `RemoteProcess`: answers calls until the test has gone. */
export function serve(functions: Functions): void {
  process.once("disconnect", () => process.exit());
  process.on("message", (message) => {
    const { id, name, argument } = message as { id: number; name: string; argument: never };
    void (async () => {
      try {
        process.send?.({ id, value: await functions[name]?.(argument) });
      } catch (error) {
        process.send?.({ id, error: (error as Error).stack ?? String(error) });
      }
    })();
  });
}

/** What the process was started with. */
export function remoteOptions(): unknown {
  return JSON.parse(process.argv[2] ?? "{}");
}
