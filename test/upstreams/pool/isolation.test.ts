import type { IncomingHttpHeaders } from "node:http";
import { expect, test } from "vitest";
import { seededRandom } from "../../../src/testing/random.ts";
import type { UpstreamPool } from "../../../src/upstreams/pool/pool.ts";
import { SOCKET_STATES } from "../../../src/upstreams/pool/socket-state.ts";
import { get, h2Origin } from "./origins.ts";
import { http1Origin, openPool, until } from "./pool-world.ts";
import type { PoolWorld } from "./pool-world.ts";

const TENANTS = 200;
const CLIENTS = 60;
const REQUESTS = 4_000;

/** What an origin has heard that it must not have heard: headers of a request that is not this one. */
class Listener {
  readonly foreign: string[] = [];
  heardTotal = 0;

  hear(path: string, headers: IncomingHttpHeaders): string {
    this.heardTotal += 1;
    const nonce = path.slice(path.lastIndexOf("/") + 1);
    const isFirst = path.startsWith("/first/");
    const said = [headers["last-event-id"], headers.authorization, headers.cookie];
    const wanted = [isFirst ? undefined : nonce, `Bearer ${nonce}`, `nonce=${nonce}`];
    if (JSON.stringify(said) !== JSON.stringify(wanted))
      this.foreign.push(`${path}: ${said.join(", ")}`);
    return nonce;
  }
}

/**
 * One client after another: some read to the end, some go after a part, before the head, or while they
 * wait. Each byte of what a client reads is its own nonce.
 */
async function storm(pool: UpstreamPool, port: number): Promise<string[]> {
  const random = seededRandom(7);
  const foreign: string[] = [];
  let asked = 0;
  const client = async (): Promise<void> => {
    while (asked < REQUESTS) {
      asked += 1;
      const nonce = `${asked}.${Math.floor(random() * 1e9).toString(36)}`;
      const tenant = `tenant-${Math.floor(random() * TENANTS)}`;
      const isFirst = random() < 0.3;
      const resume = isFirst ? [] : ([["last-event-id", nonce]] as const);
      const headers = [
        ...resume,
        ["authorization", `Bearer ${nonce}`],
        ["cookie", `nonce=${nonce}`],
      ] as const;
      const control = new AbortController();
      const how = random();
      if (how < 0.1) setTimeout(() => control.abort(new Error("gone")), random() * 5);
      const path = `/${isFirst ? "first" : "again"}/${tenant}/${nonce}`;
      const request = get(port, path, { headers, tenant, signal: control.signal });
      try {
        const { body } = await pool.request(request);
        let text = "";
        for await (const chunk of body) {
          text += String(chunk);
          if (how > 0.8 && text.length > 100) break;
        }
        for (const word of text.split("|").slice(0, -1)) if (word !== nonce) foreign.push(word);
        if (how >= 0.1 && how <= 0.8 && text.length !== wholeLength(nonce)) foreign.push("cut");
      } catch (error) {
        if ((error as Error).message !== "gone") throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return foreign;
}

const WORDS = 40;
const wholeLength = (nonce: string): number => (nonce.length + 1) * WORDS;

async function expectQuiet({ pool, metrics, status }: PoolWorld): Promise<void> {
  expect(status()).toMatchObject({ streamsNow: 0, waiting: 0, tenants: 0 });
  expect(metrics.plain.sluice_upstream_streams).toBe(0);
  expect(metrics.plain.sluice_upstream_waiting).toBe(0);
  expect(metrics.plain.sluice_upstream_double_releases_total).toBe(0);
  pool.close();
  await until(() => {
    for (const state of SOCKET_STATES) {
      expect([state, metrics.get("sluice_upstream_sockets", state)]).toEqual([state, 0]);
    }
  });
}

test("S06 U15 R14 laws 22 and 23 (HTTP/1.1): 200 tenants, 4,000 requests, recycled sockets: nothing of another", async () => {
  const listener = new Listener();
  const random = seededRandom(11);
  const origin = await http1Origin((request, response) => {
    const nonce = listener.hear(request.url ?? "", request.headers);
    response.on("error", () => {});
    const parts = random() < 0.5 ? 1 : 4;
    const send = (part: number): void => {
      if (part === parts) return void response.end();
      response.write(`${nonce}|`.repeat(WORDS / parts));
      setImmediate(send, part + 1);
    };
    send(0);
  });
  const world = openPool({ socketsMax: 12, acquireMsMax: 60_000 });
  expect(await storm(world.pool, origin.port)).toEqual([]);
  expect(listener.foreign).toEqual([]);
  // Sockets were shared, and many were lost under way.
  expect(origin.acceptedTotal).toBeGreaterThan(100);
  expect(origin.acceptedTotal).toBeLessThan(listener.heardTotal * 0.8);
  expect(origin.sockets.size).toBeLessThanOrEqual(13);
  await expectQuiet(world);
}, 60_000);

test("S06 U15 R14 laws 22 and 23 (HTTP/2): 200 tenants, 4,000 requests, streams of few sessions: nothing of another", async () => {
  const listener = new Listener();
  const random = seededRandom(13);
  const origin = await h2Origin((stream, path, headers) => {
    const nonce = listener.hear(path, headers);
    stream.respond({ ":status": 200 });
    const parts = random() < 0.5 ? 1 : 4;
    const send = (part: number): void => {
      if (stream.destroyed || stream.closed) return;
      if (part === parts) return void stream.end();
      stream.write(`${nonce}|`.repeat(WORDS / parts));
      setImmediate(send, part + 1);
    };
    send(0);
  });
  const world = openPool({ socketsMax: 12, acquireMsMax: 60_000, http2: "prior" });
  expect(await storm(world.pool, origin.port)).toEqual([]);
  expect(listener.foreign).toEqual([]);
  expect(world.status().http).toBe("2");
  await expectQuiet(world);
}, 60_000);
