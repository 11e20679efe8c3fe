import { expect, test } from "vitest";
import { canStateRun, keepAliveRunOf, keepAliveSetter } from "../../src/gateway/tcp-keepalive.ts";

test("the run of TCP keep-alive is 4 s, 2 s and 3 probes for heartbeats of 20 s", () => {
  expect(keepAliveRunOf(20_000)).toEqual({ idleMs: 4_000, intervalMs: 2_000, count: 3 });
  expect(keepAliveRunOf(60_000)).toEqual({ idleMs: 12_000, intervalMs: 6_000, count: 3 });
  expect(keepAliveRunOf(5_000)).toEqual({ idleMs: 1_000, intervalMs: 1_000, count: 3 });
  expect(keepAliveRunOf(1_000)).toEqual({ idleMs: 1_000, intervalMs: 1_000, count: 1 });
});

test("the whole run ends before the next heartbeat, for any interval of 3 s or more", () => {
  for (let heartbeatMs = 3_000; heartbeatMs <= 300_000; heartbeatMs += 500) {
    const { idleMs, intervalMs, count } = keepAliveRunOf(heartbeatMs);
    expect(idleMs + intervalMs * count).toBeLessThan(heartbeatMs);
    expect([idleMs % 1_000, intervalMs % 1_000]).toEqual([0, 0]);
    expect(count).toBeGreaterThan(0);
  }
});

test("interval and count are stated only where Node passes them on", () => {
  const can = ["24.19.0", "24.21.0", "26.4.0", "26.10.0", "27.0.0"];
  const cannot = ["20.20.0", "22.23.3", "24.18.9", "25.9.0", "26.3.1"];
  expect(can.filter((version) => !canStateRun(version))).toEqual([]);
  expect(cannot.filter((version) => canStateRun(version))).toEqual([]);
  const calls: unknown[][] = [];
  const socket = { setKeepAlive: (...args: unknown[]) => void calls.push(args) } as never;
  keepAliveSetter(20_000, "26.4.0")(socket);
  // A delay alone would make libuv probe each second, ten times.
  keepAliveSetter(20_000, "22.23.3")(socket);
  expect(calls).toEqual([[true, 4_000, 2_000, 3], [true]]);
});
