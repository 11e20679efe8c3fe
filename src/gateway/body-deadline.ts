import type { IncomingMessage } from "node:http";

/** What a body must bring to be waited for. */
export interface BodyPace {
  /** Time between two looks, in milliseconds. */
  readonly lookMs: number;
  /** Looks in a row without progress, after which it is given up. */
  readonly looksMax: number;
  /** What counts as progress, in bytes. */
  readonly progressBytes: number;
}

/**
 * 32 KiB in each 10 s: half of what a modem link of 56 kbit/s brings, and far more than what drips. A
 * limit on the whole request (Node's `requestTimeout`) would either let a body drip for minutes or
 * cut a large batch on a slow link; one on progress does neither.
 */
const PACE: BodyPace = { lookMs: 1_000, looksMax: 10, progressBytes: 32 * 1024 };

/**
 * Calls `onStalled` once, in the turn in which the body of `request` has made no progress for 10 looks,
 * a second apart. Looks are counted, not time: if this process did not run, the bytes that came
 * meanwhile are seen before the next look. Watches until the request is complete or its socket is gone.
 */
export function watchBody(
  request: IncomingMessage,
  onStalled: () => void,
  { lookMs, looksMax, progressBytes }: BodyPace = PACE,
): void {
  const { socket } = request;
  let marked = socket.bytesRead;
  let looks = 0;
  const timer = setTimeout(() => {
    // It is all here, and waits for its turn.
    if (request.complete) return;
    const bytes = socket.bytesRead;
    // It is not read because whom it is passed on to has no room: that is not its sender's fault.
    const isHeldUp = request.readableLength >= request.readableHighWaterMark;
    if (bytes - marked >= progressBytes || isHeldUp) [marked, looks] = [bytes, 0];
    else looks += 1;
    if (looks < looksMax) timer.refresh();
    else onStalled();
  }, lookMs);
  timer.unref();
  // Comes when the body has been read or dropped, and when the socket has closed.
  request.once("close", () => clearTimeout(timer));
}
