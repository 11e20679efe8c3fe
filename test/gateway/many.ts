// Many clients at once, on bare sockets: what each of them was told, and whether any was cut silently.
import { connect } from "node:net";
import type { Socket } from "node:net";
import { onTestFinished } from "vitest";

export interface Client {
  readonly socket: Socket;
  /** Everything received. */
  text: string;
  /** The code of the socket's error, `ECONNRESET` say. */
  error: string | undefined;
  isClosed: boolean;
}

export interface ManyOptions {
  readonly port: number;
  readonly count: number;
  readonly path?: string;
  readonly headers?: readonly string[];
  /** Source address of the client with this index. @defaultValue 127.0.0.1 */
  readonly from?: (index: number) => string;
}

/** Opens `count` connections at once, each with one request. The end of the test closes them. */
export function openMany(options: ManyOptions): Client[] {
  const { port, count, path = "/v1/topics/a", headers = [], from } = options;
  const lines = ["Host: localhost", ...headers].map((line) => `${line}\r\n`).join("");
  const request = `GET ${path} HTTP/1.1\r\n${lines}\r\n`;
  const clients = Array.from({ length: count }, (_, index) => {
    const localAddress = from?.(index);
    const socket = connect({ port, host: "127.0.0.1", ...(localAddress && { localAddress }) });
    const client: Client = { socket, text: "", error: undefined, isClosed: false };
    socket.setEncoding("latin1");
    socket.on("data", (chunk) => (client.text += String(chunk)));
    socket.on("error", (error: NodeJS.ErrnoException) => (client.error = error.code));
    socket.on("close", () => (client.isClosed = true));
    socket.write(request);
    return client;
  });
  onTestFinished(() => {
    for (const { socket } of clients) socket.destroy();
  });
  return clients;
}

export const isAdmitted = ({ text }: Client): boolean =>
  text.startsWith("HTTP/1.1 200") && text.includes("Sluice-Connection:");

/** The refusal is there, whole. */
export const isRefused = ({ text }: Client): boolean =>
  text.startsWith("HTTP/1.1 503") && /Retry in \d+s\.$/.test(text);

/** Every one was answered, in one way or the other. */
export const isAnswered = (client: Client): boolean => isAdmitted(client) || isRefused(client);

/** Resolves when `isTrue` of all, or after `patienceMs`: then the test's own assertion says what is missing. */
export async function settled(
  clients: readonly Client[],
  isTrue: (client: Client) => boolean,
  patienceMs = 20_000,
): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!clients.every((client) => isTrue(client) || client.isClosed)) {
    if (performance.now() > deadline) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
