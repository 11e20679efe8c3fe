import { Agent, request } from "node:http";
import type { Checker } from "../../src/testing/checker.ts";
import { Numbering } from "../../src/testing/history.ts";
import type { Dice } from "../../src/testing/random.ts";

export interface PublisherOptions {
  readonly name: string;
  readonly topic: string;
  readonly port: number;
  readonly checker: Checker;
  readonly dice: Dice;
  readonly count: number;
  /** Lines of a batch, at most; 1 for one event a request. */
  readonly linesMax: number;
  /** What is added to the data, in characters, at most. */
  readonly paddingMax: number;
}

interface Answer {
  readonly id?: string;
  readonly first?: string;
  readonly last?: string;
}

const ATTEMPTS_MAX = 200;

/** Publishes `count` numbered events, each until it is acknowledged; resolves with the last id. */
export async function publishAll(options: PublisherOptions): Promise<string> {
  const { name, topic, checker, dice, count, linesMax, paddingMax } = options;
  const numbering = new Numbering(name);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  let newest = "";
  try {
    while (numbering.n < count) {
      const from = numbering.n + 1;
      const lines: string[] = [];
      const wanted = Math.min(dice.integer(1, linesMax), count - numbering.n);
      while (lines.length < wanted) {
        lines.push(numbering.next({ x: "x".repeat(dice.integer(0, paddingMax)) }));
      }
      const startedAt = performance.now();
      const { id, first = id, last = id } = await publish(options, agent, lines, `${name}-${from}`);
      checker.add({
        type: "publish",
        publisher: name,
        topic,
        from,
        to: numbering.n,
        outcome: "ok",
        first,
        last,
        startedAt,
        endedAt: performance.now(),
      });
      newest = last ?? "";
    }
  } finally {
    agent.destroy();
  }
  return newest;
}

/** A cut leaves it open whether it was appended; the key makes the next attempt safe. */
async function publish(
  options: PublisherOptions,
  agent: Agent,
  lines: readonly string[],
  key: string,
): Promise<Answer> {
  const isBatch = options.linesMax > 1;
  const headers = {
    "Content-Type": isBatch ? "application/x-ndjson" : "application/json",
    "Idempotency-Key": key,
  };
  const path = `/v1/topics/${options.topic}`;
  let reason: unknown;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    try {
      const { status, text } = await post(options.port, path, headers, lines.join("\n"), agent);
      if (status !== 200 && status !== 201) throw new RefusedError(`${status}: ${text}`);
      return JSON.parse(text) as Answer;
    } catch (error) {
      if (error instanceof RefusedError) throw error;
      reason = error;
    }
  }
  throw new Error(`no answer in ${ATTEMPTS_MAX} attempts`, { cause: reason });
}

class RefusedError extends Error {}

function post(
  port: number,
  path: string,
  headers: Record<string, string>,
  body: string,
  agent: Agent,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({ port, host: "127.0.0.1", path, method: "POST", headers, agent });
    sent.once("error", reject);
    sent.once("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (piece: string) => (text += piece));
      response.once("error", reject);
      response.once("close", () => {
        if (response.complete) resolve({ status: response.statusCode ?? 0, text });
        else reject(new Error("the answer was cut"));
      });
    });
    sent.end(body);
  });
}
