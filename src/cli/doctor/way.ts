import { eventsUrl, topicUrl } from "../../client/url.ts";
import { randomId } from "../../gateway/ids.ts";
import type { Findings } from "./finding.ts";
import { hopsOf } from "./hops.ts";
import type { Hop } from "./hops.ts";
import { ProbeStream, ask } from "./probe.ts";
import type { Answer, Ask } from "./probe.ts";

/** What the checks need to know of the gateway behind the way. */
export interface WayConfig {
  readonly heartbeatMs: number;
  readonly batchBytesMax: number;
  readonly keepAliveMs: number;
}

export interface WayOptions {
  /** The public address. */
  readonly base: URL;
  /** Sent with every request, such as `Authorization`. */
  readonly headers: Readonly<Record<string, string>>;
  readonly findings: Findings;
  readonly config: WayConfig;
}

/** The way from here to the gateway. Its topics are its own, and forgotten by the gateway after a while. */
export class Way {
  readonly base: URL;
  readonly findings: Findings;
  readonly config: WayConfig;
  hops: readonly Hop[] = [];
  readonly #headers: Readonly<Record<string, string>>;
  readonly #folder = `sluice-doctor/${randomId()}`;
  readonly #streams = new Set<ProbeStream>();
  #published = 0;

  constructor({ base, headers, findings, config }: WayOptions) {
    this.base = base;
    this.findings = findings;
    this.config = config;
    this.#headers = headers;
  }

  /** Asks about the topic `name`. */
  async ask(name: string, { headers, ...options }: Ask = {}): Promise<Answer> {
    return ask(this.#topic(name), { ...options, headers: { ...this.#headers, ...headers } });
  }

  /** Publishes a text of its own on `name`, and tells which. */
  async publish(name: string, headers: Readonly<Record<string, string>> = {}): Promise<Published> {
    this.#published += 1;
    const body = `${this.#published}`;
    const answer = await this.ask(name, {
      method: "POST",
      body,
      headers: { "Content-Type": "text/plain", ...headers },
    });
    return { data: body, answer };
  }

  open(name: string, headers: Readonly<Record<string, string>> = {}): ProbeStream {
    const stream = new ProbeStream(this.#topic(name), { ...this.#headers, ...headers });
    this.#streams.add(stream);
    return stream;
  }

  /** ACKs a goodbye that was never said: the refusal tells whether the gateway still has the connection. */
  async acknowledge(connection: string): Promise<Answer> {
    const url = eventsUrl(this.base, []);
    url.pathname = url.pathname.replace(/events$/, `connections/${connection}/ack`);
    return ask(url, { method: "POST", headers: this.#headers });
  }

  learn(headers: Parameters<typeof hopsOf>[0]): void {
    this.hops = [...new Set([...this.hops, ...hopsOf(headers)])];
  }

  close(): void {
    for (const stream of this.#streams) stream.close();
  }

  #topic(name: string): URL {
    return topicUrl(this.base, `${this.#folder}/${name}`);
  }
}

export interface Published {
  readonly data: string;
  readonly answer: Answer;
}
