import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** One line that a program printed; every program here prints JSON objects with a `msg`. */
export interface Line {
  readonly msg: string;
  readonly [key: string]: unknown;
}

export interface ProgramOptions {
  /** The cores that it may use, as taskset(1) names them. */
  readonly cores: string;
  /** Shown in errors. */
  readonly name: string;
  readonly cwd?: string;
  /** Gives way to the others on its core, as nice(1) says; 19 takes what they leave. @defaultValue 0 */
  readonly nice?: number;
  /** Node programs only: can be asked, see {@link Program.ask}. @defaultValue false */
  readonly hasChannel?: boolean;
}

const running = new Set<ChildProcess>();

/** For the end of the harness, however it comes: a server under test must not outlive it. */
export function killAll(): void {
  for (const child of running) child.kill("SIGKILL");
}

/** A child process on given cores that speaks JSON lines, and can be awaited line by line. */
export class Program {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #lines: Line[] = [];
  readonly #errors: string[] = [];
  #wake: () => void = () => {};
  #isOver = false;
  #exitCode: number | undefined;

  constructor(command: readonly string[], options: ProgramOptions) {
    this.name = options.name;
    const nice = options.nice === undefined ? [] : ["nice", "-n", String(options.nice)];
    this.#child = spawn("taskset", ["-c", options.cores, ...nice, ...command], {
      stdio: ["pipe", "pipe", "pipe", options.hasChannel === true ? "ipc" : "ignore"],
      cwd: options.cwd,
    });
    running.add(this.#child);
    // A program that is already gone needs no command.
    this.#child.stdin?.on("error", () => {});
    this.#read();
    this.#child.once("error", (error) => this.#end(error.message));
    this.#child.once("close", (code, signal) => {
      this.#exitCode = code ?? undefined;
      this.#end(`exit ${code ?? signal}`);
    });
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.name} did not start`);
    return this.#child.pid;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Undefined while it runs, and when a signal has ended it. */
  get exitCode(): number | undefined {
    return this.#exitCode;
  }

  /** One message to a program with a channel, and its answer. Rejects when the program goes away meanwhile. */
  async ask(message: string, timeoutMs: number): Promise<unknown> {
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, AbortSignal.timeout(timeoutMs)]);
    const answer = once(this.#child, "message", { signal });
    const stop = (): void => over.abort(new Error(`${this.name} has gone`));
    this.#child.once("disconnect", stop);
    if (!this.#child.connected) stop();
    // With a callback: without one a channel that closes just now would be an error of the child's.
    else this.#child.send(message, (error) => error && stop());
    try {
      const [said] = (await answer) as [unknown];
      return said;
    } finally {
      this.#child.off("disconnect", stop);
    }
  }

  /** Holds its first thread on one core from now on. Threads that it has already stay free. */
  pinMainThread(core: string): void {
    execFileSync("taskset", ["-pc", core, String(this.pid)], { stdio: "ignore" });
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Resolves when it is gone, true; or when the time is over, false. */
  async isGoneWithin(timeoutMs: number): Promise<boolean> {
    if (this.#isOver) return true;
    const gone = once(this.#child, "close", { signal: AbortSignal.timeout(timeoutMs) });
    return gone.then(
      () => true,
      () => this.#isOver,
    );
  }

  send(command: string): void {
    this.#child.stdin?.write(`${command}\n`);
  }

  /** The next line with this `msg`; others before it are dropped. Throws past the time limit. */
  async line(msg: string, timeoutMs: number): Promise<Line> {
    const until = performance.now() + timeoutMs;
    for (;;) {
      for (let line = this.#lines.shift(); line; line = this.#lines.shift()) {
        if (line.msg === msg) return line;
      }
      const left = until - performance.now();
      if (this.#isOver || left <= 0) {
        const why = this.#isOver ? "ended" : `was silent for ${timeoutMs} ms`;
        throw new Error(
          `${this.name} ${why} before "${msg}": ${this.#errors.slice(-5).join(" | ")}`,
        );
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Ends it: politely, then by force after `graceMs`. Resolves when it is gone. */
  async stop(graceMs = 3_000): Promise<void> {
    if (this.#isOver) return;
    const gone = once(this.#child, "close");
    this.#child.stdin?.end();
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), graceMs);
    await gone;
    clearTimeout(timer);
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  #read(): void {
    const { stdout, stderr } = this.#child;
    if (!stdout || !stderr) return;
    createInterface({ input: stdout }).on("line", (text) => {
      try {
        this.#lines.push(JSON.parse(text) as Line);
      } catch {
        this.#errors.push(text);
      }
      this.#wake();
    });
    createInterface({ input: stderr }).on("line", (text) => {
      // Bounded, so that a server that complains about each event does not fill the harness.
      if (this.#errors.length < 1_000) this.#errors.push(text);
    });
  }

  #end(why: string): void {
    this.#isOver = true;
    running.delete(this.#child);
    this.#errors.push(why);
    this.#wake();
  }
}
