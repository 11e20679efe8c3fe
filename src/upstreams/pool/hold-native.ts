import type { ClientHttp2Session } from "node:http2";
import type { Runtime } from "../../internal/clock.ts";

/** Streams with writes under way are left to the garbage collector as well; it comes within that. */
const HELD_MS = 10_000;
const held = new Set<unknown>();

/**
 * Keeps what a session is natively for 10 s after its end. Node frees the streams of a session in
 * the turn after that, and aborts the process (`current_nghttp2_memory_ == 0`) if the garbage collector
 * takes the session first and a stream still has half a block of headers: an origin that sends
 * CONTINUATION without end made Node 26.10 do so, again and again (measured; nodejs/node#39951 is alike).
 */
export function holdNative(session: ClientHttp2Session, runtime: Runtime): void {
  const symbol = Object.getOwnPropertySymbols(session).find(
    ({ description }) => description === "kHandle",
  );
  // Only a precaution: a Node that has renamed it may have mended it as well.
  if (symbol === undefined) return;
  const native = (session as unknown as Record<symbol, unknown>)[symbol];
  held.add(native);
  session.once("close", () => {
    runtime.after(HELD_MS, () => void held.delete(native));
  });
}
