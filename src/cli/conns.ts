import type { Command } from "commander";
import { callAdmin } from "./admin-call.ts";
import type { Context } from "./context.ts";
import { EXIT, UsageError } from "./exit.ts";
import type { ExitCode } from "./exit.ts";
import { Output } from "./output.ts";
import type { Register } from "./register.ts";
import { renderTable } from "./table.ts";
import { ADMIN_URL_DEFAULT, adminUrl } from "./target.ts";
import { counted, paint, printable, roundedBytes, roundedDuration } from "./terminal.ts";

interface ConnsOptions {
  readonly adminUrl?: string;
  readonly tenant?: string;
  readonly topic?: string;
  readonly state?: string;
  readonly ip?: string;
  readonly longerThan?: string;
  readonly limit?: string;
  readonly all?: true;
}

/** As the admin listener tells it. */
interface Row {
  readonly id: string;
  readonly peer: string;
  readonly tenant: string;
  readonly topics: readonly string[];
  readonly topicsCount: number;
  readonly state: string;
  readonly ageMs: number;
  readonly events: number;
  readonly bytes: number;
  readonly pendingBytes: number;
  readonly lag: number;
  readonly heartbeat: string;
}

const PATH = "/admin/connections";

export const register: Register = (command, context, done) => {
  command.helpCommand(false);
  const list = addFilters(command.command("list", { isDefault: true }))
    .description("Print the connections: a table on a terminal, otherwise a JSON object a line")
    .option("--limit <count>", "how many at most (default: 100)")
    .action(async () => done(await listConnections(list.opts(), context)));
  const close = addFilters(command.command("close"))
    .description("Say goodbye to the connections named, or to those that the options mean")
    .argument("[id...]", "ids as the list has them")
    .option("--all", "every connection")
    .configureOutput({ outputError: (text, write) => write(withIdHint(text)) })
    .action(async (ids: string[]) => done(await closeConnections(ids, close.opts(), context)));
};

/** Ids are base64url, so that one in 64 begins as an option does. */
function withIdHint(text: string): string {
  const [, id] = /unknown option '(-[\w-]{7})'/.exec(text) ?? [];
  if (id === undefined) return text;
  const hint = `an id that begins with a dash goes behind two: sluice conns close -- ${id}`;
  return `${text.split("\n", 1)[0]}\n  hint: ${hint}\n`;
}

function addFilters(command: Command): Command {
  return command
    .option(
      "--admin-url <url>",
      `the gateway's admin listener (default: ${ADMIN_URL_DEFAULT}, env: SLUICE_ADMIN_URL)`,
    )
    .option("--tenant <name>", "those of this tenant")
    .option("--topic <topic>", "those that follow this topic, by name or by pattern")
    .option("--state <state>", "those that are reading, live or draining")
    .option("--ip <address>", "those from this address")
    .option("--longer-than <duration>", "those that have been open for longer, such as 90s or 5m");
}

async function listConnections(options: ConnsOptions, context: Context): Promise<ExitCode> {
  const { stdout, stderr } = context;
  const query = queryOf(options);
  if (options.limit !== undefined) query.set("limit", options.limit);
  const url = adminUrl(options.adminUrl, context);
  const response = await callAdmin({ url, method: "GET", path: PATH, query });
  const { total, connections } = (await response.json()) as { total: number; connections: Row[] };
  const output = new Output(stdout);
  if (stdout.isTTY) await output.write(tableOf(connections, stdout), output.gone);
  else for (const row of connections) await output.write(`${JSON.stringify(row)}\n`, output.gone);
  // Not in the data: who counts the lines must not count this one.
  if (stdout.isTTY || total > connections.length) {
    const more = total > connections.length ? `; ${connections.length} are shown, see --limit` : "";
    stderr.write(`${counted(total, "connection")}${more}\n`);
  }
  return EXIT.ok;
}

async function closeConnections(
  ids: readonly string[],
  options: ConnsOptions,
  context: Context,
): Promise<ExitCode> {
  const url = adminUrl(options.adminUrl, context);
  const query = queryOf(options);
  if (options.all === true) query.set("all", "1");
  const hasFilter = query.size > 0;
  if (ids.length === 0 && !hasFilter) {
    throw new UsageError("name connections by id or by an option, or --all for every one of them");
  }
  if (ids.length > 0 && hasFilter) throw new UsageError("name ids or options, not both");
  const paths = ids.length === 0 ? [PATH] : ids.map((id) => `${PATH}/${encodeURIComponent(id)}`);
  let closed = 0;
  for (const path of paths) {
    const response = await callAdmin({ url, method: "DELETE", path, query });
    closed += ((await response.json()) as { closed: number }).closed;
  }
  const { stdout } = context;
  stdout.write(
    stdout.isTTY ? `closed ${counted(closed, "connection")}\n` : `${JSON.stringify({ closed })}\n`,
  );
  return EXIT.ok;
}

function queryOf({ tenant, topic, state, ip, longerThan }: ConnsOptions): URLSearchParams {
  const said = { tenant, topic, state, ip, longer_than: longerThan };
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(said)) if (value !== undefined) query.set(name, value);
  return query;
}

function tableOf(rows: readonly Row[], stdout: NodeJS.WriteStream): string {
  if (rows.length === 0) return "";
  const head = [
    "ID",
    "PEER",
    "TENANT",
    "STATE",
    "AGE",
    "EVENTS",
    "BYTES",
    "PENDING",
    "LAG",
    "TOPICS",
  ];
  const cells = rows.map((row) => [
    row.id,
    row.peer,
    row.tenant,
    row.state,
    roundedDuration(row.ageMs),
    row.events.toLocaleString("en"),
    roundedBytes(row.bytes),
    roundedBytes(row.pendingBytes),
    row.lag.toLocaleString("en"),
    topicsOf(row),
  ]);
  const lines = renderTable([head, ...cells.map((row) => row.map(printable))]);
  return [paint(stdout, "dim", lines[0] ?? ""), ...lines.slice(1), ""].join("\n");
}

function topicsOf({ topics, topicsCount }: Row): string {
  const shown = topics.slice(0, 3).join(" ");
  return topicsCount > 3 ? `${shown} and ${topicsCount - 3} more` : shown;
}
