import { request as httpRequest } from "node:http";
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Readable } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { createScanner } from "../../wire/scan.ts";

/** Requests bodies and answers of probes are small; a page of somebody else's is cut there, in characters. */
const TEXT_LENGTH_MAX = 64 * 1024;

export interface Ask {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly timeoutMs?: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The `code` of a problem document of Sluice. */
  readonly code: string | undefined;
  /** When the whole answer had come, on the clock of `performance.now`. */
  readonly at: number;
}

/** One request on a connection of its own. Rejects if there is no whole answer in time. */
export function ask(url: URL, options: Ask = {}): Promise<Answer> {
  const { body, timeoutMs = 10_000 } = options;
  return new Promise((resolve, reject) => {
    const sent = send(url, options);
    const timer = setTimeout(() => {
      sent.destroy(new Error(`no answer within ${timeoutMs / 1_000} s`));
    }, timeoutMs);
    sent.once("error", reject);
    sent.once("close", () => clearTimeout(timer));
    sent.once("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => (text += part.slice(0, TEXT_LENGTH_MAX)));
      response.once("error", reject);
      response.once("end", () => {
        const { statusCode: status = 0, headers } = response;
        resolve({ status, headers, text, code: codeOf(text), at: performance.now() });
      });
    });
    sent.end(body);
  });
}

/** How a stream ended. */
export interface StreamEnd {
  readonly at: number;
  /** The reason of `event: close`, where the gateway itself said goodbye. */
  readonly closing: string | undefined;
}

/** One stream, with the time at which everything came. */
export class ProbeStream {
  /** When each event came, by its data. */
  readonly arrivals = new Map<string, number>();
  readonly openedAt = performance.now();
  headers: IncomingHttpHeaders | undefined;
  status = 0;
  hasPrelude = false;
  heartbeats = 0;
  lastByteAt = performance.now();
  end: StreamEnd | undefined;
  #closing: string | undefined;
  #wake = (): void => {};
  readonly #request: ClientRequest;

  constructor(url: URL, headers: Readonly<Record<string, string>>) {
    this.#request = send(url, { headers: { Accept: "text/event-stream", ...headers } });
    this.#request.on("error", () => this.#finish());
    this.#request.once("response", (response) => this.#read(response));
    this.#request.end();
  }

  /** True when `condition` holds, false when `limitMs` passed, or the stream ended, without it. */
  async until(condition: () => boolean, limitMs: number): Promise<boolean> {
    const deadline = performance.now() + limitMs;
    const timer = setTimeout(() => this.#wake(), limitMs + 1);
    while (!condition() && performance.now() < deadline && this.end === undefined) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    clearTimeout(timer);
    return condition();
  }

  /** The head of the answer is here. */
  isOpen(): boolean {
    return this.headers !== undefined;
  }

  close(): void {
    this.#request.destroy();
  }

  #read(response: IncomingMessage): void {
    this.headers = response.headers;
    this.status = response.statusCode ?? 0;
    const scanner = createScanner({
      onEvent: ({ event, data }) => {
        if (event === "close") this.#closing = data;
        else this.arrivals.set(data, performance.now());
      },
      onId: () => (this.hasPrelude = true),
      onComment: () => (this.heartbeats += 1),
    });
    response.once("error", () => this.#finish());
    response.once("close", () => this.#finish());
    const body = decoded(response);
    body.on("error", () => this.#request.destroy());
    body.on("data", (bytes: Buffer) => {
      this.lastByteAt = performance.now();
      try {
        scanner.push(bytes);
      } catch {
        this.#request.destroy();
      }
      this.#wake();
    });
    this.#wake();
  }

  #finish(): void {
    this.end ??= { at: performance.now(), closing: this.#closing };
    this.#wake();
  }
}

function send(url: URL, { method = "GET", headers = {} }: Ask): ClientRequest {
  const request = url.protocol === "https:" ? httpsRequest : httpRequest;
  return request(url, { method, headers, agent: false });
}

function decoded(response: IncomingMessage): Readable {
  switch (response.headers["content-encoding"]) {
    case "gzip":
      return response.pipe(createGunzip());
    case "deflate":
      return response.pipe(createInflate());
    case "br":
      return response.pipe(createBrotliDecompress());
    default:
      return response;
  }
}

function codeOf(text: string): string | undefined {
  try {
    const document = JSON.parse(text) as { code?: unknown } | null;
    return typeof document?.code === "string" ? document.code : undefined;
  } catch {
    return undefined;
  }
}
