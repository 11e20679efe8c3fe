import { subscribe } from "../client/index.ts";
import type { ReceivedEvent, ReceivedItem, Reconnect } from "../client/index.ts";
import { nearest } from "../gateway/config/nearest.ts";
import { parseCursor } from "../wire/cursor.ts";
import type { Context } from "./context.ts";
import { EXIT, UsageError } from "./exit.ts";
import type { ExitCode } from "./exit.ts";
import { Output } from "./output.ts";
import type { Register } from "./register.ts";
import { URL_DEFAULT, targetUrl } from "./target.ts";
import { paint, printable } from "./terminal.ts";

interface SubOptions {
  readonly url?: string;
  readonly from?: string;
  readonly count?: string;
}

export const register: Register = (command, context, done) => {
  command
    .argument("<topic...>", "topics, and patterns such as 'orders/*' or 'orders/**'")
    .option("--from <place>", "earliest, latest, last:<n> or an event's id (default: latest)")
    .option("--count <n>", "end after so many events; `| head` ends it only at the next event")
    .option("--url <url>", `where Sluice is (default: ${URL_DEFAULT}, env: SLUICE_URL)`)
    .action(async (topics: string[], options: SubOptions) =>
      done(await sub(topics, options, context)),
    );
};

/** Resolves when the topics have ended, enough has come, or nobody reads any more. */
async function sub(
  topics: readonly string[],
  options: SubOptions,
  context: Context,
): Promise<ExitCode> {
  const { stdout, stderr } = context;
  const from = checkFrom(options.from ?? "latest");
  const countMax = checkCount(options.count);
  const output = new Output(stdout);
  const interrupted = new AbortController();
  const signal = AbortSignal.any([interrupted.signal, output.gone]);
  const interrupt = (): void => interrupted.abort();
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  let count = 0;
  try {
    for await (const item of subscribe({
      url: targetUrl(options.url, context),
      topics,
      from,
      signal,
      onReconnect: (reconnect) => void stderr.write(`sluice: ${printable(told(reconnect))}\n`),
    })) {
      if (item.type !== "event") {
        stderr.write(`${notice(item, context)}\n`);
        continue;
      }
      await output.write(stdout.isTTY ? pretty(item, context) : line(item), signal);
      count += 1;
      if (count === countMax) break;
    }
  } finally {
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  }
  // Whatever is still in the pipe is nobody's wish any more.
  if (interrupted.signal.aborted) process.exit(EXIT.ok);
  return EXIT.ok;
}

/** What a goodbye means, in words; nothing is lost by any of them. */
const GOODBYES: Readonly<Record<string, string>> = {
  pool_draining: "the gateway shuts down",
  max_age: "the gateway renews the connection",
  overloaded: "the gateway has no room now",
  closed_by_operator: "an operator closed the connection",
  internal_error: "the gateway made a mistake",
};

function told({ delayMs, reason, closing = "" }: Reconnect): string {
  const words = Object.hasOwn(GOODBYES, closing) ? `${GOODBYES[closing]} (${closing})` : reason;
  return `${words}; next attempt in ${(delayMs / 1_000).toFixed(1)} s`;
}

function line({ id, topic, event, data }: ReceivedEvent): string {
  return `${JSON.stringify({ id, topic, event, data })}\n`;
}

function pretty({ id, topic, event, data }: ReceivedEvent, { stdout }: Context): string {
  const name = event === "message" ? "" : ` ${paint(stdout, "yellow", printable(event))}`;
  const head = `${paint(stdout, "dim", printable(id))} ${paint(stdout, "cyan", printable(topic))}`;
  const text = printable(data);
  return `${head}${name}${text.includes("\n") ? "\n" : " "}${text}\n`;
}

/** Loud, because something was lost or is over. */
function notice(item: Exclude<ReceivedItem, ReceivedEvent>, { stderr }: Context): string {
  if (item.type === "end") {
    return `sluice: the topic ${printable(item.topic)} has ended (${printable(item.reason)})`;
  }
  const { reason, from, to, topics } = item;
  const where = topics === undefined ? "" : ` on ${topics.join(", ")}`;
  const text = `GAP (${reason})${where}: events after ${from ?? "the cursor"} up to ${to} cannot be delivered`;
  return `sluice: ${paint(stderr, ["bold", "red"], printable(text))}`;
}

function checkFrom(from: string): string {
  const words = ["earliest", "latest"];
  if (words.includes(from) || /^last:[0-9]{1,9}$/.test(from) || parseCursor(from)) return from;
  const meant = nearest(from, words);
  const rest = meant === undefined ? "" : `; did you mean "${meant}"?`;
  throw new UsageError(`--from is earliest, latest, last:<n> or an event's id${rest}`);
}

function checkCount(count: string | undefined): number {
  if (count === undefined) return Number.POSITIVE_INFINITY;
  if (/^[1-9][0-9]{0,14}$/.test(count)) return Number(count);
  throw new UsageError("--count is a whole number from 1");
}
