import type { IncomingMessage } from "node:http";
import { SluiceError } from "../../core/errors.ts";
import { checkIdempotencyKey } from "../../core/idempotency.ts";
import type { UpstreamResponse } from "../../upstreams/message.ts";
import { fromSource } from "../../upstreams/runs/producers.ts";
import type { RunRegistry, StartRun } from "../../upstreams/runs/registry.ts";
import type { Run } from "../../upstreams/runs/run.ts";
import { openSource } from "../../upstreams/source/source.ts";
import type { Requester } from "../../upstreams/source/source.ts";
import { ClientGone, readBody } from "../body.ts";
import { fingerprintOf } from "../ids.ts";
import { attachToRun } from "../runs.ts";
import { streamHead } from "./forward-headers.ts";
import { sourceOptions, upstreamRequest } from "./passage.ts";
import type { Passage } from "./passage.ts";
import { headOf, keepHead } from "./run-heads.ts";
import { keyOf } from "./sharing.ts";

type Idempotency = NonNullable<StartRun["idempotency"]>;

/** A request that may start a run, and must not start a second one. */
export interface KeyedPassage {
  readonly body: Uint8Array;
  readonly idempotency: Idempotency;
}

/**
 * Reads a request that carries an `Idempotency-Key`. Undefined for one that does not. Credentials are
 * part of what the key is for: nobody gets at another's run by guessing its key (S06). Rejects with
 * `idempotency_key_invalid`, or `batch_too_large` for a body that cannot be compared.
 */
export async function keyedPassage(passage: Passage): Promise<KeyedPassage | undefined> {
  const { exchange, route, path } = passage;
  const { request, response, services } = exchange;
  const { "idempotency-key": key } = request.headers;
  if (typeof key !== "string" || request.method !== "POST") return undefined;
  checkIdempotencyKey(key);
  const bytesMax = services.batchBytesMax;
  const body = await readBody(request, response, { bytesMax, code: "batch_too_large" });
  const scope = keyOf([route.origin.key, path, ...credentialsOf(request)]);
  const fingerprint = fingerprintOf(request.headers["content-type"] ?? "", "", body);
  return { body, idempotency: { key, fingerprint, scope } };
}

/** Names under which credentials are sent: `Cookie`, `Authorization`, `X-Api-Key` and whatever is like them. */
const CREDENTIAL = /auth|cookie|credential|key|secret|session|token/;

/** Names and values, in the order of the names. */
function credentialsOf({ headers }: IncomingMessage): string[] {
  return Object.entries(headers)
    .filter(([name]) => CREDENTIAL.test(name) && name !== "idempotency-key")
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([name, value]) => [name, String(value)]);
}

/**
 * Makes this request the only one of its key that is on its way, until the returned function is called.
 * Undefined if the run of the key runs already: its client reads that from its beginning now. Rejects
 * with `idempotency_conflict` if the key was used for another request, and with `ClientGone`.
 */
export async function claimKey(
  passage: Passage,
  { idempotency }: KeyedPassage,
): Promise<(() => void) | undefined> {
  const { exchange, proxy } = passage;
  const { tenant } = exchange;
  const { underWay } = proxy;
  const key = keyOf([tenant, idempotency.scope, idempotency.key]);
  // Until the origin has answered the first one, nobody knows whether it is a run.
  for (let first = underWay.get(key); first !== undefined; first = underWay.get(key)) await first;
  // From here to the claim nothing is awaited: of two seconds only one may be the next first.
  const run = exchange.services.runs.find(tenant, idempotency);
  if (run === undefined) {
    // It has given up waiting: nothing is begun for nobody.
    if (!exchange.request.socket.writable) throw new ClientGone("the client left");
    const answered = Promise.withResolvers<void>();
    underWay.set(key, answered.promise);
    return () => {
      if (underWay.get(key) === answered.promise) underWay.delete(key);
      answered.resolve();
    };
  }
  await readRun(passage, run);
  return undefined;
}

/** The answer is an event stream: it becomes a run, whose first reader is who has asked. */
export async function answerRun(
  passage: Passage,
  upstream: UpstreamResponse,
  keyed: KeyedPassage | undefined,
): Promise<void> {
  const { exchange, proxy, route } = passage;
  const { runtime, metrics } = proxy;
  let started: ReturnType<RunRegistry["start"]>;
  try {
    if (proxy.isOver()) throw new SluiceError("shutting_down", "this gateway starts no more runs");
    started = exchange.services.runs.start({
      tenant: exchange.tenant,
      idempotency: keyed?.idempotency,
      options: {
        onReadersGone: route.onReadersGone,
        ttlMs: route.runTtlMs,
        isQuiet: route.control === "comments",
      },
      produce: fromSource((sink) =>
        openSource({
          pool: requesterOf(passage, upstream),
          request: upstreamRequest(passage, { body: keyed?.body }),
          sink,
          runtime,
          metrics,
          options: {
            ...sourceOptions(route, mayBeSentAgain(passage, keyed)),
            resumesOnlyById: true,
            onEnd: "end",
          },
        }),
      ),
    });
  } catch (error) {
    upstream.body.on("error", ignore).destroy();
    throw error;
  }
  const { run, isNew } = started;
  // The log had no room for it, say: then it has never asked for the answer.
  void run.ended.then(() => upstream.body.on("error", ignore).destroy());
  if (isNew) keepHead(run, streamHead(upstream.headers, true));
  else upstream.body.on("error", ignore).destroy();
  await readRun(passage, run);
}

/**
 * What breaks is asked for again behind the last id that came, if the origin can tell that it is the same
 * request: by a key that it was given (RFC 9110, 9.2.2). Any other would have the work done twice.
 */
function mayBeSentAgain({ headers }: Passage, keyed: KeyedPassage | undefined): boolean {
  return keyed !== undefined && headers.some(([name]) => name === "idempotency-key");
}

/** The answer that is there already, then whatever the pool brings. */
function requesterOf({ proxy }: Passage, upstream: UpstreamResponse): Requester {
  let first: UpstreamResponse | undefined = upstream;
  return {
    request(request) {
      if (first === undefined) return proxy.pool.request(request);
      const answer = Promise.resolve(first);
      first = undefined;
      return answer;
    },
  };
}

/** Makes the response a reader of the run, from its beginning. Who has sent a POST cannot come back by itself: it goes on at the link. */
function readRun({ exchange }: Passage, run: Run): Promise<void> {
  return attachToRun(exchange, run, {
    start: "earliest",
    headers: headOf(run),
    isResumable: false,
  });
}

function ignore(): void {}
