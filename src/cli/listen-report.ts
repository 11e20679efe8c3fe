import type { LoadedConfig } from "../gateway/config/load.ts";
import type { ListenError } from "../gateway/listen.ts";

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there",
  EACCES: "ports below 1024 need a right that this user lacks; take a higher one",
  EADDRNOTAVAIL: "this machine has no such address",
  EAFNOSUPPORT: "this machine has no addresses of that kind; IPv6 may be switched off",
  ENOTFOUND: "the name has no address",
};

/** Which address cannot be listened on, why, and which command works: what was said, with another port. */
export function describeListenError(
  error: ListenError,
  { config, sources }: LoadedConfig,
  said: ReadonlyMap<string, readonly string[]>,
): string {
  const { code, host, port, message } = error;
  const isPublic = host === config.host && port === config.port;
  const reason = REASONS[code];
  const why = reason === undefined ? message : `${message} (${reason})`;
  if (code !== "EADDRINUSE")
    return `${why}\n  hint: see ${isPublic ? "--host and --port" : "--admin-host and --admin-port"}`;
  const flags = new Map(said);
  const isAdminDefault = sources.get("adminPort") === "default";
  // Unless it moves too, the admin listener is about to take that one.
  const isTaken = isPublic && !isAdminDefault && error.nextFreePort === config.adminPort;
  const free = isTaken ? 0 : (error.nextFreePort ?? 0);
  const flag = isPublic ? "--port" : "--admin-port";
  flags.set(flag, [`${flag} ${free}`]);
  // Where one gateway runs already its admin port is taken too. With 0 the command works the first time.
  if (isPublic && isAdminDefault) {
    flags.set("--admin-port", ["--admin-port 0"]);
  }
  const command = ["sluice serve", ...[...flags.values()].flat()].join(" ");
  return `${why}\n  hint: ${free === 0 ? "take any free port" : "the next free port"}: ${command}`;
}
