import { expect, onTestFinished, test } from "vitest";
import type { LoadSample } from "../../src/core/admission.ts";
import { LoadWatch } from "../../src/gateway/load-watch.ts";
import { systemRuntime } from "../../src/internal/clock.ts";

test("P05 an event loop that stands still right behind a sample is seen by the next one", async () => {
  const samples: LoadSample[] = [];
  await new Promise<void>((resolve) => {
    const watch = new LoadWatch({
      runtime: systemRuntime(),
      onSample: (sample) => {
        samples.push(sample);
        if (samples.length === 2) setImmediate(standStill, 1_800);
        if (samples.length === 4) resolve();
      },
      onDescriptors: () => {},
      onStopped: () => {},
    });
    onTestFinished(() => watch.stop());
    watch.start();
  });
  const [, before, during] = samples.map(({ loopDelayMs }) => loopDelayMs);
  expect(before).toBeLessThan(1_000);
  expect(during).toBeGreaterThan(1_000);
});

function standStill(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}
