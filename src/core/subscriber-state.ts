import { assert } from "../internal/assert.ts";

export const SUBSCRIBER_STATES = ["reading", "live", "draining", "closed"] as const;

/**
 * `reading`: replays, or lags; takes what it lacks from the log. `live`: has everything up to the
 * window before; takes batches. `draining`: goodbye was said, or the last frame was written; no event
 * follows. `closed`.
 */
export type SubscriberState = (typeof SUBSCRIBER_STATES)[number];

const MOVES: Record<SubscriberState, readonly SubscriberState[]> = {
  reading: ["live", "draining", "closed"],
  live: ["reading", "draining", "closed"],
  draining: ["closed"],
  closed: [],
};

/** There is no other way from one state to another. */
export function assertMove(from: SubscriberState, to: SubscriberState): void {
  assert(MOVES[from].includes(to), `no move from ${from} to ${to}`);
}
