import type { IncomingMessage, ServerResponse } from "node:http";
import type { Server } from "node:net";
import Router from "find-my-way";
import { Drain } from "../core/drain.ts";
import type { DrainOptions, DrainReport } from "../core/drain.ts";
import { SluiceError } from "../core/errors.ts";
import type { Hub } from "../core/hub.ts";
import type { Runtime } from "../internal/clock.ts";
import { systemRuntime } from "../internal/clock.ts";
import { abortStream } from "../transports/sse-http1.ts";
import type { UpstreamPool } from "../upstreams/pool/pool.ts";
import { runsOf } from "../upstreams/runs/registry.ts";
import type { RunsOptions } from "../upstreams/runs/run-options.ts";
import { acknowledge } from "./ack.ts";
import { ClientGone } from "./body.ts";
import { logEnds } from "./connection-log.ts";
import { Door } from "./door.ts";
import type { DoorOptions } from "./door-options.ts";
import { checkDrainOptions } from "./drain-options.ts";
import type { Exchange, Services } from "./exchange.ts";
import { answerOptions, guard, setCorsHeaders } from "./guard.ts";
import type { GuardOptions } from "./guard.ts";
import { whenReleased } from "./held.ts";
import { DEFAULT_TENANT } from "./hub.ts";
import type { LocalHub } from "./hub.ts";
import { closeBehind, numberRequest } from "./last-answer.ts";
import { silentLogger } from "./logger.ts";
import type { Logger } from "./logger.ts";
import { loadPlayground } from "./playground.ts";
import { answerProblem, RefusedError, toSluiceError } from "./problem.ts";
import { Proxy } from "./proxy/proxy.ts";
import type { UpstreamsOptions } from "./proxy/proxy.ts";
import { publish } from "./publish.ts";
import { PublishQueue } from "./publish-queue.ts";
import { readRun, stopRun } from "./runs.ts";
import { subscribeEvents, subscribeTopic } from "./subscribe.ts";
import { declareTopic, deleteTopic } from "./topics.ts";

export interface GatewayOptions {
  /** Origins whose pages may call, as browsers write them (`https://example.org`), or `*`. @defaultValue none */
  readonly corsOrigins?: readonly string[];
  /**
   * No authentication stands in front: only loopback names in `Host`, and only pages of this host or
   * of `corsOrigins`. Any website could otherwise reach a developer's local port. @defaultValue true
   */
  readonly isOpen?: boolean;
  /** Who the request acts for. Throws a `SluiceError` to refuse it. @defaultValue "default" for all */
  readonly tenantOf?: (request: IncomingMessage) => string;
  /** What `retry:` tells clients, in milliseconds, jittered by 50 % either way. @defaultValue 2,000 */
  readonly retryMs?: number;
  /** Body of an NDJSON batch, in bytes. @defaultValue 8 MiB */
  readonly batchBytesMax?: number;
  /** How many runs there may be. @defaultValue see `RunsOptions` */
  readonly runs?: Partial<RunsOptions>;
  /** Whom to let in, and how to refuse others. @defaultValue see `DoorOptions` */
  readonly admission?: Partial<DoorOptions>;
  /** How `drain` goes about it, where its own options do not say. @defaultValue see `DrainOptions` */
  readonly drain?: Partial<DrainOptions>;
  /** Serves the playground at `/`, in open mode only. @defaultValue false */
  readonly hasPlayground?: boolean;
  /** Where requests go that are not for Sluice itself. @defaultValue nowhere */
  readonly upstreams?: UpstreamsOptions;
  /** @defaultValue says nothing */
  readonly logger?: Logger;
  /** @defaultValue the real clock and chance */
  readonly runtime?: Runtime;
}

/** Serves a hub over HTTP on whatever server it is mounted on. */
export interface Gateway {
  /**
   * Answers one request. For `node:http`, Express (`app.use(gateway.handler)`, ahead of body parsers)
   * and Fastify (hijacked). `next`, if given, is called for paths that are not Sluice's.
   */
  readonly handler: (
    request: IncomingMessage,
    response: ServerResponse,
    next?: (error?: unknown) => void,
  ) => void;
  /**
   * Opens no stream from now on, but for requests whose origin makes runs of them; those, publishes
   * and ACKs are still answered, with `Connection: close`. Says goodbye to every connection of the hub
   * (`event: close`, `pool_draining`), idle ones first, ends each when its client has acknowledged or
   * its time is over, and waits for open runs. When it resolves none is left, which is half a second
   * behind `deadlineMs` at the latest; every request is refused from then on. A second call starts
   * nothing, and gives the same promise. Throws `parameter_invalid` for an option out of its bounds.
   */
  drain(options?: Partial<DrainOptions>): Promise<DrainReport>;
}

/** What the servers of this package need beyond it. */
export interface DrainingGateway extends Gateway {
  /** Counts the sockets of `server` from their accept on, not from their first request. */
  watch(server: Server): void;
  /** The event loop or memory is beyond its bound: readiness should fail. */
  isOverloaded(): boolean;
  /** Undefined until `drain` is called. */
  readonly draining: Drain | undefined;
  /** Undefined where nothing is proxied. */
  readonly pool: UpstreamPool | undefined;
  /** Ends all upstream streams and closes their sockets. Before the hub is closed, when nobody reads any more. */
  closeUpstreams(): void;
}

type Route = (exchange: Exchange) => void | Promise<void>;
/** What may be done to a resource. One line registers it; `OPTIONS`, `Allow` and 405 follow from it. */
type Resource = Readonly<Partial<Record<"GET" | "HEAD" | "POST" | "PUT" | "DELETE", Route>>>;

const RESOURCES: Readonly<Record<string, Resource>> = {
  "/v1/topics/*": {
    GET: subscribeTopic,
    HEAD: subscribeTopic,
    POST: publish,
    PUT: declareTopic,
    DELETE: deleteTopic,
  },
  "/v1/events": { GET: subscribeEvents, HEAD: subscribeEvents },
  "/v1/connections/:id/ack": { POST: acknowledge },
  "/v1/runs/:id": { GET: readRun, HEAD: readRun, DELETE: stopRun },
};

/** Serves what `createHub` made. Nothing is listening when it returns: mount its `handler`. */
export function createGateway(hub: LocalHub, options: GatewayOptions = {}): Gateway {
  return gatewayOf(hub.core, options);
}

/** The same for a hub of the core. */
export function gatewayOf(hub: Hub, options: GatewayOptions = {}): DrainingGateway {
  const { tenantOf, isOpen = true, corsOrigins = [], logger = silentLogger } = options;
  const hasPlayground = isOpen && (options.hasPlayground ?? false);
  const guardOptions: GuardOptions = { isOpen, corsOrigins };
  const runtime = options.runtime ?? systemRuntime();
  checkDrainOptions(options.drain);
  let draining: Drain | undefined;
  const isDraining = (): boolean => draining !== undefined;
  if (logger !== silentLogger) hub.onConnectionEnd(logEnds(logger, runtime));
  const retryMs = options.retryMs ?? 2_000;
  const door = new Door(options.admission ?? {}, retryMs, runtime, hub.metrics, logger);
  // Whoever is in is not sent away while nobody is let in.
  hub.pauseRotation = () => door.isOpen;
  const runs = runsOf(hub, runtime);
  runs.configure(options.runs ?? {});
  const services: Services = {
    hub,
    runs,
    door,
    publishes: new PublishQueue(runtime),
    logger,
    hasPlayground,
    runtime,
    retryMs,
    batchBytesMax: options.batchBytesMax ?? 8 * 1024 * 1024,
    isDraining,
  };
  const proxy =
    options.upstreams === undefined
      ? undefined
      : new Proxy(hub, runtime, logger, options.upstreams);
  const lastCall = (): void => {
    proxy?.lastCall();
    runs.shutdown();
  };
  const find = routerOf({ ...RESOURCES, ...(hasPlayground ? loadPlayground() : {}) });

  const handle = async (
    request: IncomingMessage,
    response: ServerResponse,
    next: ((error?: unknown) => void) | undefined,
  ): Promise<void> => {
    const { url = "/", method = "GET" } = request;
    const mark = url.indexOf("?");
    const path = mark === -1 ? url : url.slice(0, mark);
    const found = find(path);
    const passage = found === undefined ? proxy?.find(path) : undefined;
    if (found === undefined && passage === undefined && next !== undefined) return next();
    guard(request, guardOptions);
    setCorsHeaders(request, response, guardOptions);
    if (door.refusesExcess(request, response)) return;
    if (draining?.isDrained === true) {
      throw new SluiceError("shutting_down", "this gateway accepts no more requests");
    }
    if (url === "*") return answerOptions(request, response, METHODS);
    if (proxy !== undefined && passage !== undefined) {
      const tenant = tenantOf?.(request) ?? DEFAULT_TENANT;
      return proxy.handle({ services, request, response, tenant, topic: "", query: "" }, passage);
    }
    if (found === undefined) {
      throw new SluiceError("not_found", `nothing is at ${JSON.stringify(path.slice(0, 80))}`);
    }
    const methods = [...Object.keys(found.resource), "OPTIONS"];
    if (method === "OPTIONS") return answerOptions(request, response, methods);
    const route = Object.hasOwn(found.resource, method)
      ? found.resource[method as keyof Resource]
      : undefined;
    if (route === undefined) throw methodNotAllowed(method, methods);
    await route({
      services,
      request,
      response,
      tenant: tenantOf?.(request) ?? DEFAULT_TENANT,
      topic: found.rest,
      query: mark === -1 ? "" : url.slice(mark + 1),
    });
  };

  return {
    handler(request, response, next) {
      // What follows a stream on its socket can never be answered in order: no second stream (F22).
      if (abortStream(request.socket, "protocol_error")) return;
      numberRequest(request, response);
      door.requested(response);
      whenReleased(request, () => {
        handle(request, response, next).catch((thrown: unknown) => {
          if (thrown instanceof ClientGone) return;
          if (isDraining()) closeBehind(response);
          answerProblem(request, response, toSluiceError(thrown, logger), hub.metrics);
        });
      });
    },
    watch: (server) => door.watch(server),
    isOverloaded: () => door.isOverloaded,
    get draining() {
      return draining;
    },
    pool: proxy?.pool,
    closeUpstreams: () => proxy?.close(),
    drain(its = {}) {
      checkDrainOptions(its);
      door.drain();
      draining ??= new Drain(
        hub,
        runtime,
        { ...options.drain, ...its },
        { busyNow: () => runs.openNow + (proxy?.unansweredNow ?? 0), lastCall },
      );
      const drained = draining.start();
      // Nobody reads a stream any more; what else is under way goes on to its end.
      void drained.then(() => proxy?.closeWhenIdle());
      return drained;
    },
  };
}

const METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"];
/** Longer than any path that Node's header limit lets through: a long name is refused as a name. */
const PATH_LENGTH_MAX = 64 * 1024;

interface Found {
  readonly resource: Resource;
  /** What the wildcard or parameter stands for, decoded. */
  readonly rest: string;
}

/** Methods are not the router's business, because a path that exists answers 405 and OPTIONS. */
function routerOf(
  resources: Readonly<Record<string, Resource>>,
): (path: string) => Found | undefined {
  const unused = (): void => {};
  const router = Router({ maxParamLength: PATH_LENGTH_MAX, onBadUrl: refuseTarget });
  for (const [path, resource] of Object.entries(resources))
    router.on("GET", path, unused, resource);
  return (path) => {
    const found = router.find("GET", path);
    if (found === null) return undefined;
    if (found.handler !== unused) return { resource: BAD_TARGET, rest: "" };
    const { "*": rest, id } = found.params;
    return { resource: found.store as Resource, rest: rest ?? id ?? "" };
  };
}

function refuseTarget(): never {
  throw new SluiceError("request_target_invalid", "the percent-encoding of the path is broken");
}

const BAD_TARGET: Resource = {
  GET: refuseTarget,
  HEAD: refuseTarget,
  POST: refuseTarget,
  PUT: refuseTarget,
  DELETE: refuseTarget,
};

function methodNotAllowed(method: string, methods: readonly string[]): RefusedError {
  const error = new SluiceError(
    "method_not_allowed",
    `${method} is not one of ${methods.join(", ")}`,
  );
  return new RefusedError(error, { headers: { Allow: methods.join(", ") } });
}
