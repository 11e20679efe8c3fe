import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test, vi } from "vitest";
import {
  capacityOf,
  describeShortage,
  descriptorsMax,
  descriptorsNow,
} from "../../src/gateway/descriptors.ts";
import { startChild } from "./child.ts";
import { isAdmitted, isAnswered, isRefused, openMany, settled } from "./many.ts";
import { post } from "./support.ts";

test("the capacity is the hard limit less a reserve, and less what others have taken of it", () => {
  expect(capacityOf(1_024, 25, 0)).toBe(928);
  expect(capacityOf(20_000, 25, 0)).toBe(19_600);
  expect(capacityOf(20_000, 25, 500)).toBe(500);
  expect(capacityOf(256, 25, 1_000)).toBe(160);
  expect(capacityOf(256, 100, 0)).toBe(108);
  expect(capacityOf(256, 300, 0)).toBe(0);
  expect(capacityOf(32, 0, 0)).toBe(0);
});

test("P16 a limit that is too low for maxConnections is told, with what there can be and how to raise it", () => {
  const of = (connectionsMax: number, max: number, isAssumed = false): string | undefined =>
    describeShortage(connectionsMax, { max, isAssumed });
  expect(of(1_000, 256)).toMatch(
    /^limit 256 too low for maxConnections=1000: .* 160 connections; .*ulimit/,
  );
  expect(of(100, 256)).toBeUndefined();
  expect(of(0, 256)).toMatch(/limit of 256 file descriptors leaves room for 160 connections/);
  expect(of(0, 20_000)).toBeUndefined();
  expect(of(5_000, 1_024, true)).toMatch(/1024 are assumed.* 928 connections/);
});

test.runIf(process.platform === "linux")("the system tells the limit and the count", () => {
  expect(descriptorsMax()).toEqual({ max: expect.any(Number) as number, isAssumed: false });
  expect(descriptorsNow()?.count).toBeGreaterThan(3);
});

const linux = test.runIf(process.platform === "linux");

linux("P16 sluice serve says at its start that the limit is too low", async () => {
  const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
  const args = ["serve", "--port", "0", "--admin-port", "0", "--max-connections", "1000"];
  const child = spawn(
    "/bin/sh",
    ["-c", 'ulimit -n 256 && exec "$0" "$@"', process.execPath, main, ...args],
    { cwd: "/", stdio: ["ignore", "ignore", "pipe"] },
  );
  onTestFinished(() => void child.kill("SIGKILL"));
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  await vi.waitFor(() => expect(said).toContain("\n"), { timeout: 20_000 });
  expect(said).toContain("sluice: WARNING: limit 256 too low for maxConnections=1000: ");
});

linux(
  "P16 with ulimit -n 256 it caps itself: 500 clients at once are admitted or told, none is reset",
  async () => {
    const gateway = await startChild(
      { admission: { maxConnections: 5_000, loopDelayMs: 60_000 } },
      "ulimit -n 256",
    );
    expect(await gateway.metric("sluice_connections_max")).toBe(160);
    const clients = openMany({ port: gateway.port, count: 500 });
    await settled(clients, isAnswered);
    expect(clients.filter(({ error }) => error !== undefined)).toEqual([]);
    expect(clients.filter((client) => !isAnswered(client))).toEqual([]);
    const admitted = clients.filter(isAdmitted);
    // Fewer than 90 % of 160: those that are being refused count until they have gone.
    expect(admitted.length).toBeGreaterThan(40);
    expect(admitted.length).toBeLessThanOrEqual(144);
    expect(await gateway.metric("sluice_rejected_total", "capacity")).toBe(500 - admitted.length);
    // Who is in is served, and publishes go on.
    expect((await post(gateway, "/v1/topics/a", "still here")).status).toBe(201);
    await settled(admitted, ({ text }) => text.includes("still here"));
    expect(admitted.filter(({ text }) => !text.includes("still here"))).toEqual([]);
    for (const { socket } of admitted) socket.destroy();
    await vi.waitFor(
      async () => {
        expect(await gateway.metric("sluice_connections")).toBe(0);
        expect(await gateway.metric("sluice_breaker_open")).toBe(0);
      },
      { timeout: 10_000 },
    );
    const again = openMany({ port: gateway.port, count: 100 });
    await settled(again, isAdmitted);
    expect(again.filter((client) => !isAdmitted(client))).toEqual([]);
  },
);

linux(
  "P17 descriptors that something else takes are noticed and taken off, and given back",
  async () => {
    const gateway = await startChild({}, "ulimit -n 256");
    // It looks while there is a connection.
    const [first] = openMany({ port: gateway.port, count: 1 });
    if (first === undefined) throw new Error("there is no client");
    await settled([first], isAdmitted);
    await gateway.command("eat 190");
    await vi.waitFor(
      async () => expect(await gateway.metric("sluice_connections_max")).toBeLessThan(20),
      { timeout: 15_000 },
    );
    const clients = openMany({ port: gateway.port, count: 60 });
    await settled(clients, isAnswered);
    expect(clients.filter(({ error }) => error !== undefined)).toEqual([]);
    expect(clients.filter((client) => !isAnswered(client))).toEqual([]);
    expect(clients.filter(isRefused).length).toBeGreaterThan(40);
    expect(isAdmitted(first) && !first.isClosed).toBe(true);
    await gateway.command("free");
    await vi.waitFor(async () => expect(await gateway.metric("sluice_connections_max")).toBe(160), {
      timeout: 15_000,
    });
    const again = openMany({ port: gateway.port, count: 30 });
    await settled(again, isAdmitted);
    expect(again.filter((client) => !isAdmitted(client))).toEqual([]);
    // Given back while there was nobody to look for: the next one is not refused for it.
    for (const { socket } of [...clients, ...again]) socket.destroy();
    await vi.waitFor(async () => expect(await gateway.metric("sluice_connections")).toBe(1), {
      timeout: 10_000,
    });
    await gateway.command("eat 190");
    await vi.waitFor(
      async () => expect(await gateway.metric("sluice_connections_max")).toBeLessThan(20),
      { timeout: 15_000 },
    );
    first.socket.destroy();
    await vi.waitFor(async () => expect(await gateway.metric("sluice_connections")).toBe(0), {
      timeout: 10_000,
    });
    await gateway.command("free");
    await vi.waitFor(
      async () => {
        const [late] = openMany({ port: gateway.port, count: 1 });
        await settled(late === undefined ? [] : [late], isAnswered);
        const wasAdmitted = late !== undefined && isAdmitted(late);
        late?.socket.destroy();
        expect(wasAdmitted).toBe(true);
      },
      { timeout: 10_000, interval: 200 },
    );
  },
);
