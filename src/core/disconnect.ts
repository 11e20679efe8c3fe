/** One row: what is logged and counted, and whether the client is told by `event: close` before the end. */
export interface DisconnectRow {
  readonly isAnnounced: boolean;
  /** We took the connection away from a client that did not go by itself: `sluice_evicted_total`. */
  readonly isEviction?: true;
  readonly meaning: string;
}

/**
 * Why a connection ended. The key is the metric label, the word in the log, and the `data:` of
 * `event: close` where the client is told.
 */
export const DISCONNECTS = {
  client_closed: { isAnnounced: false, meaning: "The client closed the connection" },
  reset: { isAnnounced: false, meaning: "The connection was reset, or a write to it failed" },
  protocol_error: {
    isAnnounced: false,
    isEviction: true,
    meaning: "The client sent another request, or what is no HTTP, on the connection of its stream",
  },
  slow_consumer: {
    isAnnounced: false,
    isEviction: true,
    meaning: "The client took nothing for longer than the stall deadline; it resumes by its cursor",
  },
  pending_exhausted: {
    isAnnounced: false,
    isEviction: true,
    meaning:
      "The bytes pending on all connections exceeded their cap, and this one had waited longest",
  },
  keepalive: {
    isAnnounced: false,
    isEviction: true,
    meaning: "The kernel gave the client up: its TCP keep-alive probes were not answered",
  },
  unacked: {
    isAnnounced: false,
    isEviction: true,
    meaning: "What was sent to the client was not acknowledged for longer than the deadline",
  },
  ack_missed: {
    isAnnounced: false,
    isEviction: true,
    meaning: "The client had promised to acknowledge heartbeats, and left one unacknowledged",
  },
  topic_ended: { isAnnounced: false, meaning: "Every topic of the subscriber has ended" },
  max_age: {
    isAnnounced: true,
    meaning: "The connection reached its maximum age; reconnect, nothing is lost",
  },
  overloaded: {
    isAnnounced: true,
    meaning: "The gateway takes no more connections for now; reconnect after the delay it states",
  },
  pool_draining: { isAnnounced: true, meaning: "The gateway is shutting down; reconnect" },
  closed_by_operator: {
    isAnnounced: true,
    isEviction: true,
    meaning: "An operator closed the connection; reconnect",
  },
  upstream_lost: {
    isAnnounced: true,
    meaning:
      "The origin of a proxied stream cannot be reached; reconnect, what it has sent is kept",
  },
  hub_closed: { isAnnounced: false, meaning: "The hub was closed in the process that owns it" },
  internal_error: { isAnnounced: false, meaning: "Sluice made a mistake; reconnect" },
} as const satisfies Record<string, DisconnectRow>;

export type DisconnectReason = keyof typeof DISCONNECTS;

/** Evictions are counted apart. */
export function isEviction(reason: DisconnectReason): boolean {
  const row: DisconnectRow = DISCONNECTS[reason];
  return row.isEviction === true;
}
