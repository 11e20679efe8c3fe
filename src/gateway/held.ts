import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";

/** Requests that one connection may have behind a stream request; with more of them it is closed. */
const HELD_MAX = 64;

interface Held {
  readonly request: IncomingMessage;
  readonly answer: () => void;
}

const kHeld = Symbol("sluice.held");
/** `"never"`: the answer that is being written is the connection's last. */
type HoldingSocket = Socket & { [kHeld]?: Held[] | "never" | undefined };

/**
 * Holds the requests that follow on this socket until the returned function is called, with whether
 * they can still be answered. If so they are, in order; if not they are dropped, and nothing of them is
 * done: no event is appended that its publisher is never told of. It must be called in the turn in
 * which the request came: a second one may be in the same segment.
 */
export function holdRequests(socket: Socket): (mayAnswer: boolean) => void {
  const held: Held[] = [];
  (socket as HoldingSocket)[kHeld] = held;
  return (mayAnswer) => {
    // The answer that was written meanwhile is the last: what waits behind it cannot be answered.
    const isLast = heldOf(socket) === "never";
    // Never `delete`: V8 would keep the socket as a hash table, and each delivery would pay for it.
    if (!isLast) (socket as HoldingSocket)[kHeld] = undefined;
    for (const [index, { request, answer }] of held.entries()) {
      if (!mayAnswer || isLast || !socket.writable) {
        discard(request);
        continue;
      }
      answer();
      // It is a stream request itself: the rest waits for it.
      const next = heldOf(socket);
      if (!Array.isArray(next)) continue;
      next.push(...held.slice(index + 1));
      return;
    }
  };
}

/** Drops whatever follows on this socket: the answer that is being written closes it. */
export function holdForEver(socket: Socket): void {
  (socket as HoldingSocket)[kHeld] = "never";
}

/** Calls `answer` when the request's turn has come, which may be now or never. */
export function whenReleased(request: IncomingMessage, answer: () => void): void {
  const held = heldOf(request.socket);
  if (held === undefined) answer();
  else if (held === "never") discard(request);
  else if (held.length < HELD_MAX) held.push({ request, answer });
  else request.socket.destroy();
}

function heldOf(socket: Socket): Held[] | "never" | undefined {
  return (socket as HoldingSocket)[kHeld];
}

/** An unread body would stop the socket, and nobody would see its end. */
function discard(request: IncomingMessage): void {
  request.resume();
}
