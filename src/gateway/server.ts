import type { AddressInfo } from "node:net";
import { Drain } from "../core/drain.ts";
import type { DrainOptions, DrainProgress, DrainReport } from "../core/drain.ts";
import type { Hub } from "../core/hub.ts";
import { systemRuntime } from "../internal/clock.ts";
import { createAdmin } from "./admin.ts";
import { ServerCloser } from "./closing.ts";
import { isLoopbackHost } from "./config/host.ts";
import { gatewayOf } from "./gateway.ts";
import type { GatewayOptions } from "./gateway.ts";
import { createHttpServer } from "./http-server.ts";
import { listen } from "./listen.ts";
import { silentLogger } from "./logger.ts";
import type { Logger } from "./logger.ts";
import { setTlsIdentity } from "./tls.ts";
import type { TlsIdentity } from "./tls.ts";
import { UnackedWatch } from "./unacked-watch.ts";

/**
 * What is not gone so long after `close` is destroyed, in milliseconds. The whole exit takes 1 s at most:
 * with 800 ms it took 1,004 to 1,033 ms with 50 clients that read nothing (measured).
 */
const CLOSE_DEADLINE_MS = 500;
/** For the last answers of the admin listener, in milliseconds: they say how the drain ended. */
const ADMIN_CLOSE_MS = 250;

export interface ServerOptions {
  readonly host: string;
  /** 0 takes any free port; the URL tells which. */
  readonly port: number;
  readonly adminHost: string;
  readonly adminPort: number;
  /** The playground is on by default here. */
  readonly gateway?: GatewayOptions;
  /** A client that acknowledges nothing of what was sent for so long is evicted, in milliseconds. @defaultValue 6,000 */
  readonly unackedMs?: number;
  /** How long the public listener keeps a connection without a request, in milliseconds. @defaultValue 50,000 */
  readonly keepAliveMs?: number;
  /** The public listener speaks HTTPS with it. @defaultValue HTTP */
  readonly tls?: TlsIdentity | undefined;
  /** @defaultValue says nothing */
  readonly logger?: Logger;
}

export interface RunningServer {
  readonly url: string;
  readonly adminUrl: string;
  /** New connections of a public listener that speaks HTTPS get this certificate. */
  setTls(identity: TlsIdentity): void;
  /**
   * Fails readiness, then drains as `Gateway.drain` does; both listeners go on meanwhile. When the last
   * subscriber has gone the public one stops, without waiting for whoever has nothing under way;
   * requests that are under way have until the deadline. When it resolves nothing is open, the hub is
   * closed. A second call starts nothing, and gives the same promise.
   */
  drain(options?: Partial<DrainOptions>): Promise<DrainReport>;
  /** Resolves when a drain begins, whoever asked for it. */
  readonly draining: Promise<void>;
  /** How far it is; `serving` before it has begun. */
  progress(): DrainProgress;
  /**
   * The same at once: stops listening, tells every subscriber `pool_draining` and ends its response
   * cleanly; what is left after 500 ms is destroyed. Ends a drain that runs.
   */
  close(): Promise<void>;
}

/** Both listeners are listening when it resolves. Rejects with `ListenError`; then nothing is open. */
export async function startServer(hub: Hub, options: ServerOptions): Promise<RunningServer> {
  const logger = options.logger ?? silentLogger;
  const gateway = gatewayOf(hub, { hasPlayground: true, logger, ...options.gateway });
  const begun = Promise.withResolvers<void>();
  const runtime = options.gateway?.runtime ?? systemRuntime();
  const notBegun = new Drain(hub, runtime);
  const progress = (): DrainProgress => (gateway.draining ?? notBegun).progress;
  const admin = createAdmin(hub, {
    isReady: () => gateway.draining === undefined,
    isOverloaded: () => gateway.isOverloaded(),
    isOpen: isLoopbackHost(options.adminHost),
    logger,
    drain: { progress, start: () => begin().drained },
    pool: () => gateway.pool?.status(),
    runtime,
  });
  const { keepAliveMs, tls } = options;
  const publicServer = createHttpServer(gateway.handler, hub, { keepAliveMs, tls, logger });
  const adminServer = createHttpServer(admin.handler, hub);
  gateway.watch(publicServer);
  const publicCloser = new ServerCloser(publicServer);
  const adminCloser = new ServerCloser(adminServer);
  let url: string;
  let adminUrl: string;
  try {
    url = await listen(publicServer, options.host, options.port);
    adminUrl = await listen(adminServer, options.adminHost, options.adminPort);
  } catch (error) {
    admin.close();
    publicServer.close();
    throw error;
  }
  const unackedWatch = new UnackedWatch({
    hub,
    logger,
    runtime,
    ...(options.unackedMs !== undefined && { unackedMs: options.unackedMs }),
  });
  unackedWatch.start((publicServer.address() as AddressInfo).port);

  const drainPublic = async (drained: Promise<DrainReport>): Promise<DrainReport> => {
    const report = await drained;
    await publicCloser.close(Math.max(progress().deadlineInMs, CLOSE_DEADLINE_MS));
    unackedWatch.stop();
    gateway.closeUpstreams();
    await hub.close();
    return report;
  };
  // Last, so that whoever waits there is told how the drain ended.
  const closeAdmin = async (drained: Promise<DrainReport>): Promise<DrainReport> => {
    const report = await drained;
    admin.close();
    await adminCloser.close(ADMIN_CLOSE_MS);
    return report;
  };
  let ending: { drained: Promise<DrainReport>; closed: Promise<DrainReport> } | undefined;
  const begin = (its?: Partial<DrainOptions>): NonNullable<typeof ending> => {
    if (ending !== undefined) return ending;
    const drained = drainPublic(gateway.drain(its));
    ending = { drained, closed: closeAdmin(drained) };
    begun.resolve();
    return ending;
  };
  const close = async (): Promise<void> => {
    const { closed } = begin();
    void publicCloser.close(CLOSE_DEADLINE_MS);
    publicCloser.hasten(CLOSE_DEADLINE_MS);
    void gateway.draining?.endNow();
    await closed;
  };
  return {
    url,
    adminUrl,
    drain: (its) => begin(its).closed,
    draining: begun.promise,
    progress,
    setTls: (identity) => setTlsIdentity(publicServer, identity),
    close,
  };
}
