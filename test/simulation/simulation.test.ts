import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { runSchedule } from "./schedule.ts";

/** New seeds each run; `SLUICE_SEED` runs one alone, `SLUICE_SEEDS` that many. */
const only = process.env["SLUICE_SEED"];
const count = Number(process.env["SLUICE_SEEDS"] ?? 1_000);
const base = Math.floor(Math.random() * 2 ** 31);
const TIME_MS_MAX = 55_000;

const failedOnce = JSON.parse(
  readFileSync(new URL("seeds.json", import.meta.url), "utf8"),
) as number[];

describe("nothing is lost, doubled, reordered or made up", () => {
  test.runIf(only === undefined && failedOnce.length > 0)(
    "in any schedule that ever failed",
    async () => {
      for (const seed of failedOnce) await expectSound(seed);
    },
    TIME_MS_MAX,
  );

  test.runIf(only === undefined)(
    `in ${count} new schedules`,
    async () => {
      for (let index = 0; index < count; index += 1) await expectSound((base + index) >>> 0);
    },
    TIME_MS_MAX,
  );

  test.runIf(only !== undefined)("in one schedule", () => expectSound(Number(only)));
});

async function expectSound(seed: number): Promise<void> {
  const failures = await runSchedule(seed).catch((error: unknown) => [
    error instanceof Error ? (error.stack ?? error.message) : String(error),
  ]);
  const command = `SLUICE_SEED=${seed} npx vitest run test/simulation -t "one schedule"`;
  expect(failures, `${failures.join("\n")}\nRepeat it with: ${command}`).toEqual([]);
}
