// Makes the generated parts of docs/ from the code's tables and from the titles of the tests.
// `--check` writes nothing and fails if a part differs, or a link leads nowhere.
import { placeParts } from "./support/generated.ts";
import { brokenLinks } from "./support/links.ts";
import { proofParts } from "./support/proofs.ts";
import { tableParts } from "./support/tables.ts";

const isCheck = process.argv.includes("--check");
const faults = placeParts([...(await tableParts()), ...proofParts()], isCheck);
for (const file of faults) {
  process.stderr.write(
    isCheck
      ? `${file} differs from the code: run \`node scripts/docs.ts\`\n`
      : `sluice: made the generated parts of ${file}\n`,
  );
}
const broken = brokenLinks();
for (const fault of broken) process.stderr.write(`${fault}\n`);
if ((isCheck && faults.length > 0) || broken.length > 0) process.exitCode = 1;
