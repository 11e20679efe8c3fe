// `npm test`: build, check, test. A failed check does not hide the tests; it fails the run at the
// end. Arguments go to vitest. In a good run the test summary is the last line.
import { run } from "./support/run.ts";

const node = process.execPath;

if (!(await run([node, "scripts/build.ts"])).isOk) process.exit(1);
const checked = await run([node, "scripts/check.ts"]);
const tested = await run(["vitest", "run", ...process.argv.slice(2)]);

if (!tested.isOk) process.stderr.write(`sluice: tests failed (vitest: ${tested.exit})\n`);
if (!checked.isOk)
  process.stderr.write("sluice: checks failed (see above, or run `npm run check`)\n");
process.exitCode = checked.isOk && tested.isOk ? 0 : 1;
