import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { EventSource } from "eventsource";
import { createParser } from "eventsource-parser";
import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { cleanEnv, Lines, serve } from "../cli/support.ts";
import type { Serving } from "../cli/support.ts";
import { ensureBuilt } from "../support/built.ts";
import { describeWith, needs } from "../support/programs.ts";

const READERS = 5;
const BETTER_SSE = new URL("origins/better-sse.ts", import.meta.url);
const FASTIFY = new URL("origins/fastify.ts", import.meta.url);
const PYTHON = new URL("origins/origin.py", import.meta.url);
const WAIT = { timeout: 15_000, interval: 20 };

beforeAll(ensureBuilt, 60_000);

/** A program of its own that serves events, which the test kills and starts again on the same port. */
class OriginProcess {
  readonly #command: readonly string[];
  /** Since when events happen, whether or not it runs; a past so that no number is 0. */
  readonly #env = cleanEnv({ BEGAN_AT: String(Date.now() - 60_000) });
  #child: ChildProcess | undefined;
  #lines = new Lines(null);
  port = 0;

  constructor(...command: string[]) {
    this.#command = command;
    onTestFinished(() => void this.#child?.kill("SIGKILL"));
  }

  /** It listens when this resolves. */
  async start(): Promise<this> {
    const [program = "", ...args] = this.#command;
    const child = spawn(program, [...args, String(this.port)], {
      stdio: ["ignore", "pipe", "inherit"],
      env: this.#env,
    });
    this.#child = child;
    this.#lines = new Lines(child.stdout);
    this.port = Number((await this.#lines.until("port ")).slice("port ".length));
    return this;
  }

  /** The requests since it was started last: where each of them continues. */
  get requests(): string[] {
    return this.#lines.all
      .filter((line) => line.startsWith("request "))
      .map((line) => line.split(" ")[2] ?? "");
  }

  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = this.#child as ChildProcess;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }
}

/** What a reader saw, in order: numbers of events, and "gap" where it was told one. */
interface Reader {
  readonly seen: (number | "gap")[];
  /** Times that it had to connect. */
  opened: number;
  lost: number;
}

function readWithEventSource(url: string): Reader {
  const reader: Reader = { seen: [], opened: 0, lost: 0 };
  const source = new EventSource(url);
  onTestFinished(() => source.close());
  source.addEventListener("open", () => (reader.opened += 1));
  source.addEventListener("error", () => (reader.lost += 1));
  source.addEventListener("message", ({ data }) => reader.seen.push(Number(data)));
  return reader;
}

async function readWithFetch(url: string): Promise<Reader> {
  const leave = new AbortController();
  onTestFinished(() => leave.abort());
  const headers = { accept: "text/event-stream" };
  const response = await fetch(url, { headers, signal: leave.signal });
  const reader: Reader = { seen: [], opened: 1, lost: 0 };
  const parser = createParser({
    onEvent: ({ data }) => reader.seen.push(Number(data)),
    onComment: (comment) => {
      if (comment.startsWith("gap ")) reader.seen.push("gap");
    },
  });
  const read = async (): Promise<void> => {
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) {
      parser.feed(decoder.decode(chunk, { stream: true }));
    }
  };
  void read()
    .catch(() => {})
    .then(() => (reader.lost += 1));
  return reader;
}

interface Stand {
  readonly origin: OriginProcess;
  readonly serving: Serving;
  readonly sources: readonly Reader[];
  readonly fetches: readonly Reader[];
  readonly all: readonly Reader[];
  /** Resolves when every reader has got `count` events more than now. */
  more(count: number): Promise<void>;
  /** The connections of the gateway, as its operator sees them. */
  connections(): Promise<string[]>;
}

async function stand(path: string, ...command: string[]): Promise<Stand> {
  const origin = await new OriginProcess(...command).start();
  const serving = await serve(["--upstream", `http://127.0.0.1:${origin.port}`]);
  const url = `${serving.url}${path}`;
  const sources = Array.from({ length: READERS }, () => readWithEventSource(url));
  const fetches = await Promise.all(Array.from({ length: READERS }, () => readWithFetch(url)));
  const all = [...sources, ...fetches];
  return {
    origin,
    serving,
    sources,
    fetches,
    all,
    async more(count) {
      const wanted = all.map(({ seen }) => seen.length + count);
      await vi.waitFor(
        () => expect(all.every(({ seen }, at) => seen.length >= (wanted[at] ?? 0))).toBe(true),
        WAIT,
      );
    },
    async connections() {
      const answer = await fetch(`${serving.adminUrl}/admin/connections`);
      const { connections } = (await answer.json()) as { connections: { id: string }[] };
      return connections.map(({ id }) => id).toSorted();
    },
  };
}

const numbersFrom = (first: number, count: number): number[] =>
  Array.from({ length: count }, (_, at) => first + at);

/** What was seen between gaps. */
function runsOf({ seen }: Reader): number[][] {
  const runs: number[][] = [[]];
  for (const entry of seen) {
    if (entry === "gap") runs.push([]);
    else runs.at(-1)?.push(entry);
  }
  return runs;
}

function expectAttached({ all }: Stand): void {
  expect(all.map(({ opened, lost }) => [opened, lost])).toEqual(all.map(() => [1, 0]));
}

/** Two restarts of an origin that resumes, one without a warning: every reader has every event once. */
async function restartsUnnoticed(path: string, ...command: string[]): Promise<void> {
  const its = await stand(path, ...command);
  const { origin } = its;
  await its.more(25);
  expect(origin.requests).toEqual(["-"]);
  const connections = await its.connections();
  expect(connections).toHaveLength(2 * READERS);
  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    await origin.end(signal);
    const before = Math.max(...its.all.flatMap(({ seen }) => seen as number[]));
    await origin.start();
    await its.more(50);
    // One request, which begins behind the last event that came: law 13, law 18.
    expect(origin.requests).toHaveLength(1);
    expect(Number(origin.requests[0])).toBeGreaterThanOrEqual(before);
  }
  expectAttached(its);
  expect(await its.connections()).toEqual(connections);
  const first = its.all[0]?.seen[0] as number;
  for (const { seen } of its.all) expect(seen).toEqual(numbersFrom(first, seen.length));
}

/** An origin that is killed and cannot resume: nothing twice, and what is missing is told where it is missing. */
async function restartsWithGap(path: string, ...command: string[]): Promise<void> {
  const its = await stand(path, ...command);
  const { origin } = its;
  await its.more(25);
  const connections = await its.connections();
  for (const restart of [1, 2]) {
    await origin.end("SIGKILL");
    await origin.start();
    await vi.waitFor(() => {
      for (const reader of its.fetches) expect(runsOf(reader)).toHaveLength(restart + 1);
    }, WAIT);
    await its.more(25);
    expect(origin.requests).toEqual(["-"]);
  }
  expectAttached(its);
  expect(await its.connections()).toEqual(connections);
  for (const reader of its.fetches) {
    const runs = runsOf(reader);
    expect(runs).toHaveLength(3);
    let last = 0;
    for (const run of runs) {
      const [first = 0] = run;
      expect(first).toBeGreaterThan(last);
      expect(run).toEqual(numbersFrom(first, run.length));
      last = run.at(-1) ?? 0;
    }
  }
  // EventSource shows no comments, and has the same events.
  const whole = runsOf(its.fetches.at(0) as Reader).flat();
  for (const { seen } of its.sources) {
    const count = Math.min(seen.length, whole.length);
    expect(seen.slice(0, count)).toEqual(whole.slice(0, count));
  }
}

describe("better-sse", () => {
  const command = [process.execPath, fileURLToPath(BETTER_SSE)];

  test("U03 law 18: it is killed, then stopped, and started again: readers stay, and miss and double nothing", async () => {
    await restartsUnnoticed("/ids", ...command);
  });

  test("U03: the ids that it makes itself say nothing to it: readers stay, and nothing comes twice", async () => {
    const its = await stand("/random-ids", ...command);
    await its.more(25);
    await its.origin.end("SIGKILL");
    await its.origin.start();
    await its.more(50);
    expectAttached(its);
    // It was asked to go on behind an id of its own, and nobody can tell that it did not.
    expect(its.origin.requests).toEqual([expect.stringMatching(/^[\w-]{36}$/)]);
    for (const { seen } of its.all) {
      expect(seen).toEqual([...new Set(seen as number[])].toSorted((a, b) => a - b));
    }
  });
});

describe("@fastify/sse", () => {
  const command = [process.execPath, fileURLToPath(FASTIFY)];

  test("U03 law 18: it is killed, then stopped, and started again: readers stay, and miss and double nothing", async () => {
    await restartsUnnoticed("/ids", ...command);
  });

  test("U03: without ids it begins anew, and readers that stay are told the gap", async () => {
    await restartsWithGap("/no-ids", ...command);
  });
});

describeWith({ python: needs("python3") }, "Python's standard library", ({ python }) => {
  test("U03 law 18: it is killed, then stopped, and started again: readers stay, and miss and double nothing", async () => {
    await restartsUnnoticed("/ids", python, fileURLToPath(PYTHON));
  });

  test("U03: without ids it begins anew, and readers that stay are told the gap", async () => {
    await restartsWithGap("/no-ids", python, fileURLToPath(PYTHON));
  });
});
