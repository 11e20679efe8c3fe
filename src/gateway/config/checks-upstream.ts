import type { Conflict } from "./conflict.ts";
import { isLoopbackHost } from "./host.ts";
import type { Config } from "./schema.ts";
import { formatBytes } from "./units.ts";

/** What the gateway answers itself, whatever is proxied. */
const OWN_PATHS = ["/v1/topics", "/v1/events", "/v1/connections", "/v1/runs"];

/** What is wrong between `upstream`, `routes` and the rest. */
export function findUpstreamConflicts(config: Config): Conflict[] {
  const conflicts: Conflict[] = [];
  const add = (key: string, between: readonly string[], message: string): void => {
    conflicts.push({ key, between, message });
  };
  const checkOrigin = (key: string, origin: string): void => {
    const listener = listenerAt(config, origin);
    if (listener === undefined) return;
    const between = [key.split(".", 1)[0] ?? key, ...listener.between];
    add(key, between, `is ${origin}, ${listener.what}`);
  };
  if (config.upstream !== "") checkOrigin("upstream", config.upstream);
  const seen = new Map<string, number>();
  for (const [index, { match, to, window }] of config.routes.entries()) {
    const own = OWN_PATHS.find((path) => match === path || match.startsWith(`${path}/`));
    if (own !== undefined) {
      add(`routes.${index}.match`, ["routes"], `is below ${own}, which Sluice answers itself`);
    }
    const earlier = seen.get(match);
    if (earlier !== undefined) {
      const message = `is that of rule ${earlier + 1} too, which always comes first`;
      add(`routes.${index}.match`, ["routes"], message);
    }
    seen.set(match, earlier ?? index);
    if (to !== "") checkOrigin(`routes.${index}.to`, to);
    else if (config.upstream === "") {
      const message = "leads nowhere: say to: <origin>, or upstream for all rules without it";
      add(`routes.${index}`, ["routes", "upstream"], message);
    }
    if (window > config.memoryBytesMax) {
      const bounds = `${formatBytes(config.memoryBytesMax)} of memoryBytesMax`;
      const message = `is ${formatBytes(window)}, more than the ${bounds}`;
      add(`routes.${index}.window`, ["routes", "memoryBytesMax"], message);
    }
  }
  return conflicts;
}

/** Which of our own listeners the origin is, if it is one: requests would go round, or reach what is private. */
function listenerAt(
  { host, port, adminHost, adminPort }: Config,
  origin: string,
): { readonly between: readonly string[]; readonly what: string } | undefined {
  const { hostname, port: said, protocol } = new URL(origin);
  const name = hostname.replace(/^\[(.*)\]$/, "$1");
  const at = said === "" ? (protocol === "https:" ? 443 : 80) : Number(said);
  const isOurs = (ours: string): boolean => {
    const isAny = ours === "0.0.0.0" || ours === "::";
    return name === ours || (isLoopbackHost(name) && (isAny || isLoopbackHost(ours)));
  };
  if (at === port && isOurs(host)) {
    const what =
      "this gateway itself, and requests would go round; name the application's port, or give the gateway another by --port";
    return { between: ["host", "port"], what };
  }
  if (at === adminPort && isOurs(adminHost)) {
    const what =
      "this gateway's admin listener, which must not be public; name the application's port, or give this one another by --admin-port";
    return { between: ["adminHost", "adminPort"], what };
  }
  return undefined;
}
