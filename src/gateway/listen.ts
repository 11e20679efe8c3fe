import { createServer } from "node:net";
import type { AddressInfo, Server } from "node:net";
import { Server as TlsServer } from "node:tls";

/** Connections that wait to be accepted. Linux takes `net.core.somaxconn` where that is less, and says nothing. */
const BACKLOG = 4_096;
const PROBES_MAX = 20;

export interface ListenErrorInit {
  readonly code: string;
  readonly host: string;
  readonly port: number;
  readonly nextFreePort?: number | undefined;
}

/** The address could not be listened on. `code` is the system's: `EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`. */
export class ListenError extends Error {
  override readonly name = "ListenError";
  readonly code: string;
  readonly host: string;
  readonly port: number;
  /** With `EADDRINUSE`: the next port above that was free a moment ago, if one of the next 20 was. */
  readonly nextFreePort: number | undefined;

  constructor(init: ListenErrorInit, options?: ErrorOptions) {
    super(`cannot listen on ${authorityOf(init.host, init.port)}: ${init.code}`, options);
    this.code = init.code;
    this.host = init.host;
    this.port = init.port;
    this.nextFreePort = init.nextFreePort;
  }
}

/** Listens, and returns the URL under which the server is reached from this machine. Rejects with `ListenError`. */
export async function listen(server: Server, host: string, port: number): Promise<string> {
  try {
    await start(server, host, port);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "UNKNOWN";
    const nextFreePort = code === "EADDRINUSE" ? await findFreePort(host, port) : undefined;
    throw new ListenError({ code, host, port, nextFreePort }, { cause: error });
  }
  const address = server.address() as AddressInfo;
  const scheme = server instanceof TlsServer ? "https" : "http";
  return `${scheme}://${authorityOf(reachable(host), address.port)}`;
}

function start(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog: BACKLOG }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

async function findFreePort(host: string, port: number): Promise<number | undefined> {
  const last = Math.min(port + PROBES_MAX, 65_535);
  for (let candidate = port + 1; candidate <= last; candidate += 1) {
    const probe = createServer();
    try {
      await start(probe, host, candidate);
      await new Promise((resolve) => probe.close(resolve));
      return candidate;
    } catch {
      // Taken as well: try the next.
    }
  }
  return undefined;
}

/** The wildcard addresses are for listening; nobody can be called there. */
function reachable(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  return host === "::" ? "::1" : host;
}

function authorityOf(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
