import type { Batch } from "./batch.ts";
import type { DisconnectReason } from "./disconnect.ts";

/**
 * The port that every transport implements: the physical response that now carries a subscriber.
 *
 * The contract, in prose:
 * - `write` takes whole frames and never refuses; it is called at most once for one batch, and what it
 *   could not hand to the kernel at once counts in `pendingBytes` until it has left. It returns whether
 *   anything is pending right after it, so that nobody needs to ask a connection that has nothing.
 *   True is no sign of a slow peer: on TLS it is so after every write, and over a moment later.
 * - `pendingBytes` is honest: zero means that nothing of earlier writes waits in this process. What
 *   `write()` of a socket returns is not enough: on TLS and HTTP/2 it says false on a healthy peer,
 *   and with a large high-water mark it says true on a full one (measured).
 * - After `wakeWhenDrained` the owner's `onDrained` is called once, when `pendingBytes` is zero again;
 *   if the connection ends first, only `onClosed` is called.
 * - `onClosed` is called exactly once, whoever ended it, and nothing is called after it.
 * - `end` writes the last frames, if any, finishes the response cleanly and closes it when they have
 *   left; until then they count in `pendingBytes`. `abort` closes it now, whatever is pending. Neither
 *   throws.
 */
export interface Connection {
  /** At least 128 random bits; whoever knows it may act for this connection. */
  readonly id: string;
  readonly pendingBytes: number;
  /** Bytes handed over in all, framing included. */
  readonly bytesWritten: number;
  /** Who is at the other end, as `ip:port`, `[ip]:port`, or a word; for people and for the kernel's tables. */
  readonly peer: string;
  /**
   * The reader is in this process. It cannot vanish, and may take as long as it likes for an event: it
   * has no stall deadline and no maximum age.
   */
  readonly isLocal: boolean;
  write(batch: Batch): boolean;
  wakeWhenDrained(): void;
  end(reason: DisconnectReason, last?: Batch): void;
  abort(reason: DisconnectReason): void;
}

/** Who is told what happens to a connection: the subscriber that it carries. */
export interface ConnectionOwner {
  onDrained(): void;
  onClosed(reason: DisconnectReason): void;
}
