// Sluice as a library behind node:http, with the tenant that a header names. Not safe anywhere else:
// whoever calls says who they are.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { tuneGarbageCollection } from "../dist/cli/garbage.js";
import { createGateway, createHub } from "../dist/index.js";
import { sayListening } from "./support/ticker.mjs";

// As `sluice serve` does.
tuneGarbageCollection(256 * 1024 ** 2);
const hub = createHub();
const gateway = createGateway(hub, {
  tenantOf: (request) => request.headers["x-tenant"] ?? "default",
});
const server = createServer({ noDelay: true }, gateway.handler);
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => sayListening(server));

for await (const line of createInterface({ input: process.stdin })) if (line === "quit") break;
process.exit(0);
