import type { LoadedConfig } from "../gateway/config/load.ts";
import type { ListenError } from "../gateway/listen.ts";

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there",
  EACCES: "ports below 1024 need a right that this user lacks; take a higher one",
  EADDRNOTAVAIL: "this machine has no such address",
  EAFNOSUPPORT: "this machine has no addresses of that kind; IPv6 may be switched off",
  ENOTFOUND: "the name has no address",
};

/** Which address cannot be listened on, why, and which flag mends it. */
export function describeListenError(error: ListenError, { config, sources }: LoadedConfig): string {
  const { code, host, port, message } = error;
  const isPublic = host === config.host && port === config.port;
  const reason = REASONS[code];
  const why = reason === undefined ? message : `${message} (${reason})`;
  if (code !== "EADDRINUSE")
    return `${why}; see ${isPublic ? "--host and --port" : "--admin-host and --admin-port"}`;
  const free = error.nextFreePort ?? 0;
  const flags = [`${isPublic ? "--port" : "--admin-port"} ${free}`];
  // The next free port may be the one that the admin listener is about to take, and where one gateway
  // runs already its admin port is taken too. With 0 the command works the first time.
  if (isPublic && sources.get("adminPort") === "default") flags.push("--admin-port 0");
  return `${why}; ${free === 0 ? "take any free port" : "the next free port"}: sluice serve ${flags.join(" ")}`;
}
