import { callAdmin } from "./admin-call.ts";
import type { Context } from "./context.ts";
import { EXIT } from "./exit.ts";
import type { ExitCode } from "./exit.ts";
import { Output } from "./output.ts";
import type { Register } from "./register.ts";
import { renderTable } from "./table.ts";
import { ADMIN_URL_DEFAULT, adminUrl } from "./target.ts";
import { counted, paint, printable } from "./terminal.ts";

interface PoolCommandOptions {
  readonly adminUrl?: string;
  readonly json?: true;
}

/** As the admin listener tells it. */
interface Row {
  readonly origin: string;
  readonly circuit: string;
  readonly health: string;
  readonly http: string;
  readonly socketsMax: number;
  readonly sockets: Readonly<Record<string, number>>;
  readonly streamsNow: number;
  readonly waiting: number;
  readonly tenants: number;
}

export const register: Register = (command, context, done) => {
  command
    .option(
      "--admin-url <url>",
      `the gateway's admin listener (default: ${ADMIN_URL_DEFAULT}, env: SLUICE_ADMIN_URL)`,
    )
    .option("--json", "a JSON object a line, as it is without a terminal")
    .action(async (options: PoolCommandOptions) => done(await showPool(options, context)));
};

async function showPool(options: PoolCommandOptions, context: Context): Promise<ExitCode> {
  const { stdout, stderr } = context;
  const url = adminUrl(options.adminUrl, context);
  const response = await callAdmin({ url, method: "GET", path: "/pool" });
  const { origins } = (await response.json()) as { origins: Row[] };
  const output = new Output(stdout);
  if (!stdout.isTTY || options.json === true) {
    for (const row of origins) await output.write(`${JSON.stringify(row)}\n`, output.gone);
    return EXIT.ok;
  }
  await output.write(tableOf(origins, stdout), output.gone);
  stderr.write(`${counted(origins.length, "origin")}\n`);
  return EXIT.ok;
}

function tableOf(rows: readonly Row[], stdout: NodeJS.WriteStream): string {
  if (rows.length === 0) return "";
  const head = [
    "ORIGIN",
    "CIRCUIT",
    "HEALTH",
    "HTTP",
    "OPEN",
    "MAX",
    "LEASED",
    "IDLE",
    "STREAMS",
    "WAITING",
    "TENANTS",
  ];
  const cells = rows.map(({ sockets, ...row }) => {
    const { connecting = 0, leased = 0, idle = 0, draining = 0 } = sockets;
    const open = connecting + leased + idle + draining;
    const counts = [open, row.socketsMax, leased, idle, row.streamsNow, row.waiting, row.tenants];
    return [
      row.origin,
      row.circuit,
      row.health,
      row.http,
      ...counts.map((count) => count.toLocaleString("en")),
    ];
  });
  const lines = renderTable([head, ...cells.map((row) => row.map(printable))]);
  return [paint(stdout, "dim", lines[0] ?? ""), ...lines.slice(1), ""].join("\n");
}
