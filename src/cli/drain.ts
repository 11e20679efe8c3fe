import { SluiceClientError } from "../client/index.ts";
import type { DrainProgress } from "../core/drain.ts";
import { callAdmin } from "./admin-call.ts";
import type { Context } from "./context.ts";
import { ProgressLine, describeOutcome, describeProgress } from "./drain-progress.ts";
import { EXIT } from "./exit.ts";
import type { ExitCode } from "./exit.ts";
import { lineBlocks } from "./lines.ts";
import type { Register } from "./register.ts";
import { ADMIN_URL_DEFAULT, adminUrl } from "./target.ts";

/** Longer than any line of progress, in bytes. */
const LINE_BYTES_MAX = 64 * 1024;

type Told = DrainProgress & { readonly isForced?: boolean };

export const register: Register = (command, context, done) => {
  command
    .option(
      "--admin-url <url>",
      `the gateway's admin listener (default: ${ADMIN_URL_DEFAULT}, env: SLUICE_ADMIN_URL)`,
    )
    .action(async (options: { adminUrl?: string }) =>
      done(await drain(adminUrl(options.adminUrl, context), context)),
    );
};

/**
 * Starts the drain, or finds it running, and shows it until its end: on a terminal one line that is
 * rewritten, otherwise a JSON object a line. 0 when all went in order, 75 when the deadline closed some.
 */
async function drain(url: string, { stdout, stderr }: Context): Promise<ExitCode> {
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort();
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  const line = stdout.isTTY ? new ProgressLine(stdout) : undefined;
  let last: Told | undefined;
  try {
    for await (const told of progressOf(url, interrupted.signal)) {
      last = told;
      if (line === undefined) stdout.write(`${JSON.stringify(told)}\n`);
      else line.show(describeProgress(told));
    }
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    line?.clear();
    stderr.write("sluice: no longer watching; the drain goes on\n");
    return EXIT.interrupted;
  } finally {
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
    line?.clear();
  }
  if (last?.isForced === undefined) {
    throw new SluiceClientError(
      "unreachable",
      "the gateway went before it said how the drain ended",
      {
        problem: { title: "unreachable", status: 0, hint: "its own exit code and log say so" },
      },
    );
  }
  if (line !== undefined) stdout.write(`${describeOutcome(last)}\n`);
  return last.isForced ? EXIT.forced : EXIT.ok;
}

async function* progressOf(url: string, signal: AbortSignal): AsyncGenerator<Told, void, void> {
  const query = new URLSearchParams({ wait: "1" });
  const { body } = await callAdmin({ url, method: "POST", path: "/drain", query, signal });
  if (body === null) return;
  const bytes = (async function* () {
    try {
      for await (const chunk of body) yield Buffer.from(chunk);
    } catch (error) {
      // The process may end before its last answer: what is missing then is told by what has come.
      if (signal.aborted) throw error;
    }
  })();
  for await (const { lines } of lineBlocks(bytes, LINE_BYTES_MAX)) {
    for (const text of lines) yield JSON.parse(text.toString()) as Told;
  }
}
