import { Attempt } from "./attempt.ts";
import { ackUrl } from "./url.ts";

/** Longer waits serve nobody: closing the stream counts as an ACK too, in milliseconds. */
const ACK_MS = 2_000;

export interface AckOptions {
  readonly url: string | URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  readonly fetch?: typeof globalThis.fetch;
}

/**
 * Tells the server that what it waits for has come: `event: close`, or a heartbeat. It never fails:
 * what the server does without an ACK costs a connection at most, and nothing is lost.
 */
export async function acknowledge(stream: Response, options: AckOptions): Promise<void> {
  const { url, headers, signal, fetch = globalThis.fetch } = options;
  const id = stream.headers.get("sluice-connection");
  // A proxy took it away, or the page's origin may not read it.
  if (id === null) return;
  const attempt = new Attempt(signal);
  const request = { method: "POST", headers: { ...headers }, signal: attempt.signal };
  try {
    const sent = fetch(ackUrl(url, id), { ...request, redirect: "manual" });
    await attempt.within(ACK_MS, "answer", sent);
  } catch {
    // See above.
  } finally {
    attempt.close();
  }
}
