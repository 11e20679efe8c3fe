import type { DrainProgress } from "../core/drain.ts";

/** Rewrites one line of a terminal. */
export class ProgressLine {
  readonly #stream: NodeJS.WritableStream;
  #isShown = false;

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream;
  }

  show(text: string): void {
    this.#isShown = true;
    // Back to the start, and nothing of a longer line before stays.
    this.#stream.write(`\r${text}\u001b[K`);
  }

  /** The line is free for others; the next `show` writes it again. */
  clear(): void {
    if (!this.#isShown) return;
    this.#isShown = false;
    this.#stream.write("\r\u001b[K");
  }
}

/** As people read it: `draining: 1,203 of 5,000 left, 18 s`. `after` follows behind a semicolon. */
export function describeProgress(progress: DrainProgress, after = ""): string {
  const { state, total, left, deadlineInMs } = progress;
  const seconds = `${Math.ceil(deadlineInMs / 1_000).toLocaleString("en")} s`;
  const what = state === "waiting" ? "waiting for load balancers" : "draining";
  const counts = `${left.toLocaleString("en")} of ${total.toLocaleString("en")} left`;
  return `${what}: ${counts}, ${seconds}${after === "" ? "" : `; ${after}`}`;
}

/** What became of all: `drained 5,000: 4,990 ack, 10 closed`. */
export function describeOutcome({ total, byHow }: Pick<DrainProgress, "total" | "byHow">): string {
  const parts = Object.entries(byHow)
    .filter(([, count]) => count > 0)
    .map(([how, count]) => `${count.toLocaleString("en")} ${how}`);
  return `drained ${total.toLocaleString("en")}${parts.length === 0 ? "" : `: ${parts.join(", ")}`}`;
}
