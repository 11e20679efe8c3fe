import type { Config } from "../gateway/config/schema.ts";
import { hasPlayground } from "../gateway/config/upstream.ts";
import { counted, paint } from "./terminal.ts";

/** What a person at a terminal sees first. The two commands work when they are pasted in that order. */
export function banner(
  stream: NodeJS.WritableStream,
  facts: {
    readonly version: string;
    readonly url: string;
    readonly adminUrl: string;
    readonly config: Config;
  },
): string {
  const { version, url, adminUrl, config } = facts;
  const dim = (text: string): string => paint(stream, "dim", text);
  const rows: [string, string][] = [["listening", url]];
  const { upstream, routes } = config;
  if (upstream !== "")
    rows.push(["upstream", `${upstream}, for every path that is not Sluice's own`]);
  if (routes.length > 0)
    rows.push(["routes", `${counted(routes.length, "rule")}; see sluice config print`]);
  if (hasPlayground(config)) rows.push(["playground", `${url}/`]);
  rows.push(["admin", `${adminUrl}/readyz /livez /metrics`]);
  return [
    "",
    `  ${paint(stream, "bold", "sluice")} ${version}`,
    "",
    ...rows.map(([name, value]) => `  ${dim(name.padEnd(11))} ${value}`),
    "",
    `  ${dim("publish, then read it from the start:")}`,
    `    curl -d hello ${url}/v1/topics/demo`,
    `    curl -N '${url}/v1/topics/demo?last_event_id=earliest'`,
    "",
    `  ${dim("Events are kept in memory: a restart forgets them. Ctrl-C stops.")}`,
    "",
    "",
  ].join("\n");
}
