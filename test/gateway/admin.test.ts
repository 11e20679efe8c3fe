import { expect, test } from "vitest";
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

test("nothing of it is on the public listener", async () => {
  const world = await startWorld();
  for (const path of ["/livez", "/readyz", "/metrics", "/admin"]) {
    expect((await send(world, path)).json["code"]).toBe("not_found");
  }
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
