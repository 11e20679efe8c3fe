/** One row: what is logged and counted, and whether the client is told by `event: close` before the end. */
export interface DisconnectRow {
  readonly isAnnounced: boolean;
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
    meaning: "The client sent another request, or what is no HTTP, on the connection of its stream",
  },
  slow_consumer: {
    isAnnounced: false,
    meaning: "The client took nothing for longer than the stall deadline; it resumes by its cursor",
  },
  topic_ended: { isAnnounced: false, meaning: "Every topic of the subscriber has ended" },
  pool_draining: { isAnnounced: true, meaning: "The gateway is shutting down; reconnect" },
  hub_closed: { isAnnounced: false, meaning: "The hub was closed in the process that owns it" },
  internal_error: { isAnnounced: false, meaning: "Sluice made a mistake; reconnect" },
} as const satisfies Record<string, DisconnectRow>;

export type DisconnectReason = keyof typeof DISCONNECTS;
