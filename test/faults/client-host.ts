// Readers in a network namespace of their own, started by a test: see test/support/netns.ts.
import { connect } from "node:net";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { createScanner } from "../../src/wire/scan.ts";
import { ResponseReader } from "../support/response-reader.ts";
import { GATEWAY_IP, PORT, serve } from "../support/remote.ts";

export interface Opening {
  readonly topic: string;
  /** @defaultValue 1 */
  readonly count?: number;
  /** Comes back with its last id, when it was cut or heard nothing for so long, in milliseconds. @defaultValue never */
  readonly idleMs?: number;
  /** Takes so many bytes at a time, then nothing for `pauseMs`. @defaultValue all that is there */
  readonly pace?: { readonly bytes: number; readonly pauseMs: number };
  /** Speaks TLS, and believes any certificate. @defaultValue false */
  readonly isTls?: boolean;
}

/** What a reader has seen, over all its connections. */
export interface Seen {
  readonly localPort: number;
  readonly connections: number;
  /** The number of the last event; each is one more than the one before, or `failure` says otherwise. */
  readonly last: number;
  readonly failure: string;
  readonly closes: readonly string[];
  readonly isOpen: boolean;
  readonly bytes: number;
  /** From publishing to the reader, in milliseconds, by event. */
  readonly latenciesMs: readonly number[];
}

class Reader {
  #socket: Socket | undefined;
  #lastId = "";
  #localPort = 0;
  #connections = 0;
  #last = 0;
  #failure = "";
  #bytes = 0;
  readonly #closes: string[] = [];
  readonly #latenciesMs: number[] = [];
  #isOpen = false;
  #pace: Opening["pace"];
  readonly #opening: Opening;

  constructor(opening: Opening) {
    this.#opening = opening;
    this.#pace = opening.pace;
    this.#connect();
  }

  get seen(): Seen {
    return {
      localPort: this.#localPort,
      connections: this.#connections,
      last: this.#last,
      failure: this.#failure,
      closes: this.#closes,
      isOpen: this.#isOpen,
      bytes: this.#bytes,
      latenciesMs: this.#latenciesMs,
    };
  }

  /** Ends the connection by a reset. */
  reset(): void {
    this.#socket?.resetAndDestroy();
  }

  /** Says that nothing more will be sent, and reads on. */
  halfClose(): void {
    this.#socket?.end();
  }

  /** Reads as fast as it can from now on. */
  hurry(): void {
    this.#pace = undefined;
    this.#socket?.resume();
  }

  #connect(): void {
    const { topic, idleMs, isTls = false } = this.#opening;
    const pace = this.#pace;
    this.#connections += 1;
    const scanner = createScanner({
      lastEventId: this.#lastId,
      lineBytesMax: 16 * 1024 * 1024,
      onEvent: ({ event, data }) => this.#onEvent(event, data),
    });
    const response = new ResponseReader({ onBody: (bytes) => scanner.push(bytes) });
    const onBytes = (bytes: Buffer): void => {
      this.#bytes += bytes.length;
      response.push(bytes);
      this.#lastId = scanner.lastEventId;
      if (response.isFinished) this.#closes.push("finished");
    };
    const target = { host: GATEWAY_IP, port: PORT, allowHalfOpen: true, noDelay: true };
    const plain = (): Socket =>
      connect({
        ...target,
        ...(pace !== undefined && {
          onread: {
            // What Node reads at a time: with a larger buffer a slow reader would take 64 KiB at once.
            buffer: Buffer.alloc(pace.bytes),
            callback: (count: number, buffer: Uint8Array): boolean => {
              onBytes(Buffer.from(buffer.subarray(0, count)));
              if (this.#pace === undefined) return true;
              setTimeout(() => socket.resume(), this.#pace.pauseMs);
              return false;
            },
          },
        }),
      });
    const socket = isTls ? connectTls({ ...target, rejectUnauthorized: false }) : plain();
    this.#socket = socket;
    socket.on("connect", () => {
      this.#localPort = socket.localPort ?? 0;
      this.#isOpen = true;
    });
    if (pace === undefined) socket.on("data", onBytes);
    if (idleMs !== undefined) socket.setTimeout(idleMs, () => socket.destroy());
    socket.on("error", (error: NodeJS.ErrnoException) => this.#closes.push(error.code ?? "error"));
    socket.on("end", () => {
      this.#closes.push("end");
      socket.destroy();
    });
    socket.on("close", () => {
      this.#isOpen = false;
      scanner.end();
      if (idleMs !== undefined && this.#failure === "") setTimeout(() => this.#connect(), 200);
    });
    const resume = this.#lastId === "" ? "" : `Last-Event-ID: ${this.#lastId}\r\n`;
    socket.write(
      `GET /v1/topics/${topic}?last_event_id=earliest HTTP/1.1\r\nHost: localhost\r\n${resume}\r\n`,
    );
  }

  #onEvent(event: string, data: string): void {
    if (event === "close") return void this.#closes.push(data);
    const [n, at] = data.split(" ", 2).map(Number);
    if (at !== undefined) this.#latenciesMs.push(Date.now() - at);
    if (event === "message" && n === this.#last + 1) this.#last = n;
    else this.#failure ||= `${event} ${data.slice(0, 80)} behind ${this.#last}`;
  }
}

const readers: Reader[] = [];

serve({
  open(opening: Opening) {
    for (let index = 0; index < (opening.count ?? 1); index += 1) readers.push(new Reader(opening));
  },
  seen: () => readers.map(({ seen }) => seen),
  reset: (index: number) => readers[index]?.reset(),
  halfClose: (index: number) => readers[index]?.halfClose(),
  hurryAll: () => readers.forEach((reader) => reader.hurry()),
  hurry: (index: number) => readers[index]?.hurry(),
});
