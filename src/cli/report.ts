import { SluiceClientError } from "../client/index.ts";
import { ConfigError, PROBLEMS_SHOWN_MAX, describeProblem } from "../gateway/config/problem.ts";
import { EXIT, UnavailableError, UsageError } from "./exit.ts";
import type { ExitCode } from "./exit.ts";
import { printable } from "./terminal.ts";

/** What went wrong, as lines for standard error, and the exit code. Only our own mistakes have a stack. */
export function reportOf(error: unknown): { readonly text: string; readonly exitCode: ExitCode } {
  if (error instanceof ConfigError) {
    return { text: configReport(error), exitCode: EXIT.config };
  }
  if (error instanceof UnavailableError) {
    return { text: `sluice: ${printable(error.message)}\n`, exitCode: EXIT.unavailable };
  }
  if (error instanceof UsageError) {
    return { text: `sluice: ${printable(error.message)}\n`, exitCode: EXIT.usage };
  }
  if (error instanceof SluiceClientError) {
    return { text: clientReport(error), exitCode: EXIT.failed };
  }
  const details = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { text: `sluice: a mistake of its own: ${details}\n`, exitCode: EXIT.internal };
}

function configReport({ problems }: ConfigError): string {
  const lines = problems.slice(0, PROBLEMS_SHOWN_MAX).map((problem) => describeProblem(problem));
  const more = problems.length - lines.length;
  if (more > 0) lines.push(`and ${more} more`);
  const total = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  lines.push(
    `${total} in the configuration; nothing was started. All options: docs/configuration.md`,
  );
  return lines.map((line) => `sluice: ${printable(line)}\n`).join("");
}

function clientReport({ code, message, cause, problem }: SluiceClientError): string {
  const reason = cause instanceof Error ? causeOf(cause) : "";
  const lines = [`sluice: ${message}${reason === "" ? "" : ` (${reason})`}`];
  if (problem?.hint !== undefined) lines.push(`  hint: ${problem.hint}`);
  if (code === "unreachable" && problem?.hint === undefined)
    lines.push("  hint: start a gateway with `sluice serve`, or name it by --url");
  return lines.map((line) => `${printable(line)}\n`).join("");
}

/** fetch says "fetch failed"; what failed is its cause. */
function causeOf(error: Error): string {
  if (error.cause instanceof Error) return causeOf(error.cause);
  const code = (error as NodeJS.ErrnoException).code;
  return error.message || code || error.name;
}
