import { Agent, createServer as createHttp1Server, request as httpRequest } from "node:http";
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { expect, onTestFinished, test, vi } from "vitest";
import { seededRandom } from "../../src/testing/random.ts";
import type { PoolOptionsInput } from "../../src/upstreams/pool/pool-options.ts";
import { startFront } from "../gateway/proxy/support.ts";
import type { Front } from "../gateway/proxy/support.ts";
import { listen } from "../upstreams/pool/origins.ts";

const TENANTS = 200;
const USERS = 3;
const CLIENTS = 48;
const REQUESTS = 3_000;
/** A nonce wherever it stands: `N`, the tenant, the user, chance. */
const NONCES = /N\d+_\d+_[0-9a-z]+N/g;
const WORDS = 30;

type Headers = Readonly<Record<string, string>>;

/** One who asks. All that is ever sent by it or meant for it carries its nonce. */
interface User {
  readonly tenant: number;
  readonly nonce: string;
  readonly headers: Headers;
  /** The last place that Sluice gave it in its stream, and its last run. */
  place?: string | undefined;
  run?: string | undefined;
}

/** What an answer of the origin needs, whichever version it is spoken in. */
interface Answer {
  head(headers: Record<string, string>): void;
  write(text: string): void;
  end(): void;
  /** Cuts the connection or the stream in the middle. */
  cut(): void;
  readonly isGone: boolean;
}

/** Echoes whose credentials it is shown, and notes whatever does not fit together. */
class EchoOrigin {
  readonly foreign: string[] = [];
  readonly #random = seededRandom(5);
  heard = 0;
  resumed = 0;
  cuts = 0;

  readonly serve = (path: string, headers: IncomingHttpHeaders, answer: Answer): void => {
    this.heard += 1;
    const nonce = (headers.authorization ?? "").slice("Bearer ".length);
    const lastEventId = headers["last-event-id"];
    const said = JSON.stringify([path, headers]);
    const nonces = said.match(NONCES) ?? [];
    if (nonces.length < 2 || nonces.some((each) => each !== nonce)) this.foreign.push(said);
    if (lastEventId !== undefined) {
      // Places that Sluice gives stay with Sluice; what comes is the origin's own, of the same user.
      if (lastEventId.startsWith(`${nonce}.`)) this.resumed += 1;
      else this.foreign.push(`Last-Event-ID: ${lastEventId} with ${nonce}`);
    }
    const isStream = path.startsWith("/stream") || path.startsWith("/run");
    answer.head({
      "content-type": isStream ? "text/event-stream" : "text/plain",
      "set-cookie": `echo=${nonce}`,
      "x-echo": nonce,
    });
    let next = Number(lastEventId?.split(".")[1] ?? 0) + 1;
    const whole = next + WORDS;
    const mayBreak = path.startsWith("/stream") && this.#random() < 0.2;
    const cutAt = mayBreak ? next + 1 + Math.floor(this.#random() * 10) : Infinity;
    const step = (): void => {
      if (answer.isGone) return;
      for (let part = this.#random() < 0.5 ? 10 : 3; part > 0 && next < whole; part -= 1) {
        if (next >= cutAt) {
          this.cuts += 1;
          return answer.cut();
        }
        answer.write(isStream ? `id: ${nonce}.${next}\ndata: ${nonce}\n\n` : `${nonce}|`);
        next += 1;
      }
      // A stream stays, as streams do, until its readers have gone.
      if (next < whole) setImmediate(step);
      else if (!path.startsWith("/stream")) answer.end();
    };
    step();
  };
}

async function startHttp1(origin: EchoOrigin): Promise<number> {
  const server = createHttp1Server((request, response) => {
    request.resume();
    response.on("error", () => {});
    origin.serve(request.url ?? "", request.headers, {
      head: (headers) => void response.writeHead(200, headers),
      write: (text) => void response.write(text),
      end: () => void response.end(),
      cut: () => void response.destroy(),
      get isGone() {
        return response.closed;
      },
    });
  });
  return listen(server);
}

async function startHttp2(origin: EchoOrigin): Promise<number> {
  const server = createHttp2Server();
  server.on("session", (session) => session.on("error", () => {}));
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    stream.resume();
    origin.serve(String(headers[":path"]), headers, {
      head: (its) => stream.respond({ ":status": 200, ...its }),
      write: (text) => void stream.write(text),
      end: () => void stream.end(),
      cut: () => stream.close(2),
      get isGone() {
        return stream.closed || stream.destroyed;
      },
    });
  });
  return listen(server);
}

/** What one request got: the status, and all that was said of it, head and body. */
interface Got {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** Sends, and reads until `isEnough` or the end; leaves after `leaveMs` whatever there is. */
function ask(
  front: Front,
  agent: Agent | false,
  its: { path: string; method?: string; headers: Headers; leaveMs: number | undefined },
  isEnough: (text: string) => boolean = () => false,
): Promise<Got> {
  const { path, method = "GET", headers, leaveMs } = its;
  return new Promise((resolve) => {
    let response: IncomingMessage | undefined;
    let text = "";
    const sent = httpRequest(`${front.url}${path}`, { agent, method, headers });
    // Destroyed once it is over it would take the socket from the next request.
    const leave = leaveMs === undefined ? undefined : setTimeout(() => sent.destroy(), leaveMs);
    const done = (): void => {
      clearTimeout(leave);
      const { statusCode = 0, headers: head = {} } = response ?? {};
      resolve({ status: statusCode, headers: head, text });
    };
    sent.on("error", () => {});
    sent.once("close", done);
    sent.once("response", (its) => {
      response = its;
      its.on("error", () => {});
      its.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        if (isEnough(text)) sent.destroy();
      });
    });
    sent.end(method === "POST" ? JSON.stringify(headers) : undefined);
  });
}

interface Tally {
  readonly foreign: string[];
  readonly statuses: Map<string, number>;
  readonly whole: Map<string, number>;
}

/** Requests of every kind, of users of all tenants, many of which leave in the middle. */
async function storm(front: Front): Promise<Tally> {
  const random = seededRandom(3);
  // Streams have connections of their own, which end with them.
  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  onTestFinished(() => agent.destroy());
  const users: User[] = Array.from({ length: TENANTS * USERS }, (_, index) => {
    const tenant = index % TENANTS;
    const nonce = `N${tenant}_${index}_${Math.floor(random() * 1e9).toString(36)}N`;
    const headers = {
      "x-tenant": `tenant-${tenant}`,
      authorization: `Bearer ${nonce}`,
      cookie: `session=${nonce}`,
    };
    return { tenant, nonce, headers };
  });
  const tally: Tally = { foreign: [], statuses: new Map(), whole: new Map() };
  const count = (map: Map<string, number>, key: string): unknown =>
    map.set(key, (map.get(key) ?? 0) + 1);
  const one = async (user: User): Promise<void> => {
    const { nonce } = user;
    const leaveMs = random() < 0.25 ? random() * 15 : undefined;
    const kind = random();
    const isFull = (text: string): boolean => text.split(`data: ${nonce}\n`).length > WORDS;
    const sse = { accept: "text/event-stream" };
    let name: string;
    let got: Got;
    if (kind < 0.35) {
      name = kind < 0.15 ? "posted" : "page";
      const method = name === "posted" ? "POST" : "GET";
      got = await ask(front, agent, { path: "/page", method, headers: user.headers, leaveMs });
      if (got.text === `${nonce}|`.repeat(WORDS)) count(tally.whole, name);
      else if (leaveMs === undefined) tally.foreign.push(`cut ${name}: ${got.status}`);
    } else if (kind < 0.75) {
      // Afresh; behind a place that Sluice gave; or with one of the origin, from before.
      const how = random();
      const own = how < 0.4 ? user.place : undefined;
      const last = own ?? (how > 0.8 ? `${nonce}.7` : undefined);
      name = own === undefined ? (last === undefined ? "stream" : "foreign") : "resumed";
      const headers = { ...user.headers, ...sse, ...(last && { "last-event-id": last }) };
      // Who comes back may have read all of it already.
      const ms = name === "resumed" ? (leaveMs ?? 200) : leaveMs;
      got = await ask(front, false, { path: "/stream", headers, leaveMs: ms }, isFull);
      if (isFull(got.text)) count(tally.whole, name);
      if (last === undefined) user.place = got.text.match(/^id: (.*)\n\n?data/m)?.[1] ?? user.place;
      user.place = [...got.text.matchAll(/^id: (\S+)$/gm)].at(-1)?.[1] ?? user.place;
    } else if (kind < 0.9 || user.run === undefined) {
      name = "run";
      const headers = { ...user.headers, "content-type": "application/json" };
      got = await ask(front, false, { path: "/run", method: "POST", headers, leaveMs });
      const { "sluice-run": run } = got.headers;
      if (typeof run === "string") user.run = run;
      if (isFull(got.text)) count(tally.whole, name);
    } else {
      name = "run again";
      const path = `/v1/runs/${user.run}`;
      got = await ask(front, false, { path, headers: { ...user.headers, ...sse }, leaveMs });
      if (isFull(got.text)) count(tally.whole, name);
      // Of another tenant it is as if it had never been.
      const other = { "x-tenant": `tenant-${(user.tenant + 1) % TENANTS}` };
      const elsewhere = await ask(front, agent, { path, headers: other, leaveMs: undefined });
      if (elsewhere.status !== 404) tally.foreign.push(`${path}: ${elsewhere.status}`);
    }
    count(tally.statuses, `${name} ${got.status}`);
    for (const seen of JSON.stringify([got.headers, got.text]).match(NONCES) ?? []) {
      if (seen !== nonce) tally.foreign.push(`${name}: ${seen} for ${nonce}`);
    }
  };
  let asked = 0;
  const client = async (): Promise<void> => {
    for (; asked < REQUESTS;) {
      asked += 1;
      await one(users[Math.floor(random() * users.length)] as User);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return tally;
}

for (const version of ["HTTP/1.1", "HTTP/2"] as const) {
  test(`S06 law 18 (${version}): 600 users of 200 tenants, 3,000 requests through the gateway, random aborts: nothing of another, at neither end`, async () => {
    const origin = new EchoOrigin();
    const isHttp2 = version === "HTTP/2";
    const port = await (isHttp2 ? startHttp2 : startHttp1)(origin);
    const pool: PoolOptionsInput = {
      http2: isHttp2 ? "prior" : "off",
      socketsMax: isHttp2 ? 4 : 100,
      acquireMsMax: 30_000,
      // Streams that the origin cuts are no failure of this test.
      breaker: { failures: 1e6 },
    };
    const front = await startFront(
      { url: `http://127.0.0.1:${port}` },
      { lingerMs: 30, headersAllow: ["authorization", "cookie"] },
      { gateway: { tenantOf: ({ headers }) => String(headers["x-tenant"]) } },
      pool,
    );
    const { foreign, statuses, whole } = await storm(front);
    console.log(version, Object.fromEntries(statuses), Object.fromEntries(whole), origin);
    expect(foreign).toEqual([]);
    expect(origin.foreign).toEqual([]);
  });
}
