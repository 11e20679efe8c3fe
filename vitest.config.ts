import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // A test that leaves a server open would otherwise hold the run for ever.
    teardownTimeout: 10_000,
    passWithNoTests: false,
    reporters: ["default", "./scripts/test-summary.ts"],
  },
  resolve: {
    // The examples import "sluice" as a user does; under test that is the source.
    alias: [
      { find: /^sluice$/, replacement: new URL("src/index.ts", import.meta.url).pathname },
      {
        find: /^sluice\/(client|testing)$/,
        replacement: new URL("src/$1/index.ts", import.meta.url).pathname,
      },
    ],
  },
});
