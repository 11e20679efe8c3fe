import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

interface Message {
  readonly id?: number;
  readonly event?: string;
  readonly value?: unknown;
  readonly error?: string;
  readonly port?: number;
  readonly besidePort?: number;
}

export interface TransportState {
  readonly drained: number;
  readonly closed: readonly string[];
  readonly writtenBytes: number;
  readonly pendingBytes: number;
  readonly isUndelayed: boolean;
}

export interface HubState {
  readonly mishaps: readonly string[];
  readonly subscribersNow: number;
  readonly lagged: number;
  readonly version: string;
}

/** The built package on some Node, in a process that does as it is told. */
export class Stand {
  /** Of the whole gateway. */
  port = 0;
  /** Of the gateway's handler beside the slow route and the bare transport. */
  besidePort = 0;
  readonly #child: ChildProcess;
  readonly #answers = new Map<number, (message: Message) => void>();
  readonly #events = new Map<string, () => void>();
  #asked = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on("message", (message: Message) => {
      if (message.id !== undefined) this.#answers.get(message.id)?.(message);
      if (message.event === "listening") {
        this.port = message.port ?? 0;
        this.besidePort = message.besidePort ?? 0;
      }
      if (message.event !== undefined) this.#events.get(message.event)?.();
    });
  }

  static async start(node: string): Promise<Stand> {
    const program = fileURLToPath(new URL("stand.mjs", import.meta.url));
    const child = fork(program, { execPath: node, execArgv: [] });
    const stand = new Stand(child);
    const exited = once(child, "exit").then(([code]) => {
      throw new Error(`the stand ended with ${String(code)}`);
    });
    await Promise.race([stand.event("listening"), exited]);
    exited.catch(() => {});
    return stand;
  }

  /** The next event of that name; ask before it can happen. */
  event(name: string): Promise<void> {
    return new Promise((resolve) => this.#events.set(name, resolve));
  }

  async ask<Value = unknown>(
    op: string,
    args: Readonly<Record<string, unknown>> = {},
  ): Promise<Value> {
    const id = (this.#asked += 1);
    const answer = new Promise<Message>((resolve) => this.#answers.set(id, resolve));
    this.#child.send({ ...args, id, op });
    const { value, error } = await answer;
    if (error !== undefined) throw new Error(error);
    return value as Value;
  }

  publish(topic: string, ...data: string[]): Promise<string[]> {
    return this.ask("publish", { topic, data });
  }

  hub(): Promise<HubState> {
    return this.ask("hub");
  }

  transport(): Promise<TransportState> {
    return this.ask("state");
  }

  /** Asks until it is so; each question takes the stand's loop round at least once. */
  async until<Value>(ask: () => Promise<Value>, isIt: (value: Value) => boolean): Promise<Value> {
    for (let asked = 0; asked < 20_000; asked += 1) {
      const value = await ask();
      if (isIt(value)) return value;
    }
    throw new Error(`it never came: ${JSON.stringify(await ask())}`);
  }

  async stop(): Promise<void> {
    const exited = once(this.#child, "exit");
    if (this.#child.exitCode !== null) return;
    this.#child.disconnect();
    await exited;
  }
}

/** Unlike every other topic of the run. */
export function freshTopic(): string {
  topics += 1;
  return `t${topics}`;
}
let topics = 0;

export const numbered = (from: number, to: number, length = 0): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => `${from + index} `.padEnd(length, "x"));
