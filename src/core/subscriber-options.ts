import type { WireForm } from "./publication.ts";
import type { Selection } from "./selection.ts";

/** How a quiet connection is kept alive; see docs/protocol.md, 6.7. */
export const HEARTBEAT_MODES = ["comment", "event", "ack"] as const;
export type HeartbeatMode = (typeof HEARTBEAT_MODES)[number];

export interface SubscriberOptions {
  readonly selection: Selection;
  readonly form: WireForm;
  /** @defaultValue "comment" */
  readonly heartbeat?: HeartbeatMode;
  /**
   * Its client can come back with its place. One that cannot has no maximum age, and a drain says nothing
   * to it before the deadline. @defaultValue true
   */
  readonly isResumable?: boolean;
  /** Called once, when it is gone: its connection has ended, or it was abandoned without one. */
  readonly onGone?: () => void;
}

/** How a connection is greeted. */
export interface Greeting {
  /** Reconnect delay to tell the client, in milliseconds, jittered by the caller. */
  readonly retryMs: number;
  /** Adds `event: hello`, for clients that cannot read response headers. */
  readonly hasHello: boolean;
}
