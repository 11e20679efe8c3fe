// An origin that says whose credentials it is shown, over both versions of HTTP.
import { createServer as createHttp1Server } from "node:http";
import type { IncomingHttpHeaders } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import type { ServerHttp2Stream } from "node:http2";
import type { Readable } from "node:stream";
import { seededRandom } from "../../src/testing/random.ts";
import { listen } from "../upstreams/pool/origins.ts";

/** A user's nonce, wherever it stands: no random id of Sluice's has a `~`. */
export const NONCES = /~\d+_\d+_[0-9a-z]+~/g;
/** What one response to a request without credentials says. */
export const OPEN_WORDS = /~m\d+~/g;
/** Times that an answer says its nonce. */
export const WORDS = 30;

interface Ask {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Readable;
}

/** What an answer needs, whichever version it is spoken in. */
interface Answer {
  head(headers: Record<string, string>): void;
  write(text: string): void;
  end(): void;
  /** Breaks it off in the middle. */
  cut(): void;
  readonly isGone: boolean;
}

/**
 * `/page` echoes as text, `/stream` and `/run` as events with ids, and `/open` tells all that ask without
 * credentials a word that no other request is told. Streams are cut now and then, and honour `Last-Event-ID`.
 */
export class EchoOrigin {
  /** Requests in which things of different users met. */
  readonly foreign: string[] = [];
  readonly #random = seededRandom(5);
  requests = 0;
  /** Requests for `/open`. */
  minted = 0;
  cuts = 0;
  connections = 0;
  port = 0;

  async start(version: "HTTP/1.1" | "HTTP/2"): Promise<this> {
    this.port = await listen(version === "HTTP/2" ? this.#http2() : this.#http1());
    return this;
  }

  #http1(): ReturnType<typeof createHttp1Server> {
    const server = createHttp1Server((request, response) => {
      response.on("error", () => {});
      const { url: path = "", headers } = request;
      this.#serve(
        { path, headers, body: request },
        {
          head: (its) => void response.writeHead(200, its),
          write: (text) => void response.write(text),
          end: () => void response.end(),
          cut: () => void response.destroy(),
          get isGone() {
            return response.closed;
          },
        },
      );
    });
    return server.on("connection", () => (this.connections += 1));
  }

  #http2(): ReturnType<typeof createHttp2Server> {
    const server = createHttp2Server();
    server.on("session", (session) => {
      this.connections += 1;
      session.on("error", () => {});
    });
    server.on("stream", (stream: ServerHttp2Stream, headers) => {
      stream.on("error", () => {});
      this.#serve(
        { path: String(headers[":path"]), headers, body: stream },
        {
          head: (its) => stream.respond({ ":status": 200, ...its }),
          write: (text) => void stream.write(text),
          end: () => void stream.end(),
          cut: () => stream.close(),
          get isGone() {
            return stream.closed || stream.destroyed;
          },
        },
      );
    });
    return server;
  }

  #serve({ path, headers, body }: Ask, answer: Answer): void {
    this.requests += 1;
    const isOpen = path === "/open";
    if (isOpen) this.minted += 1;
    const nonce = (headers.authorization ?? "").slice("Bearer ".length);
    const word = isOpen ? `~m${this.minted}~` : nonce;
    const lastEventId = headers["last-event-id"]?.toString();
    this.#look(JSON.stringify(headers), nonce, isOpen ? 0 : 2);
    body.on("error", () => {});
    body.on("data", (chunk: Buffer) => this.#look(chunk.toString(), nonce, 0));
    // Places that Sluice gives stay with Sluice. What comes is the origin's own, given to the same user.
    const hasOwnPlace = lastEventId?.startsWith(isOpen ? "~m" : `${nonce}.`) ?? true;
    if (!hasOwnPlace) this.foreign.push(`Last-Event-ID ${lastEventId} with ${nonce}`);
    const isText = path === "/page";
    answer.head({
      "content-type": isText ? "text/plain" : "text/event-stream",
      "set-cookie": `echo=${word}`,
      "x-echo": word,
    });
    const stays = path === "/stream" || isOpen;
    let next = Number(lastEventId?.split(".")[1] ?? 0) + 1;
    const end = next + WORDS;
    const cutAt = path === "/stream" && this.#random() < 0.2 ? next + 5 : Infinity;
    const step = (): void => {
      if (answer.isGone) return;
      for (let left = this.#random() < 0.5 ? 10 : 3; left > 0 && next < end; left -= 1) {
        if (next >= cutAt) {
          this.cuts += 1;
          return answer.cut();
        }
        answer.write(isText ? `${word}|` : `id: ${word}.${next}\ndata: ${word}\n\n`);
        next += 1;
      }
      if (next < end) setImmediate(step);
      else if (!stays) answer.end();
    };
    step();
  }

  /** Notes `text` if anybody but `nonce` is in it, or that less than `countMin` times. */
  #look(text: string, nonce: string, countMin: number): void {
    const found = text.match(NONCES) ?? [];
    if (found.length < countMin || found.some((each) => each !== nonce)) this.foreign.push(text);
  }
}
