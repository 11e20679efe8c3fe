import { connect } from "node:net";
import type { Socket } from "node:net";
import type { Checker } from "../../src/testing/checker.ts";
import { createScanner } from "../../src/wire/scan.ts";
import type { ScannedEvent, Scanner } from "../../src/wire/scan.ts";
import { ResponseReader } from "../support/response-reader.ts";

export interface ReaderOptions {
  readonly name: string;
  readonly port: number;
  /** Path and query; what follows it is the reader's. */
  readonly path: string;
  /** Names and patterns, as the checker knows them. */
  readonly topics: readonly string[];
  readonly checker: Checker;
  /** The topic of a bare event; not asked where the wire form names it. */
  readonly topicOf: (event: ScannedEvent) => string;
  readonly isEnveloped: boolean;
  /** Reads so many bytes, then nothing for `pauseMs`, nor before `held` has resolved. @defaultValue reads on */
  readonly pace?: {
    readonly bytes: number;
    readonly pauseMs: number;
    readonly held: Promise<unknown>;
  };
}

/** A client on bare sockets: parses with the project's scanner, resumes by `Last-Event-ID`, tells the checker. */
export class Reader {
  readonly name: string;
  connections = 0;
  delivered = 0;
  /** Events that a cut left half; dropped. */
  halves = 0;
  tornChunks = 0;
  lastId = "";
  /** The epochs that gaps with reason `epoch` led to. */
  readonly logsLost = new Set<string>();
  failure: Error | undefined;
  readonly #options: ReaderOptions;
  #socket: Socket | undefined;
  #isStopped = false;
  #unpaced = 0;
  #awaited: { isIt: () => boolean; resolve: () => void } | undefined;

  constructor(options: ReaderOptions) {
    this.#options = options;
    this.name = options.name;
    this.#connect();
  }

  /** Resolves when the reader has come as far as `id`, or has failed. */
  reached(id: string): Promise<void> {
    return this.#until(
      () => epochOf(this.lastId) === epochOf(id) && seqOf(this.lastId) >= seqOf(id),
    );
  }

  /** Resolves when the reader has been told of the loss of so many logs, or has failed. */
  told(logs: number): Promise<void> {
    return this.#until(() => this.logsLost.size >= logs);
  }

  stop(): void {
    this.#isStopped = true;
    this.#socket?.destroy();
  }

  #connect(): void {
    const { checker, name, port, path, topics } = this.#options;
    const { lastId } = this;
    checker.add({ type: "open", reader: name, topics, ...(lastId !== "" && { cursor: lastId }) });
    this.connections += 1;
    const scanner = createScanner({
      lastEventId: lastId,
      onEvent: (event) => this.#onEvent(event),
      onId: (id) => checker.add({ type: "primer", reader: name, id }),
    });
    const reader = new ResponseReader({ onBody: (bytes) => scanner.push(bytes) });
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.#socket = socket;
    const head = lastId === "" ? "" : `Last-Event-ID: ${lastId}\r\n`;
    const start = `${path.includes("?") ? "&" : "?"}last_event_id=earliest`;
    socket.write(`GET ${path}${start} HTTP/1.1\r\nHost: localhost\r\n${head}\r\n`);
    socket.on("error", () => {});
    socket.on("end", () => socket.destroy());
    socket.on("data", (bytes: Buffer) => this.#onData(reader, scanner, bytes));
    socket.on("close", () => {
      if (scanner.end()) this.halves += 1;
      this.tornChunks += reader.tornChunks;
      if (this.#isStopped) return;
      if (reader.hasHead && reader.status !== 200) this.#fail(new Error(reader.statusLine));
      else setImmediate(() => this.#connect());
    });
  }

  #onData(reader: ResponseReader, scanner: Scanner, bytes: Buffer): void {
    try {
      reader.push(bytes);
    } catch (error) {
      return this.#fail(error as Error);
    }
    this.lastId = scanner.lastEventId;
    this.#look();
    this.#pace(bytes.length);
  }

  #onEvent(event: ScannedEvent): void {
    const { checker, name, isEnveloped, topicOf } = this.#options;
    const { lastEventId: id } = event;
    if (event.event === "gap") {
      const gap = JSON.parse(event.data) as { reason: string; from: string | null; to: string };
      if (gap.reason === "epoch") this.logsLost.add(epochOf(gap.to));
      return checker.add({ type: "gap", reader: name, gap });
    }
    this.delivered += 1;
    const { topic, data } = isEnveloped
      ? (JSON.parse(event.data) as { topic: string; data: string })
      : { topic: topicOf(event), data: event.data };
    checker.add({ type: "event", reader: name, topic, id, data });
  }

  #pace(bytes: number): void {
    const { pace } = this.#options;
    if (pace === undefined) return;
    this.#unpaced += bytes;
    if (this.#unpaced < pace.bytes) return;
    this.#unpaced = 0;
    const socket = this.#socket;
    socket?.pause();
    void pace.held.then(() => setTimeout(() => socket?.resume(), pace.pauseMs));
  }

  #until(isIt: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#awaited = { isIt, resolve };
      this.#look();
    });
  }

  #look(): void {
    const awaited = this.#awaited;
    if (awaited === undefined) return;
    if (this.failure === undefined && !awaited.isIt()) return;
    this.#awaited = undefined;
    awaited.resolve();
  }

  #fail(error: Error): void {
    this.failure = error;
    this.stop();
    this.#look();
  }
}

/** Cursors are `<epoch>.<seq>`. */
function epochOf(id: string): string {
  return id.slice(0, Math.max(0, id.indexOf(".")));
}

export function seqOf(id: string): number {
  return id === "" ? -1 : Number(id.slice(id.indexOf(".") + 1));
}
