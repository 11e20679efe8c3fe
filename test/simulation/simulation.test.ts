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

const schedules: readonly (readonly [string, readonly number[]])[] =
  only !== undefined
    ? [["in one schedule", [Number(only)]]]
    : [
        ["in any schedule that ever failed", failedOnce],
        [`in ${count} new schedules`, Array.from({ length: count }, (_, n) => (base + n) >>> 0)],
      ];

describe("nothing is lost, doubled, reordered or made up", () => {
  test.each(schedules)(
    "%s",
    async (_name, seeds) => {
      expect(seeds.length).toBeGreaterThan(0);
      for (const seed of seeds) await expectSound(seed);
    },
    TIME_MS_MAX,
  );
});

async function expectSound(seed: number): Promise<void> {
  const failures = await runSchedule(seed).catch((error: unknown) => [
    error instanceof Error ? (error.stack ?? error.message) : String(error),
  ]);
  const command = `SLUICE_SEED=${seed} npx vitest run test/simulation/simulation.test.ts`;
  expect(failures, `${failures.join("\n")}\nRepeat it with: ${command}`).toEqual([]);
}
