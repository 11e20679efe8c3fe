import { Agent, request as httpRequest } from "node:http";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { expect, onTestFinished, test, vi } from "vitest";
import { seededRandom } from "../../src/testing/random.ts";
import type { PoolOptionsInput } from "../../src/upstreams/pool/pool-options.ts";
import { startFront } from "../gateway/proxy/support.ts";
import type { Front } from "../gateway/proxy/support.ts";
import { EchoOrigin, NONCES, OPEN_WORDS, WORDS } from "./echo-origin.ts";

const TENANTS = 200;
const USERS = 600;
const CLIENTS = 48;
const REQUESTS = 3_000;
const LEAVE_MS_MAX = 15;
/** Whoever has not got what it came for by then is counted as wrong. */
const PATIENCE_MS = 10_000;

type Headers = Readonly<Record<string, string>>;

/** One who asks. All that is sent by it or meant for it carries its nonce. */
interface User {
  readonly tenant: number;
  readonly nonce: string;
  readonly headers: Headers;
  /** A place that Sluice gave it in its stream, with more behind it, and its last run. */
  place?: string | undefined;
  run?: string | undefined;
}

interface Ask {
  readonly path: string;
  readonly method?: "GET" | "POST";
  readonly headers: Headers;
  /** The client leaves after so long, in milliseconds, whatever it has got. */
  readonly leaveMs: number | undefined;
  /** Streams have connections of their own, which end with them. */
  readonly agent?: Agent;
  /** It has read enough, and leaves. */
  readonly isEnough?: (text: string) => boolean;
}

interface Got {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

function ask({ url }: Front, its: Ask): Promise<Got> {
  const { path, method = "GET", headers, leaveMs, agent = false, isEnough } = its;
  return new Promise((resolve) => {
    let response: IncomingMessage | undefined;
    let text = "";
    const sent = httpRequest(`${url}${path}`, { agent, method, headers });
    // Destroyed once it is over it would take the socket from the next request.
    const leave = setTimeout(() => sent.destroy(), leaveMs ?? PATIENCE_MS);
    sent.on("error", () => {});
    sent.once("close", () => {
      clearTimeout(leave);
      resolve({ status: response?.statusCode ?? 0, headers: response?.headers ?? {}, text });
    });
    sent.once("response", (received) => {
      response = received;
      received.on("error", () => {});
      received.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        if (isEnough?.(text) === true) sent.destroy();
      });
    });
    sent.end(method === "POST" ? JSON.stringify(headers) : undefined);
  });
}

class Storm {
  /** What was said to the wrong one, and what was not said. */
  readonly wrong: string[] = [];
  /** Answers that were read to their end, by kind. */
  readonly whole: Record<string, number> = {};
  /** Which tenant was told which of the words that are for one upstream request alone. */
  readonly tenantOfWord = new Map<string, number>();
  openReaders = 0;
  readonly #front: Front;
  readonly #random = seededRandom(3);
  readonly #agent = new Agent({ keepAlive: true });

  constructor(front: Front) {
    this.#front = front;
    onTestFinished(() => this.#agent.destroy());
  }

  async rage(): Promise<void> {
    const users: User[] = Array.from({ length: USERS }, (_, index) => {
      const tenant = index % TENANTS;
      const nonce = `~${tenant}_${index}_${Math.floor(this.#random() * 1e9).toString(36)}~`;
      const credentials = { authorization: `Bearer ${nonce}`, cookie: `session=${nonce}` };
      return { tenant, nonce, headers: { "x-tenant": String(tenant), ...credentials } };
    });
    let asked = 0;
    const client = async (): Promise<void> => {
      while (asked < REQUESTS && this.wrong.length === 0) {
        asked += 1;
        await this.#one(users.at(Math.floor(this.#random() * USERS)) as User);
      }
    };
    await Promise.all(Array.from({ length: CLIENTS }, client));
  }

  async #one(user: User): Promise<void> {
    const kind = this.#random();
    const leaveMs = this.#random() < 0.25 ? this.#random() * LEAVE_MS_MAX : undefined;
    if (kind < 0.3) await this.#page(user, leaveMs);
    else if (kind < 0.65) await this.#stream(user, leaveMs);
    else if (kind < 0.75) await this.#open(user, leaveMs);
    else if (kind < 0.9 || user.run === undefined) await this.#startRun(user, leaveMs);
    else await this.#readRun(user, user.run, leaveMs);
  }

  async #page(user: User, leaveMs: number | undefined): Promise<void> {
    const method = this.#random() < 0.5 ? "GET" : "POST";
    const { headers } = user;
    const its = { path: "/page", method, headers, leaveMs, agent: this.#agent } as const;
    const got = await ask(this.#front, its);
    this.#look(method, user, got, leaveMs, got.text === `${user.nonce}|`.repeat(WORDS));
  }

  /** Afresh, behind a place that Sluice gave, or behind one that the origin gave before Sluice stood there. */
  async #stream(user: User, leaveMs: number | undefined): Promise<void> {
    const how = this.#random();
    const place = how < 0.4 ? user.place : how < 0.6 ? `${user.nonce}.7` : undefined;
    const isResumed = place !== undefined && place === user.place;
    const isAll = (text: string): boolean =>
      isResumed ? text.includes(`\ndata: ${user.nonce}\n`) : isWhole(text, user.nonce);
    const headers = { ...user.headers, accept: "text/event-stream" };
    const got = await ask(this.#front, {
      path: "/stream",
      headers: place === undefined ? headers : { ...headers, "last-event-id": place },
      leaveMs,
      isEnough: (text) => isAll(text) || hasForeign(text, user.nonce),
    });
    const places = [...got.text.matchAll(/\ndata: .*\nid: (\S+)\n/g)].map(([, id]) => id);
    if (places.length > 1) user.place = places[Math.floor(this.#random() * (places.length - 1))];
    this.#look(isResumed ? "resumed" : "stream", user, got, leaveMs, isAll(got.text));
  }

  /** The same URL for all tenants, and no credentials: nothing but the tenant tells them apart. */
  async #open(user: User, leaveMs: number | undefined): Promise<void> {
    // Few, so that readers of one tenant meet.
    const tenant = user.tenant % 4;
    this.openReaders += 1;
    const got = await ask(this.#front, {
      path: "/open",
      headers: { "x-tenant": String(tenant), accept: "text/event-stream" },
      leaveMs,
      isEnough: (text) => text.split("\ndata: ~m").length > WORDS,
    });
    for (const word of JSON.stringify(got).match(OPEN_WORDS) ?? []) {
      const its = this.tenantOfWord.get(word) ?? tenant;
      this.tenantOfWord.set(word, its);
      if (its !== tenant) this.wrong.push(`${word} of tenant ${its} for ${tenant}`);
    }
    this.#look("open", user, got, leaveMs, got.text.split("\ndata: ~m").length > WORDS);
  }

  async #startRun(user: User, leaveMs: number | undefined): Promise<void> {
    const { headers } = user;
    const got = await ask(this.#front, { path: "/run", method: "POST", headers, leaveMs });
    const { "sluice-run": run } = got.headers;
    if (typeof run === "string") user.run = run;
    this.#look("run", user, got, leaveMs, isWhole(got.text, user.nonce));
  }

  async #readRun(user: User, run: string, leaveMs: number | undefined): Promise<void> {
    const path = `/v1/runs/${run}`;
    const got = await ask(this.#front, { path, headers: user.headers, leaveMs });
    this.#look("run again", user, got, leaveMs, isWhole(got.text, user.nonce));
    // For another tenant it is as if it had never been.
    const headers = { "x-tenant": String((user.tenant + 1) % TENANTS) };
    const other = await ask(this.#front, { path, headers, leaveMs: undefined, agent: this.#agent });
    if (other.status !== 404) this.wrong.push(`${path} of another tenant: ${other.status}`);
  }

  #look(
    kind: string,
    { nonce }: User,
    got: Got,
    leaveMs: number | undefined,
    isWholeNow: boolean,
  ): void {
    if (hasForeign(JSON.stringify(got), nonce)) {
      this.wrong.push(`${kind} of ${nonce}: ${JSON.stringify(got)}`);
    }
    if (isWholeNow) this.whole[kind] = (this.whole[kind] ?? 0) + 1;
    else if (leaveMs === undefined)
      this.wrong.push(`${kind}: not whole: ${got.status} ${got.text}`);
  }
}

const hasForeign = (text: string, nonce: string): boolean =>
  (text.match(NONCES) ?? []).some((each) => each !== nonce);
const isWhole = (text: string, nonce: string): boolean =>
  text.split(`\ndata: ${nonce}\n`).length > WORDS;

test.each(["HTTP/1.1", "HTTP/2"] as const)(
  "S06 law 18 law 21 (%s): 600 users of 200 tenants, 3,000 requests with random aborts: nothing of another, at neither end",
  async (version) => {
    const origin = await new EchoOrigin().start(version);
    const isHttp2 = version === "HTTP/2";
    const pool: PoolOptionsInput = {
      http2: isHttp2 ? "prior" : "off",
      socketsMax: isHttp2 ? 4 : 100,
      acquireMsMax: 30_000,
      // Streams that the origin breaks off are meant to.
      breaker: { failures: 1_000_000 },
    };
    const front = await startFront(
      { url: `http://127.0.0.1:${origin.port}` },
      // What names the tenant does not go upstream: it must keep tenants apart all the same.
      { lingerMs: 30, headersAllow: ["authorization", "cookie"] },
      { gateway: { tenantOf: ({ headers }) => String(headers["x-tenant"]) } },
      pool,
    );
    const storm = new Storm(front);
    await storm.rage();
    expect(storm.wrong).toEqual([]);
    expect(origin.foreign).toEqual([]);
    // It was a storm: of everything a lot, and most of it over connections that others had used.
    for (const [kind, countMin] of [
      ["GET", 200],
      ["POST", 200],
      ["stream", 300],
      ["resumed", 50],
      ["open", 100],
      ["run", 200],
      ["run again", 30],
    ] as const) {
      expect(storm.whole[kind], kind).toBeGreaterThan(countMin);
    }
    expect(origin.cuts).toBeGreaterThan(50);
    expect(origin.minted).toBeLessThan(storm.openReaders);
    expect(origin.connections).toBeLessThan(origin.requests * (isHttp2 ? 0.05 : 0.9));
    const { plain } = front.hub.metrics;
    expect(plain.sluice_upstream_double_releases_total).toBe(0);
    await vi.waitFor(
      () => {
        expect(plain.sluice_feeds).toBe(0);
        expect(plain.sluice_upstream_streams).toBe(0);
      },
      { timeout: 10_000 },
    );
  },
  60_000,
);
