import type { Reporter, TestModule } from "vitest/node";

/**
 * Ends a run with one plain line, `tests: N passed, N failed, N skipped`, for people and machines
 * that read logs, after the name of each skipped test, which says what it lacks. A file that fails
 * to load counts as one failure: its tests never existed.
 */
export default class TestSummary implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    let passed = 0;
    let failed = unhandledErrors.length;
    let skipped = 0;
    const skips: string[] = [];
    for (const module of modules) {
      failed += module.errors().length;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === "passed") passed += 1;
        else if (state === "failed") failed += 1;
        else {
          skipped += 1;
          skips.push(`skipped: ${module.relativeModuleId} > ${test.fullName}`);
        }
      }
      for (const suite of module.children.allSuites()) failed += suite.errors().length;
    }
    if (skips.length > 0) process.stdout.write(`\n${skips.join("\n")}\n`);
    process.stdout.write(`\ntests: ${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  }
}
