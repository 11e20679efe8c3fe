import { connect } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { startWorld } from "./support.ts";

test("F08 F12 a slow client that takes something now and then gets an event larger than any buffer", async () => {
  const world = await startWorld({
    hub: { eventBytesMax: 64 * 1024 * 1024, heartbeat: { heartbeatMs: 200, stallMs: 1_000 } },
  });
  const data = "x".repeat(48 * 1024 * 1024);
  await world.hub.publish({ tenant: "default", topic: "large", events: [{ data }] });
  const client = connect({ port: world.port, host: "127.0.0.1" });
  onTestFinished(() => void client.destroy());
  client.write("GET /v1/topics/large?last_event_id=earliest HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
  let bytes = 0;
  let reads = 0;
  for await (const chunk of client) {
    bytes += (chunk as Buffer).length;
    reads += 1;
    if (bytes > data.length) break;
    // About 13 MB/s: the whole takes several stall times.
    if (reads % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 50));
  }
  expect(bytes).toBeGreaterThan(data.length);
  expect(world.hub.metrics.get("sluice_disconnects_total", "slow_consumer")).toBe(0);
});
