// Which test proves which law, row or requirement. Without arguments: makes docs/faults.md and
// docs/requirements.md. `--check` fails if they differ. `--report <vitest JSON report>` fails unless
// everything that they claim was run and passed.
import { readFileSync } from "node:fs";
import { placeParts } from "./support/generated.ts";
import { findProofs, idsOf, proofParts } from "./support/proofs.ts";

interface Report {
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

const reportAt = process.argv.indexOf("--report");
if (reportAt === -1) {
  const isCheck = process.argv.includes("--check");
  for (const file of placeParts(proofParts(), isCheck)) {
    process.stderr.write(
      isCheck ? `${file} differs from the tests: run \`node scripts/proofs.ts\`\n` : `${file}\n`,
    );
    if (isCheck) process.exitCode = 1;
  }
} else {
  const report = JSON.parse(readFileSync(process.argv[reportAt + 1] ?? "", "utf8")) as Report;
  const passed = new Set<string>();
  const others = new Map<string, string>();
  for (const { assertionResults } of report.testResults) {
    for (const { fullName, status } of assertionResults) {
      for (const id of idsOf(fullName)) {
        if (status === "passed") passed.add(id);
        else others.set(id, `${status}: ${fullName}`);
      }
    }
  }
  const claimed = [...findProofs().keys()];
  const unproven = claimed.filter((id) => !passed.has(id) || others.has(id));
  for (const id of unproven) {
    process.stderr.write(`${id} is claimed, but ${others.get(id) ?? "no test of it was run"}\n`);
  }
  process.stdout.write(`${claimed.length - unproven.length} of ${claimed.length} ids are proven\n`);
  if (unproven.length > 0) process.exitCode = 1;
}
