import type { Socket } from "node:net";

/** TCP keep-alive: probes of a connection on which nothing is under way. Whole seconds, in milliseconds. */
export interface KeepAliveRun {
  /** Silence of the peer before the first probe. */
  readonly idleMs: number;
  readonly intervalMs: number;
  /** Probes without an answer after which the kernel gives the connection up. */
  readonly count: number;
}

/** The kernel counts in seconds. */
const SECOND_MS = 1_000;
const PROBES = 3;

/**
 * The probes of a stream with heartbeats: a fifth of the interval idle, then three probes a tenth of
 * it apart, so 4 s, 2 s and 3 for 20 s. A peer that has vanished is given up after half an interval:
 * before the next heartbeat, because the kernel does not probe while bytes are unacknowledged, so
 * that each heartbeat would only put the end off (measured). For short intervals probes are left out;
 * below 3 s even one run is longer, and `UnackedWatch` finds the peer by its heartbeats.
 */
export function keepAliveRunOf(heartbeatMs: number): KeepAliveRun {
  const idleMs = wholeSeconds(heartbeatMs / 5);
  const intervalMs = wholeSeconds(heartbeatMs / 10);
  const fitting = Math.ceil((heartbeatMs - idleMs) / intervalMs) - 1;
  return { idleMs, intervalMs, count: Math.max(1, Math.min(PROBES, fitting)) };
}

function wholeSeconds(ms: number): number {
  return Math.max(SECOND_MS, Math.floor(ms / SECOND_MS) * SECOND_MS);
}

/** JavaScript can state interval and count from Node 24.19 and 26.4 on; other lines never could. */
export function canStateRun(version: string = process.versions.node): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 26 || (major === 26 && minor >= 4) || (major === 24 && minor >= 19);
}

/** What to do with each accepted socket. */
export function keepAliveSetter(
  heartbeatMs: number,
  version?: string,
): (socket: Pick<Socket, "setKeepAlive">) => void {
  // Without a delay: a delay alone would set the interval to 1 s and the count to 10, whatever the
  // system says (libuv). So the sysctls decide; see docs/operations.md.
  if (!canStateRun(version)) return (socket) => void socket.setKeepAlive(true);
  const { idleMs, intervalMs, count } = keepAliveRunOf(heartbeatMs);
  return (socket) => void socket.setKeepAlive(true, idleMs, intervalMs, count);
}
