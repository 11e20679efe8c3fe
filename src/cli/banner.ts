import { isLoopbackHost } from "../gateway/config/host.ts";
import type { Config } from "../gateway/config/schema.ts";
import { paint } from "./terminal.ts";

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
  if (isLoopbackHost(config.host)) rows.push(["playground", `${url}/`]);
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
