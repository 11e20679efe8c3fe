import { createServer } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import { createMemoryBroker } from "../../src/brokers/memory.ts";
import { Hub } from "../../src/core/hub.ts";
import { createAdmin } from "../../src/gateway/admin.ts";
import { listen } from "../../src/gateway/listen.ts";
import { silentLogger } from "../../src/gateway/logger.ts";
import { systemRuntime } from "../../src/internal/clock.ts";
import { openStream, post, send, startWorld } from "./support.ts";
import type { World } from "./support.ts";

async function metricsOf(world: World): Promise<string[]> {
  const { status, headers, text } = await send({ url: world.adminUrl }, "/metrics");
  expect([status, headers["content-type"]]).toEqual([
    200,
    "text/plain; version=0.0.4; charset=utf-8",
  ]);
  return text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
}

test("the admin listener says that the process lives and is ready", async () => {
  const world = await startWorld();
  const admin = { url: world.adminUrl };
  expect((await send(admin, "/livez")).text).toBe("ok\n");
  expect((await send(admin, "/readyz")).json).toEqual({ status: "ready" });
  expect((await send(admin, "/livez", { method: "HEAD" })).status).toBe(200);
  expect((await send(admin, "/livez", { method: "POST" })).status).toBe(405);
  expect((await send(admin, "/v1/topics/a")).status).toBe(404);
  expect((await send(admin, "/constructor")).status).toBe(404);
});

test("where nothing is proxied the pool has no origins", async () => {
  const world = await startWorld();
  const admin = { url: world.adminUrl };
  expect((await send(admin, "/pool")).json).toEqual({ origins: [] });
  expect((await send(admin, "/pool", { method: "POST" })).status).toBe(405);
  expect((await send(admin, "/pool?x=1")).json["code"]).toBe("parameter_invalid");
});

test("nothing of it is on the public listener", async () => {
  const world = await startWorld();
  for (const path of ["/livez", "/readyz", "/metrics", "/pool", "/admin"]) {
    expect((await send(world, path)).json["code"]).toBe("not_found");
  }
});

test("S23 a website whose name resolves to loopback reads no metrics; probes call by any name", async () => {
  const world = await startWorld();
  const admin = { url: world.adminUrl };
  const { host } = new URL(world.adminUrl);
  const ask = async (path: string, headers: Record<string, string>): Promise<unknown[]> => {
    const { status, json } = await send(admin, path, { headers });
    return [status, json["code"]];
  };
  for (const path of ["/metrics", "/metrics?", "/nowhere"]) {
    expect(await ask(path, { host: "evil.example" })).toEqual([403, "host_forbidden"]);
    expect(await ask(path, { host, origin: "http://evil.example" })).toEqual([
      403,
      "origin_forbidden",
    ]);
  }
  expect((await ask("/metrics", { host: "localhost:9090" }))[0]).toBe(200);
  for (const path of ["/livez", "/readyz"]) {
    expect((await ask(path, { host: "10.0.0.7:8081" }))[0]).toBe(200);
  }
});

test("S23 a listener for others serves its metrics under any name", async () => {
  const hub = new Hub({ broker: createMemoryBroker(), runtime: systemRuntime() });
  onTestFinished(() => hub.close());
  const admin = createAdmin(hub, { isReady: () => true, isOpen: false, logger: silentLogger });
  onTestFinished(() => admin.close());
  const server = createServer(admin.handler);
  const url = await listen(server, "127.0.0.1", 0);
  onTestFinished(() => void server.close());
  const headers = { host: "sluice.internal" };
  expect((await send({ url }, "/metrics", { headers })).status).toBe(200);
});

test("the metrics are the process's numbers of this moment", async () => {
  const world = await startWorld();
  const stream = await openStream(world, "/v1/topics/a");
  await post(world, "/v1/topics/a", "x");
  await stream.take(1);
  await send(world, "/nowhere");
  for (const _ of [1, 2]) {
    const lines = await metricsOf(world);
    expect(lines).toEqual(
      expect.arrayContaining([
        "sluice_publications_total 1",
        "sluice_deliveries_total 1",
        'sluice_subscribers{state="live"} 1',
        "sluice_routes 1",
        'sluice_requests_rejected_total{code="not_found"} 1',
        `nodejs_version_info{version="${process.version}"} 1`,
      ]),
    );
    expect(lines.some((line) => line.startsWith("process_resident_memory_bytes "))).toBe(true);
    expect(
      lines.some((line) => line.startsWith('nodejs_eventloop_delay_seconds{quantile="0.99"} ')),
    ).toBe(true);
  }
});

test("S27 law 25: a hundred thousand topics leave the number of series as it was", async () => {
  const world = await startWorld();
  const stream = await openStream(world, "/v1/topics/topic-0");
  await post(world, "/v1/topics/topic-0", "x");
  await stream.take(1);
  const before = await metricsOf(world);
  for (let index = 1; index < 100_000; index += 1) {
    await world.hub.publish({
      tenant: "default",
      topic: `topic-${index}`,
      events: [{ data: "x" }],
    });
  }
  const after = await metricsOf(world);
  expect(after).toHaveLength(before.length);
  expect(after.join("\n")).not.toContain("topic-");
  expect(after).toContain("sluice_publications_total 100000");
});
