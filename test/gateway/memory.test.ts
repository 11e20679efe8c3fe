// A gateway in a control group of 256 MiB. Where none can be made (no root, no cgroup) it is skipped.
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { residentBytesMaxOf } from "../../src/gateway/load-watch.ts";
import { ResidentMemory } from "../../src/gateway/resident-memory.ts";
import { startChild } from "./child.ts";
import { isAdmitted, isAnswered, isRefused, openMany, settled } from "./many.ts";
import { post } from "./support.ts";

const LIMIT_BYTES = 256 * 1024 * 1024;
const NAME = `sluice-test-${process.pid}`;

interface Group {
  readonly folder: string;
  /** How often the kernel had to kill here. */
  kills(): number;
}

/** Version 2, or 1; undefined if this process may make none. */
function makeGroup(): Group | undefined {
  const kinds = [
    {
      root: "/sys/fs/cgroup",
      mark: "cgroup.controllers",
      limit: "memory.max",
      events: "memory.events",
    },
    {
      root: "/sys/fs/cgroup/memory",
      mark: "memory.limit_in_bytes",
      limit: "memory.limit_in_bytes",
      events: "memory.oom_control",
    },
  ];
  for (const { root, mark, limit, events } of kinds) {
    if (!existsSync(`${root}/${mark}`)) continue;
    const folder = `${root}/${NAME}`;
    try {
      mkdirSync(folder);
      writeFileSync(`${folder}/${limit}`, String(LIMIT_BYTES));
      const kills = (): number =>
        Number(/^oom_kill (\d+)/m.exec(readFileSync(`${folder}/${events}`, "utf8"))?.[1] ?? 0);
      return { folder, kills };
    } catch {
      if (existsSync(folder)) rmdirSync(folder);
    }
  }
  return undefined;
}

const group = makeGroup();
if (group !== undefined) rmdirSync(group.folder);

test("the bound on resident memory is what is configured, else by the control group, else none", () => {
  const spy = vi.spyOn(process, "constrainedMemory");
  onTestFinished(() => spy.mockRestore());
  spy.mockReturnValue(LIMIT_BYTES);
  expect(residentBytesMaxOf(0)).toBe(Math.floor(LIMIT_BYTES * 0.85));
  expect(residentBytesMaxOf(1_000_000)).toBe(1_000_000);
  spy.mockReturnValue(0);
  expect(residentBytesMaxOf(0)).toBe(0);
  // No limit, as the kernel says it.
  spy.mockReturnValue(2 ** 64);
  expect(residentBytesMaxOf(0)).toBe(0);
});

test("memory that was freed but not given back counts as free, until a new peak says that it did not do", () => {
  const memory = new ResidentMemory();
  expect(memory.inUse(100, 50)).toBe(100);
  expect(memory.inUse(200, 150)).toBe(200);
  // Freed, and all of it still resident.
  expect(memory.inUse(200, 60)).toBe(110);
  // A little more became resident: not all of it did.
  expect(memory.inUse(201, 60)).toBe(115);
  // Half of it given back.
  expect(memory.inUse(155, 60)).toBe(115);
  // In use again.
  expect(memory.inUse(200, 146)).toBe(200);
  expect(memory.inUse(200, 46)).toBe(100);
  // Much more became resident although so much was free: none of it counts.
  expect(memory.inUse(240, 60)).toBe(240);
  expect(memory.inUse(240, 40)).toBe(220);
});

const title = group === undefined ? "(skipped: no control group can be made here)" : "of 256 MiB";
describe.skipIf(group === undefined)(`in a control group ${title}`, () => {
  test("P18 under load it sheds at the soft limit, serves who is in, recovers, and is not killed", async () => {
    const made = makeGroup();
    if (made === undefined) throw new Error("the control group cannot be made again");
    const gateway = await startChild({}, `echo $$ > ${made.folder}/cgroup.procs`);
    onTestFinished(async () => {
      await gateway.kill();
      // The kernel takes a moment to note that the last process has gone.
      await vi.waitFor(() => rmdirSync(made.folder), { timeout: 5_000 });
    });
    const first = openMany({ port: gateway.port, count: 300 });
    await settled(first, isAdmitted);
    expect(first.filter((client) => !isAdmitted(client))).toEqual([]);
    // The load: clients that come, events that are kept, and something that grows.
    const sheds = async (): Promise<boolean> =>
      (await gateway.metric("sluice_breaker_opened_total", "memory")) > 0;
    const data = "x".repeat(100_000);
    for (let round = 0; round < 60 && !(await sheds()); round += 1) {
      await gateway.command("hold 4");
      await post(gateway, "/v1/topics/other", data);
      openMany({ port: gateway.port, count: 20 });
      // At least one sample for each step.
      await delay(300);
    }
    expect(await sheds()).toBe(true);
    const late = openMany({ port: gateway.port, count: 200 });
    await settled(late, isAnswered);
    expect(late.filter((client) => !isRefused(client) || client.error !== undefined)).toEqual([]);
    expect(await gateway.metric("sluice_rejected_total", "memory")).toBeGreaterThanOrEqual(200);
    expect((await fetch(`${gateway.adminUrl}/readyz`)).status).toBe(503);
    // Who is in is served.
    expect((await post(gateway, "/v1/topics/a", "still here")).status).toBe(201);
    await settled(first, ({ text }) => text.includes("still here"));
    expect(first.filter(({ text }) => !text.includes("still here"))).toEqual([]);
    expect([gateway.child.exitCode, gateway.child.signalCode, made.kills()]).toEqual([
      null,
      null,
      0,
    ]);
    // What grew is let go, and they are admitted again.
    await gateway.command("drop");
    await vi.waitFor(async () => expect(await gateway.metric("sluice_breaker_open")).toBe(0), {
      timeout: 20_000,
      interval: 200,
    });
    const again = openMany({ port: gateway.port, count: 50 });
    await settled(again, isAdmitted);
    expect(again.filter((client) => !isAdmitted(client))).toEqual([]);
  }, 90_000);
});
