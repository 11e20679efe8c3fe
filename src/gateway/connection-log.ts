import { DISCONNECTS } from "../core/disconnect.ts";
import type { DisconnectReason, DisconnectRow } from "../core/disconnect.ts";
import { shownTenant } from "../core/feed-tenant.ts";
import type { ConnectionListener } from "../core/hub.ts";
import type { Subscriber } from "../core/subscriber.ts";
import type { Runtime } from "../internal/clock.ts";
import type { Logger } from "./logger.ts";

/** Of a connection's id, in logs and for operators. The whole of it is the client's secret. */
export const SHORT_ID_LENGTH = 8;

/** What people call a connection: enough to tell it from others, and worthless for an ACK. */
export function shortId({ connection }: Subscriber): string {
  return connection?.id.slice(0, SHORT_ID_LENGTH) ?? "";
}

/**
 * One line for each connection that ends. What we did is `info`; what clients do all day (they go, they
 * reset, their topic is over) is `debug` (F07).
 */
export function logEnds(logger: Logger, runtime: Runtime): ConnectionListener {
  return (subscriber, reason) => {
    const { connection, tenant, events, lag, openedAt } = subscriber;
    const fields = {
      reason,
      connection: shortId(subscriber),
      peer: connection?.peer,
      tenant: shownTenant(tenant),
      durationMs: Math.max(0, Math.floor(runtime.now()) - openedAt),
      events,
      bytes: connection?.bytesWritten,
      lag,
      pending: connection?.pendingBytes,
    };
    if (isOurs(reason)) logger.info(fields, "connection ended");
    else logger.debug(fields, "connection ended");
  };
}

function isOurs(reason: DisconnectReason): boolean {
  const row: DisconnectRow = DISCONNECTS[reason];
  return row.isEviction === true || row.isAnnounced;
}
