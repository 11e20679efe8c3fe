#!/usr/bin/env node
// The one file that acts when it is loaded. It must load on every Node that knows modules, so that an
// old one says what is wrong instead of failing on syntax: no import but the one that is made late.
const oldest = [22, 18] as const;
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);

if (major < oldest[0] || (major === oldest[0] && minor < oldest[1])) {
  const command = ["npx", "-p", "node@24", "sluice", ...process.argv.slice(2)].join(" ");
  process.stderr.write(
    `sluice: Node ${process.versions.node} is too old, ${oldest.join(".")} or newer is needed; run: ${command}\n`,
  );
  process.exitCode = 69;
} else {
  const { run } = await import("./run.ts");
  process.exitCode = await run(process.argv.slice(2));
}
