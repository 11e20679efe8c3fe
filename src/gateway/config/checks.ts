import { isLoopbackHost } from "./host.ts";
import type { Config } from "./schema.ts";
import { formatBytes } from "./units.ts";

/** What is wrong between values that are right each for itself. */
export interface Conflict {
  /** The one to change. */
  readonly key: string;
  /** All options that it is between. */
  readonly between: readonly string[];
  readonly message: string;
}

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
  return conflicts;
}

/** What is allowed, but must not go unnoticed. */
export function findWarnings(config: Config): string[] {
  const open = [config.host, config.adminHost].filter((host) => !isLoopbackHost(host));
  if (open.length === 0) return [];
  return [
    `INSECURE: listening on ${[...new Set(open)].join(" and ")} without authentication; whoever can reach it may read, publish and end every topic`,
  ];
}
