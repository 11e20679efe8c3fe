import { SluiceClientError, publish } from "../client/index.ts";
import type { PublishReceipt, PublishRequestOptions } from "../client/index.ts";
import type { Context } from "./context.ts";
import { EXIT, UsageError } from "./exit.ts";
import type { ExitCode } from "./exit.ts";
import { lineBlocks, wholeInput } from "./lines.ts";
import { Output } from "./output.ts";
import type { Register } from "./register.ts";
import { URL_DEFAULT, targetUrl } from "./target.ts";
import { counted, paint } from "./terminal.ts";

interface PubOptions {
  readonly url?: string;
  readonly event?: string;
  readonly key?: string;
  readonly idempotencyKey?: string;
  readonly lines?: boolean;
  readonly ndjson?: boolean;
}

const EVENT_BYTES_MAX = 64 * 1024 * 1024;
const LINE_BYTES_MAX = 8 * 1024 * 1024;
const PROGRESS_MS = 200;

/** What every request of this command has in common. */
type Request = Omit<PublishRequestOptions, "data" | "type">;

export const register: Register = (command, context, done) => {
  command
    .argument("<topic>", "the topic, such as orders/eu")
    .argument("[data]", "the event's text; without it, standard input without its last line end")
    .option("--lines", "each line of standard input is an event")
    .option("--ndjson", "each line of standard input is a JSON value and an event, sent in batches")
    .option("--event <name>", "the event's name")
    .option("--key <key>", "the event's conflation key")
    .option("--idempotency-key <key>", "makes it safe to run the same command again")
    .option("--url <url>", `where Sluice is (default: ${URL_DEFAULT}, env: SLUICE_URL)`)
    .action(async (topic: string, data: string | undefined, options: PubOptions) =>
      done(await pub(topic, data, options, context)),
    );
};

/** Resolves when everything is in the log. */
async function pub(
  topic: string,
  data: string | undefined,
  options: PubOptions,
  context: Context,
): Promise<ExitCode> {
  const { event, key, idempotencyKey, lines = false, ndjson = false } = options;
  const isMany = lines || ndjson;
  if (lines && ndjson) throw new UsageError("--lines and --ndjson exclude each other");
  if (isMany && data !== undefined)
    throw new UsageError("--lines and --ndjson read standard input");
  if (isMany && idempotencyKey !== undefined) {
    throw new UsageError(
      "--idempotency-key is for one event; with many each request makes its own",
    );
  }
  const request: Request = {
    url: targetUrl(options.url, context),
    topic,
    event,
    key,
    idempotencyKey,
    attemptsMax: 3,
  };
  if (data === undefined && context.stdin.isTTY) {
    context.stderr.write("sluice: type what to publish, then Ctrl-D\n");
  }
  if (isMany) return publishMany(request, ndjson ? "ndjson" : "text", context);
  const whole = data ?? (await wholeInput(context.stdin, EVENT_BYTES_MAX));
  const receipt = await publish({ ...request, data: whole });
  context.stdout.write(receiptLine(receipt, topic, "text", context));
  return EXIT.ok;
}

async function publishMany(
  request: Request,
  type: "ndjson" | "text",
  context: Context,
): Promise<ExitCode> {
  const output = new Output(context.stdout);
  const progress = new Progress(context);
  for await (const { first, lines } of lineBlocks(context.stdin, LINE_BYTES_MAX)) {
    for (const [index, data] of (type === "text" ? lines : [joined(lines)]).entries()) {
      if (data.length === 0 && type === "ndjson") continue;
      const receipt = await publish({ ...request, type, data }).catch((error: unknown) => {
        throw atLine(error, first + index, type);
      });
      progress.add(receipt.count, data.length);
      // Whoever reads the ids may go; what is to be published is published all the same.
      if (context.stdout.isTTY) continue;
      await output.write(receiptLine(receipt, request.topic, type, context), NEVER);
    }
  }
  progress.finish();
  return EXIT.ok;
}

const NEVER = new AbortController().signal;

/** Lines as a body, blank ones left out; empty if there is nothing in them. */
function joined(lines: readonly Buffer[]): Buffer<ArrayBuffer> {
  const filled = lines.filter((line) => line.some((byte) => byte !== 0x20 && byte !== 0x09));
  return Buffer.concat(filled.flatMap((line) => [line, NEWLINE]));
}

const NEWLINE = Buffer.from("\n");

/** Says which lines of the input have been published. */
function atLine(error: unknown, line: number, type: "ndjson" | "text"): unknown {
  if (!(error instanceof SluiceClientError)) return error;
  const { code, message, problem, cause } = error;
  const before =
    line === 1 ? "nothing before it was published" : `lines 1 to ${line - 1} were published`;
  const place = type === "ndjson" ? `in the batch from line ${line}` : `at line ${line}`;
  // Without an answer nobody knows: the server may have had the request and not the time to say so.
  const now = code === "unreachable" ? `${place}, which may have been published` : place;
  return new SluiceClientError(code, `${message} (${now}; ${before})`, {
    cause,
    ...(problem !== undefined && { problem }),
  });
}

function receiptLine(
  receipt: PublishReceipt,
  topic: string,
  type: "ndjson" | "text",
  { stdout }: Context,
): string {
  const { id, first, count, durability, isDuplicate } = receipt;
  if (stdout.isTTY) {
    const note = isDuplicate ? ", a duplicate: published before" : "";
    return `${id} ${paint(stdout, "dim", `on ${topic} (${durability}${note})`)}\n`;
  }
  const place = type === "ndjson" ? { first, last: id, count } : { id };
  return `${JSON.stringify({ ...place, durability, ...(isDuplicate && { duplicate: true }) })}\n`;
}

/** How far it is, on a terminal; nothing elsewhere. */
class Progress {
  readonly #stream: NodeJS.WriteStream;
  readonly #startedAt = performance.now();
  #shownAt = 0;
  #events = 0;
  #bytes = 0;

  constructor({ stderr }: Context) {
    this.#stream = stderr;
  }

  add(events: number, bytes: number): void {
    this.#events += events;
    this.#bytes += bytes;
    const now = performance.now();
    if (!this.#stream.isTTY || now - this.#shownAt < PROGRESS_MS) return;
    this.#shownAt = now;
    this.#stream.write(`\r\u001b[K${this.#text()}`);
  }

  finish(): void {
    if (this.#stream.isTTY) this.#stream.write(`\r\u001b[K${this.#text()}\n`);
  }

  #text(): string {
    const seconds = Math.max((performance.now() - this.#startedAt) / 1_000, 0.001);
    const rate = Math.round(this.#events / seconds).toLocaleString("en");
    const mebibytes = (this.#bytes / 1024 / 1024).toFixed(1);
    return `published ${counted(this.#events, "event")}, ${mebibytes} MiB, ${rate}/s`;
  }
}
