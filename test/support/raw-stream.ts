import { connect } from "node:net";
import type { Socket } from "node:net";
import { onTestFinished } from "vitest";
import { createScanner } from "../../src/wire/scan.ts";
import type { ScannedEvent } from "../../src/wire/scan.ts";
import { ResponseReader } from "./response-reader.ts";

/** How long a test waits for what must happen, in milliseconds. */
const PATIENCE_MS = 20_000;

export interface RawRequest {
  readonly port: number;
  readonly path: string;
  readonly method?: string;
  readonly version?: "1.0" | "1.1";
  readonly headers?: Readonly<Record<string, string>>;
}

/** One request on a bare socket, and all that came back: as it came, and as an event stream. */
export class RawStream {
  readonly socket: Socket;
  /** What each 'data' event brought. */
  readonly segments: Buffer[] = [];
  readonly events: ScannedEvent[] = [];
  /** Ids that came without an event: the primer. */
  readonly places: string[] = [];
  readonly retries: number[] = [];
  readonly reader: ResponseReader;
  body = "";
  lastEventId = "";
  /** The other side has said that nothing follows. */
  hasEnded = false;
  isClosed = false;
  error: Error | undefined;
  #wake: () => void = () => {};

  /** A port of this machine, or a socket that is connected to one. */
  constructor(target: number | Socket) {
    const scanner = createScanner({
      onEvent: (event) => this.events.push(event),
      onId: (id) => this.places.push(id),
      onRetry: (retryMs) => this.retries.push(retryMs),
      lineBytesMax: 64 * 1024 * 1024,
      eventBytesMax: 64 * 1024 * 1024,
    });
    this.reader = new ResponseReader({
      onBody: (bytes) => {
        this.body += bytes.toString("latin1");
        scanner.push(bytes);
        this.lastEventId = scanner.lastEventId;
      },
    });
    this.socket = typeof target === "number" ? connect(target, "127.0.0.1") : target;
    this.socket.setNoDelay(true);
    this.socket.on("data", (bytes: Buffer) => {
      this.segments.push(bytes);
      try {
        this.reader.push(bytes);
      } catch (error) {
        this.error = error as Error;
        this.socket.destroy();
      }
      this.#wake();
    });
    this.socket.on("end", () => {
      this.hasEnded = true;
      this.#wake();
    });
    this.socket.on("error", (error) => (this.error ??= error));
    this.socket.on("close", () => {
      this.isClosed = true;
      this.#wake();
    });
  }

  get data(): string[] {
    return this.events.map(({ data }) => data);
  }

  send(request: Omit<RawRequest, "port">): this {
    const { method = "GET", path, version = "1.1", headers = {} } = request;
    const all = { Host: `127.0.0.1`, ...headers };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
    this.socket.write(`${method} ${path} HTTP/${version}\r\n${lines.join("")}\r\n`);
    return this;
  }

  /** Resolves when `condition` holds; it is asked whenever something came. */
  async until(condition: () => boolean, what = "what was awaited"): Promise<this> {
    const deadline = AbortSignal.timeout(PATIENCE_MS);
    const woken = (): Promise<void> =>
      new Promise((resolve) => {
        this.#wake = resolve;
        deadline.addEventListener("abort", () => resolve(), { once: true });
      });
    while (!condition()) {
      if (deadline.aborted) throw new Error(`${what} did not come: ${this.describe()}`);
      if (this.isClosed) throw new Error(`closed before ${what}: ${this.describe()}`);
      await woken();
    }
    return this;
  }

  async closed(): Promise<this> {
    return this.until(() => this.isClosed, "the close");
  }

  describe(): string {
    const { status, chunks, isFinished } = this.reader;
    const state = {
      status,
      chunks,
      isFinished,
      events: this.events.length,
      error: this.error?.message,
    };
    return `${JSON.stringify(state)} ${JSON.stringify(this.body.slice(-300))}`;
  }
}

/** Sends the request; the socket is destroyed with the test. */
export function openRaw({ port, ...request }: RawRequest): RawStream {
  const stream = new RawStream(port);
  onTestFinished(() => void stream.socket.destroy());
  return stream.send(request);
}
