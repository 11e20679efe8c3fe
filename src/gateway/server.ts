import type { Server } from "node:http";
import type { Hub } from "../core/hub.ts";
import { createAdmin } from "./admin.ts";
import { isLoopbackHost } from "./config/host.ts";
import { gatewayOf } from "./gateway.ts";
import type { GatewayOptions } from "./gateway.ts";
import { createHttpServer } from "./http-server.ts";
import { listen } from "./listen.ts";
import { silentLogger } from "./logger.ts";
import type { Logger } from "./logger.ts";

/**
 * What is not gone so long after `close` is destroyed, in milliseconds. The whole exit takes 1 s at most:
 * with 800 ms it took 1,004 to 1,033 ms with 50 clients that read nothing (measured).
 */
const CLOSE_DEADLINE_MS = 500;

export interface ServerOptions {
  readonly host: string;
  /** 0 takes any free port; the URL tells which. */
  readonly port: number;
  readonly adminHost: string;
  readonly adminPort: number;
  /** The playground is on by default here. */
  readonly gateway?: GatewayOptions;
  /** @defaultValue says nothing */
  readonly logger?: Logger;
}

export interface RunningServer {
  readonly url: string;
  readonly adminUrl: string;
  /**
   * Fails readiness, stops listening, tells every subscriber `pool_draining` and ends its response
   * cleanly; what is left after 500 ms is destroyed. When it resolves nothing is open, the hub is closed.
   */
  close(): Promise<void>;
}

/** Both listeners are listening when it resolves. Rejects with `ListenError`; then nothing is open. */
export async function startServer(hub: Hub, options: ServerOptions): Promise<RunningServer> {
  const logger = options.logger ?? silentLogger;
  const gateway = gatewayOf(hub, { hasPlayground: true, logger, ...options.gateway });
  let isReady = true;
  const admin = createAdmin(hub, {
    isReady: () => isReady,
    isOpen: isLoopbackHost(options.adminHost),
    logger,
  });
  const publicServer = createHttpServer(gateway.handler, hub);
  const adminServer = createHttpServer(admin.handler, hub);
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
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    isReady = false;
    const closed = closeServer(publicServer);
    gateway.drain();
    await closed;
    await hub.close();
    admin.close();
    adminServer.closeAllConnections();
    await closeServer(adminServer);
  };
  return { url, adminUrl, close: () => (closing ??= close()) };
}

async function closeServer(server: Server): Promise<void> {
  const deadline = setTimeout(() => server.closeAllConnections(), CLOSE_DEADLINE_MS);
  // Closes what is idle as well, and calls back when all is closed.
  await new Promise<void>((resolve) => server.close(() => resolve()));
  clearTimeout(deadline);
}
