import type { Socket } from "node:net";

const kLast = Symbol("sluice.lastTurn");
type TurnSocket = Socket & { [kLast]?: Promise<void> | undefined };

/**
 * Runs `start` once `ready` has resolved and every earlier turn of this socket has started. So what
 * was pipelined on one connection is handed on in request order, whichever body was complete first;
 * a later turn does not wait for the earlier one's outcome.
 */
export async function inTurn<Ready, Result>(
  socket: Socket,
  ready: Promise<Ready>,
  start: (ready: Ready) => Promise<Result>,
): Promise<Result> {
  const holder = socket as TurnSocket;
  const earlier = holder[kLast];
  let release = (): void => {};
  const turn = new Promise<void>((resolve) => {
    release = resolve;
  });
  holder[kLast] = turn;
  let result: Promise<Result>;
  try {
    const value = await ready;
    await earlier;
    result = start(value);
  } finally {
    // Not before its turn, even if it failed: the next one waits for this one only.
    void (earlier ?? Promise.resolve()).then(release);
    if (holder[kLast] === turn) holder[kLast] = undefined;
  }
  return result;
}
