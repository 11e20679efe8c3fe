import { expect, test } from "vitest";
import { VirtualRuntime } from "../../../src/testing/virtual-runtime.ts";
import { Reconnect } from "../../../src/upstreams/source/reconnect.ts";

test("U01 who was told the same Retry-After does not come back at the same time, nor earlier", () => {
  const runtime = new VirtualRuntime();
  const waits = Array.from({ length: 100 }, () => {
    return new Reconnect(runtime, 1_000, 300_000).nextMs(5_000) ?? 0;
  });
  expect(Math.min(...waits)).toBeGreaterThanOrEqual(5_000);
  expect(Math.max(...waits)).toBeLessThan(6_000);
  expect(Math.max(...waits) - Math.min(...waits)).toBeGreaterThan(500);
});
