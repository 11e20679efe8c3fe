import { pino } from "pino";
import type { Logger } from "pino";

/** What may wait for a slow reader of the log, in bytes; beyond it lines are dropped and counted. */
const WAITING_BYTES_MAX = 1024 * 1024;

/**
 * Where log lines go. It never blocks and never throws: while nobody reads the pipe lines wait up to a
 * bound, then they are dropped, and the next reader is told how many (P24).
 */
export class LogSink {
  /** Called before each line: on a terminal another line may be in the way. */
  beforeLine: (() => void) | undefined = undefined;
  readonly #onDropped: () => void;
  readonly #stream: NodeJS.WritableStream & { readonly writableLength: number };
  #droppedUntold = 0;
  #isBroken = false;

  /** `onDropped` is called for each line that nobody will ever read. */
  constructor(
    stream: NodeJS.WritableStream & { readonly writableLength: number },
    onDropped: () => void,
  ) {
    this.#stream = stream;
    this.#onDropped = onDropped;
    stream.on("error", () => (this.#isBroken = true));
    stream.on("drain", () => this.#tellDropped());
  }

  write(line: string): boolean {
    if (this.#isBroken || this.#stream.writableLength > WAITING_BYTES_MAX) {
      this.#onDropped();
      this.#droppedUntold += 1;
      return false;
    }
    this.beforeLine?.();
    return this.#stream.write(line);
  }

  /** Resolves when everything has left, or nobody takes it within `limitMs`. */
  async flush(limitMs: number): Promise<void> {
    if (this.#isBroken || this.#stream.writableLength === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, limitMs);
      this.#stream.write("", () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #tellDropped(): void {
    if (this.#droppedUntold === 0) return;
    const fields = { level: "warn", time: new Date().toISOString(), count: this.#droppedUntold };
    this.#droppedUntold = 0;
    this.#stream.write(`${JSON.stringify({ ...fields, msg: "log lines were dropped" })}\n`);
  }
}

/** One JSON object a line; on a terminal, lines for people. */
export async function createLogger(
  level: string,
  sink: LogSink,
  isTerminal: boolean,
): Promise<Logger> {
  const options = {
    level,
    // The collector of the lines knows which process and machine they come from.
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  if (!isTerminal) return pino(options, sink);
  // Loaded only where it is used: it costs 20 ms.
  const { prettyFactory } = await import("pino-pretty");
  const prettify = prettyFactory({
    colorize: true,
    translateTime: "SYS:HH:MM:ss",
    singleLine: true,
  });
  return pino(options, { write: (line: string) => void sink.write(prettify(JSON.parse(line))) });
}
