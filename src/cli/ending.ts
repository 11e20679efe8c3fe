import { EXIT } from "./exit.ts";
import type { ExitCode } from "./exit.ts";

/** Signals so close together are one, in milliseconds. */
const SAME_SIGNAL_MS = 300;

/** Why the process is to end. */
export type Ending =
  | { readonly kind: "signal"; readonly signal: NodeJS.Signals }
  /** What nobody caught: the state is unknown by now. */
  | { readonly kind: "error"; readonly origin: string };

export interface EndOfProcess {
  /** Resolves with the first signal or uncaught error. Later errors are told, and change nothing. */
  readonly first: Promise<Ending>;
  /** Resolves with the next signal, and the exit code that it means. */
  readonly second: Promise<ExitCode>;
}

/**
 * Listens for signals and for errors that nobody caught. A signal that comes with the first one is the
 * same: Ctrl-C under `npm start` arrives twice, from the terminal and from npm. After the second one a
 * third ends the process without a word.
 */
export function endOfProcess(onError: (error: unknown, origin: string) => void): EndOfProcess {
  const first = Promise.withResolvers<Ending>();
  const second = Promise.withResolvers<ExitCode>();
  let [firstAt, secondAt]: (number | undefined)[] = [];
  const onSignal = (signal: NodeJS.Signals): void => {
    const now = performance.now();
    const exitCode = signal === "SIGINT" ? EXIT.interrupted : EXIT.ok;
    if (firstAt === undefined) {
      firstAt = now;
      first.resolve({ kind: "signal", signal });
    } else if (secondAt !== undefined) {
      if (now - secondAt >= SAME_SIGNAL_MS) process.exit(exitCode);
    } else if (now - firstAt >= SAME_SIGNAL_MS) {
      secondAt = now;
      second.resolve(exitCode);
    }
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  // Rejections that nobody handles come here too.
  process.on("uncaughtException", (error, origin) => {
    onError(error, origin);
    first.resolve({ kind: "error", origin });
  });
  return { first: first.promise, second: second.promise };
}
