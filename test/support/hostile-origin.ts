import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { onTestFinished } from "vitest";

/** One request, as its bytes were. */
export interface RawRequest {
  /** Head and body so far, latin1. */
  readonly text: string;
  /** Of all requests of this origin, from 0. */
  readonly index: number;
}

export interface HostileOrigin {
  readonly port: number;
  readonly url: string;
  /** Heads of all requests that have come. */
  readonly requests: string[];
  readonly socketsNow: number;
}

/**
 * A TCP server that answers each request head with what `answer` does to its socket, byte by byte. It
 * knows nothing of HTTP but the blank line behind a head.
 */
export async function startHostileOrigin(
  answer: (socket: Socket, request: RawRequest) => void | Promise<void>,
): Promise<HostileOrigin> {
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      if (!text.includes("\r\n\r\n")) return;
      const request = { text, index: requests.length };
      requests.push(text);
      text = "";
      void answer(socket, request);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    requests,
    get socketsNow() {
      return sockets.size;
    },
  };
}

/** The head of an event stream whose body ends with the connection. */
export const STREAM_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
/** The same in chunks. */
export const CHUNKED_HEAD =
  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

export function chunk(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
}
export const LAST_CHUNK = "0\r\n\r\n";
