import type { IncomingMessage, ServerResponse } from "node:http";
import { SluiceError } from "../../core/errors.ts";
import type { Hub } from "../../core/hub.ts";
import type { Runtime } from "../../internal/clock.ts";
import { carriesStream, whenSocketAssigned } from "../../transports/sse-http1.ts";
import type { HeaderList } from "../../upstreams/message.ts";
import type { PoolOptionsInput } from "../../upstreams/pool/pool-options.ts";
import { UpstreamPool } from "../../upstreams/pool/pool.ts";
import { hasBody } from "../body.ts";
import type { Exchange } from "../exchange.ts";
import { holdRequests } from "../held.ts";
import { randomId } from "../ids.ts";
import type { Logger } from "../logger.ts";
import { forwardedHeaders, hasComeRound } from "./forward-headers.ts";
import { forward } from "./forward.ts";
import { routeFinder } from "./match.ts";
import type { Passage, ProxyServices } from "./passage.ts";
import { readFeed } from "./read-feed.ts";
import type { ProxyRoute } from "./route.ts";
import { sharingOf } from "./sharing.ts";
import { Shelves, whenceOf } from "./shelf.ts";

/** What stands behind a gateway. */
export interface UpstreamsOptions {
  /** The first whose pattern matches counts. */
  readonly routes: readonly ProxyRoute[];
  readonly pool?: PoolOptionsInput;
}

/** Everything that is not Sluice's own goes to the origins that the routes name. */
export class Proxy {
  readonly pool: UpstreamPool;
  readonly #services: ProxyServices;
  /** Requests that are not answered yet; streams are, once they run. */
  #passagesNow = 0;
  /** Of those, what may turn out to be a run. */
  readonly #mayBeRuns = new Set<ServerResponse>();
  #isOver = false;
  #isClosing = false;
  readonly #find: (path: string) => ProxyRoute | undefined;
  /** Nobody can know it, so a request that carries it was sent from here. */
  readonly #pseudonym = `sluice-${randomId().slice(0, 12)}`;

  constructor(hub: Hub, runtime: Runtime, logger: Logger, options: UpstreamsOptions) {
    const { metrics } = hub;
    this.pool = new UpstreamPool({ runtime, metrics, logger, ...options.pool });
    this.#find = routeFinder(options.routes);
    this.#services = {
      hub,
      runtime,
      metrics,
      logger,
      pool: this.pool,
      shelves: new Shelves(),
      underWay: new Map(),
      isOver: () => this.#isOver,
    };
  }

  /** The route of a path, without its query. Undefined: it is nobody's. Throws `request_target_invalid`. */
  find(path: string): ProxyRoute | undefined {
    return this.#find(path);
  }

  /** Requests of which the origin has not said yet whether they are runs: a drain waits for them as for those. */
  get unansweredNow(): number {
    let count = 0;
    for (const { headersSent } of this.#mayBeRuns) if (!headersSent) count += 1;
    return count;
  }

  /** From now on no run begins: it would have no time to say how it ends. */
  lastCall(): void {
    this.#isOver = true;
  }

  /** Answers a request that has passed the guard. Rejects with what it is refused with. */
  async handle(exchange: Exchange, route: ProxyRoute): Promise<void> {
    const { request, response, services } = exchange;
    if (request.headers.upgrade?.toLowerCase() === "websocket") {
      throw new SluiceError("upgrade_unsupported", "WebSocket connections are not proxied");
    }
    if (hasComeRound(request, this.#pseudonym)) {
      throw new SluiceError("upstream_loop", `${route.origin.key} leads back to this gateway`);
    }
    // If a stream will run, what is pipelined behind this request must not have been done.
    const release = holdRequests(request.socket);
    // If the connection ends before, this is never resumed.
    await new Promise<void>((resolve) => whenSocketAssigned(response, resolve));
    this.#passagesNow += 1;
    if (mayBecomeRun(request)) this.#mayBeRuns.add(response);
    try {
      const passage: Passage = {
        exchange,
        route,
        proxy: this.#services,
        path: request.url ?? "/",
        headers: withoutOwnPlace(
          forwardedHeaders(request, {
            pseudonym: this.#pseudonym,
            headersAllow: route.headersAllow,
            isTrusted: (address) => services.door.isTrusted(address),
          }),
        ),
      };
      if (asksForStream(passage)) await readFeed(passage);
      else if (await isAdmitted(passage)) await forward(passage);
    } finally {
      this.#passagesNow -= 1;
      this.#mayBeRuns.delete(response);
      if (this.#isClosing) this.closeWhenIdle();
      release(!carriesStream(request.socket));
    }
  }

  /** Closes as soon as no request is under way. */
  closeWhenIdle(): void {
    this.#isClosing = true;
    if (this.#passagesNow === 0) this.close();
  }

  /** Ends every upstream stream and closes every socket. */
  close(): void {
    // A feed that is closed leaves its shelf: a map may be changed while it is walked.
    for (const feed of this.#services.shelves.all()) feed.close();
    this.pool.close();
  }
}

/** The stream that answers any other request than a plain GET is a run. */
function mayBecomeRun(request: IncomingMessage): boolean {
  if (request.method === "HEAD") return false;
  return request.method !== "GET" || hasBody(request);
}

/** What names event streams is let in as they are, before its origin has done anything for it (R25). */
async function isAdmitted({ exchange, route }: Passage): Promise<boolean> {
  const { request, response, services } = exchange;
  if (!mayBecomeRun(request) || !namesStreams(request.headers.accept ?? "")) return true;
  return services.door.admits(request, response, route.control === "comments");
}

function namesStreams(accept: string): boolean {
  return /(?:^|,)\s*text\/event-stream\s*(?:[;,]|$)/i.test(accept);
}

/** By name; or by a wildcard, which is what everybody sends for everything, where it was a stream before. */
function asksForStream({ exchange, route, path, headers, proxy }: Passage): boolean {
  const { request, tenant } = exchange;
  if (request.method !== "GET" || hasBody(request)) return false;
  const { accept = "*/*" } = request.headers;
  if (namesStreams(accept)) return true;
  if (accept.trim() !== "*/*") return false;
  // Only an event stream of Sluice's can have told it its place.
  if (whenceOf(String(request.headers["last-event-id"] ?? "")).kind === "own") return true;
  return proxy.shelves.isStream(tenant, sharingOf(route, path, headers).key);
}

/** A place that Sluice has given says nothing to the origin, or worse (law 22). */
function withoutOwnPlace(headers: HeaderList): HeaderList {
  return headers.filter(([name, id]) => name !== "last-event-id" || whenceOf(id).kind !== "own");
}
