import { findUpstreamConflicts } from "./checks-upstream.ts";
import type { Conflict } from "./conflict.ts";
import { isLoopbackHost } from "./host.ts";
import { FRONTS } from "./keep-alive.ts";
import type { Config } from "./schema.ts";
import { formatBytes, formatDuration } from "./units.ts";

export function findConflicts(config: Config): Conflict[] {
  const { host, port, adminHost, adminPort, insecure } = config;
  const { eventBytesMax, batchBytesMax, memoryBytesMax, topics } = config;
  const conflicts: Conflict[] = [];
  const add = (key: string, other: string, message: string): void => {
    const [option = key] = key.split(".", 1);
    conflicts.push({ key, between: [option, other], message });
  };
  for (const [key, value] of [
    ["host", host],
    ["adminHost", adminHost],
  ] as const) {
    if (insecure || isLoopbackHost(value)) continue;
    add(
      key,
      "insecure",
      `is ${value}, which others can reach, and nobody is asked who they are; listen on 127.0.0.1 behind a proxy that asks, or allow it by --insecure`,
    );
  }
  if (port === adminPort && port !== 0 && host === adminHost) {
    add(
      "adminPort",
      "port",
      `is ${adminPort}, as the public listener's is; give one of them another`,
    );
  }
  if (config.drain.wait >= config.drain.deadline) {
    const bounds = `${formatDuration(config.drain.deadline)} of drain.deadline`;
    add(
      "drain.wait",
      "drain",
      `is ${formatDuration(config.drain.wait)}, not less than the ${bounds}: nobody would be told goodbye`,
    );
  }
  if (eventBytesMax > memoryBytesMax) {
    const bounds = `${formatBytes(memoryBytesMax)} of memoryBytesMax`;
    add(
      "eventBytesMax",
      "memoryBytesMax",
      `is ${formatBytes(eventBytesMax)}, more than the ${bounds}`,
    );
  }
  if (batchBytesMax < eventBytesMax) {
    const bounds = `${formatBytes(eventBytesMax)} of eventBytesMax`;
    add(
      "batchBytesMax",
      "eventBytesMax",
      `is ${formatBytes(batchBytesMax)}, less than the ${bounds}`,
    );
  }
  const { cert, key } = config.tls;
  if ((cert === "") !== (key === "")) {
    const [set, missing] = cert === "" ? ["tls.key", "tls.cert"] : ["tls.cert", "tls.key"];
    add(set, "tls", `is set, and ${missing} is not; HTTPS needs both`);
  }
  const seen = new Map<string, number>();
  for (const [index, { match, settings }] of topics.entries()) {
    const earlier = seen.get(match.text);
    if (earlier !== undefined) {
      add(
        `topics.${index}.match`,
        "topics",
        `is that of rule ${earlier + 1} too, which always comes first`,
      );
    }
    seen.set(match.text, earlier ?? index);
    const kept = settings.retention?.bytesMax;
    if (kept !== undefined && kept > memoryBytesMax) {
      const bounds = `${formatBytes(memoryBytesMax)} of memoryBytesMax`;
      add(
        `topics.${index}.retention.bytes`,
        "memoryBytesMax",
        `is ${formatBytes(kept)}, more than the ${bounds}`,
      );
    }
  }
  return [...conflicts, ...findUpstreamConflicts(config)];
}

/** What is allowed, but must not go unnoticed. */
export function findWarnings(config: Config): string[] {
  return [...exposureOf(config), ...frontMismatches(config)];
}

function exposureOf(config: Config): string[] {
  const open = [config.host, config.adminHost].filter((host) => !isLoopbackHost(host));
  if (open.length === 0) return [];
  return [
    `INSECURE: listening on ${[...new Set(open)].join(" and ")} without authentication; whoever can reach it may read, publish and end every topic`,
  ];
}

/** What stands in front keeps a connection longer than we do, or drops a stream before its heartbeat. */
function frontMismatches({ keepAlive, heartbeat }: Config): string[] {
  const { timeout, front } = keepAlive;
  const { reuseMs, quietMs, timeoutMs } = FRONTS[front];
  const warnings: string[] = [];
  if (timeout > 0 && timeout <= reuseMs) {
    warnings.push(
      `keepAlive.timeout is ${formatDuration(timeout)}, but ${front} reuses connections that idled for up to ${formatDuration(reuseMs)}: requests will fail with 502; set 0, which is ${formatDuration(timeoutMs)} for ${front}`,
    );
  }
  if (quietMs > 0 && heartbeat >= quietMs) {
    warnings.push(
      `heartbeat is ${formatDuration(heartbeat)}, but ${front} cuts a stream that is quiet for ${formatDuration(quietMs)}; set a third of that at most`,
    );
  }
  return warnings;
}
