// A gateway in a network namespace of its own, started by a test: see test/support/netns.ts.
import { createMemoryBroker } from "../../src/brokers/memory.ts";
import { Hub } from "../../src/core/hub.ts";
import type { HeartbeatOptions } from "../../src/core/heartbeat.ts";
import { startServer } from "../../src/gateway/server.ts";
import { systemRuntime } from "../../src/internal/clock.ts";
import { GATEWAY_IP, PORT, remoteOptions, serve } from "../support/remote.ts";

export interface GatewayHostOptions {
  readonly heartbeat?: Partial<HeartbeatOptions>;
  readonly unackedMs?: number;
  /** Speaks TLS with these, PEM. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

/** How one connection ended. */
export interface Ended {
  readonly peer: string;
  readonly reason: string;
  /** Wall-clock milliseconds. */
  readonly at: number;
}

export interface Publishing {
  readonly topic: string;
  readonly count: number;
  readonly everyMs: number;
  /** Size of the data, at least. */
  readonly bytes?: number;
}

/** The data of event `n` of a topic, from 1: readers know what must follow, and how old it is. */
function dataOf(n: number, bytes: number): string {
  return `${n} ${Date.now()} `.padEnd(bytes, "x");
}

const { heartbeat, unackedMs, tls } = remoteOptions() as GatewayHostOptions;
const runtime = systemRuntime();
const hub = new Hub({
  broker: createMemoryBroker({ runtime }),
  runtime,
  ...(heartbeat !== undefined && { heartbeat }),
});
const ended: Ended[] = [];
const loud: string[] = [];
const published = new Map<string, number>();
const say = (_fields: object, message: string): void => void loud.push(message);
const peers = new Map<string, string>();

const server = await startServer(hub, {
  host: GATEWAY_IP,
  port: PORT,
  adminHost: "127.0.0.1",
  adminPort: 0,
  logger: { debug: () => {}, info: say, warn: say, error: say },
  ...(unackedMs !== undefined && { unackedMs }),
  ...(tls !== undefined && { tls: { cert: Buffer.from(tls.cert), key: Buffer.from(tls.key) } }),
});
hub.onConnectionEnd(({ connection }, reason) => {
  // By now the socket no longer knows its peer.
  const peer = peers.get(connection?.id ?? "") ?? "";
  ended.push({ peer, reason, at: Date.now() });
});

async function publishOne(topic: string, bytes: number): Promise<void> {
  const n = (published.get(topic) ?? 0) + 1;
  published.set(topic, n);
  await hub.publish({ tenant: "default", topic, events: [{ data: dataOf(n, bytes) }] });
}

serve({
  ready: () => server.url,
  /** Remembers who is connected, and tells how many. */
  connections() {
    for (const { connection } of hub.connections()) {
      if (connection !== undefined) peers.set(connection.id, connection.peer);
    }
    return hub.connectionsNow;
  },
  ended: () => ended,
  residentBytes: () => process.memoryUsage.rss(),
  /** What was logged above debug. */
  loud: () => loud,
  metrics: () =>
    Object.fromEntries(
      [...hub.metrics.samples()].map(({ name, label, value }) => [
        label === undefined ? name : `${name} ${label}`,
        value,
      ]),
    ),
  async publish({ topic, count, everyMs, bytes = 0 }: Publishing) {
    for (let sent = 0; sent < count; sent += 1) {
      await publishOne(topic, bytes);
      if (everyMs > 0) await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
    return published.get(topic);
  },
  /** The event loop does nothing else for so long. */
  block(ms: number) {
    const end = performance.now() + ms;
    while (performance.now() < end);
  },
  close: () => server.close(),
});
