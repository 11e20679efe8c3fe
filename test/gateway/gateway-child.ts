// A gateway in a process of its own, from source, that a test can put into trouble: limits on its
// descriptors and memory, files that something else opens, a stalled event loop.
//
//   node gateway-child.ts '{"admission": {...}}'   prints {"url", "adminUrl"}, then reads commands
import { closeSync, openSync } from "node:fs";
import { createInterface } from "node:readline";
import { createMemoryBroker } from "../../src/brokers/memory.ts";
import { Hub } from "../../src/core/hub.ts";
import type { GatewayOptions } from "../../src/gateway/gateway.ts";
import { startServer } from "../../src/gateway/server.ts";
import { systemRuntime } from "../../src/internal/clock.ts";

const options = JSON.parse(process.argv[2] ?? "{}") as GatewayOptions & { port?: number };
const hub = new Hub({
  broker: createMemoryBroker({ memoryBytesMax: 32 * 1024 * 1024 }),
  runtime: systemRuntime(),
});
const server = await startServer(hub, {
  host: "127.0.0.1",
  port: options.port ?? 0,
  adminHost: "127.0.0.1",
  adminPort: 0,
  gateway: { retryMs: 300, ...options },
});
const files: number[] = [];
const held: Buffer[] = [];

const COMMANDS: Readonly<Record<string, (amount: number) => void>> = {
  /** Something else opens files. */
  eat(count) {
    for (let index = 0; index < count; index += 1) files.push(openSync("/dev/null", "r"));
  },
  free() {
    for (const file of files.splice(0)) closeSync(file);
  },
  /** Something else takes memory, in MiB. */
  hold(mib) {
    for (let index = 0; index < mib; index += 1) held.push(Buffer.alloc(1024 ** 2, 1));
  },
  drop() {
    held.length = 0;
    (globalThis as { gc?: () => void }).gc?.();
  },
  /** The event loop stands still, in milliseconds. */
  stall(ms) {
    const until = performance.now() + ms;
    while (performance.now() < until);
  },
};

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [name = "", amount = "0"] = line.split(" ");
    COMMANDS[name]?.(Number(amount));
    process.stdout.write(`${JSON.stringify({ did: line })}\n`);
  })
  .on("close", () => process.exit(0));
process.stdout.write(`${JSON.stringify({ url: server.url, adminUrl: server.adminUrl })}\n`);
