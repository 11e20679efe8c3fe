import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A TCP proxy that can cut what it carries, at a byte, and be away for a while. */
export interface Proxy {
  readonly url: string;
  /** Connections that have been made through it. */
  readonly connectionsTotal: number;
  /** Cuts every connection now. */
  cut(): void;
  /** Cuts the next connections after so many bytes of the answer each; afterwards none any more. */
  cutNextAfter(bytes: readonly number[]): void;
  /** Refuses connections until `restart`. */
  readonly stop: () => Promise<void>;
  restart(): Promise<void>;
}

/** Listens on a free port of this machine and passes everything on to `target`. The end of the test closes it. */
export async function startProxy(target: string): Promise<Proxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let planned: number[] = [];
  let connectionsTotal = 0;
  const server = createServer((client) => {
    connectionsTotal += 1;
    const upstream = connect(Number(port), hostname);
    let left = planned.shift() ?? Number.POSITIVE_INFINITY;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on("data", (chunk) => upstream.write(chunk));
    upstream.on("data", (chunk: Buffer) => {
      client.write(chunk.subarray(0, left));
      left -= chunk.length;
      if (left <= 0) client.destroySoon();
    });
  });
  const listen = (at: number): Promise<void> =>
    new Promise((resolve) => server.listen(at, "127.0.0.1", resolve));
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      cut();
    });
  await listen(0);
  const { port: own } = server.address() as AddressInfo;
  onTestFinished(() => (server.listening ? stop() : undefined));
  return {
    url: `http://127.0.0.1:${own}`,
    get connectionsTotal() {
      return connectionsTotal;
    },
    cut,
    cutNextAfter: (bytes) => void (planned = [...bytes]),
    stop,
    restart: () => listen(own),
  };
}
