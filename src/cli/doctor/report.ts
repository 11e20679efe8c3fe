import type { Context } from "../context.ts";
import { paint, printable } from "../terminal.ts";
import type { Finding, Status } from "./finding.ts";

const MARKS: Readonly<Record<Status, readonly ["green" | "red" | "yellow", string]>> = {
  ok: ["green", "ok     "],
  finding: ["red", "FINDING"],
  unknown: ["yellow", "unknown"],
};

export interface ReportOptions {
  readonly isJson: boolean;
  /** Checks that nothing is told of. */
  readonly skipped: readonly string[];
}

/** Tells each finding as it comes: lines for people, or one JSON object a line. */
export class Report {
  readonly #context: Context;
  readonly #isJson: boolean;
  readonly #skipped: readonly string[];
  readonly #counts: Record<Status, number> = { ok: 0, finding: 0, unknown: 0 };
  #hasProgress = false;

  constructor(context: Context, options: ReportOptions) {
    this.#context = context;
    this.#isJson = options.isJson;
    this.#skipped = options.skipped;
  }

  get findings(): number {
    return this.#counts.finding;
  }

  readonly add = (finding: Finding): void => {
    if (this.#skipped.includes(finding.check)) return;
    this.#counts[finding.status] += 1;
    this.clear();
    const { stdout } = this.#context;
    stdout.write(this.#isJson ? `${JSON.stringify(finding)}\n` : this.#lines(finding));
  };

  /** What is being waited for, on a terminal; nothing elsewhere. */
  readonly progress = (text: string): void => {
    const { stderr } = this.#context;
    if (!stderr.isTTY) return;
    stderr.write(`\r\u001b[K${paint(stderr, "dim", `  ${text} ...`)}`);
    this.#hasProgress = true;
  };

  heading(text: string): void {
    this.clear();
    if (!this.#isJson)
      this.#context.stdout.write(`\n${paint(this.#context.stdout, "bold", text)}\n`);
  }

  summary(): void {
    this.clear();
    const { ok, finding, unknown } = this.#counts;
    const { stdout } = this.#context;
    if (this.#isJson) {
      stdout.write(`${JSON.stringify({ summary: { ok, findings: finding, unknown } })}\n`);
      return;
    }
    const text = finding === 0 ? "all well" : `${finding} finding${finding === 1 ? "" : "s"}`;
    const rest = unknown === 0 ? "" : `, ${unknown} unknown`;
    stdout.write(`\n${paint(stdout, finding === 0 ? "green" : "red", text)}, ${ok} ok${rest}\n`);
  }

  clear(): void {
    if (!this.#hasProgress) return;
    this.#context.stderr.write("\r\u001b[K");
    this.#hasProgress = false;
  }

  #lines({ check, status, what, why, fix = [] }: Finding): string {
    const { stdout } = this.#context;
    const [colour, mark] = MARKS[status];
    const dim = (text: string): string => paint(stdout, "dim", text);
    const lines = [`  ${paint(stdout, colour, mark)} ${check}: ${printable(what)}`];
    if (why !== undefined) lines.push(`          ${dim("why:")} ${printable(why)}`);
    for (const [index, line] of fix.entries())
      lines.push(`          ${dim(index === 0 ? "set:" : "    ")} ${printable(line)}`);
    return `${lines.join("\n")}\n`;
  }
}
