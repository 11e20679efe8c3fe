import { readFileSync, writeFileSync } from "node:fs";
import { root } from "./run.ts";

/** Parts of the docs that are made from code. A part stands between two marks and is named by the first. */
export interface GeneratedPart {
  /** The file, below the repository. */
  readonly file: string;
  readonly name: string;
  readonly text: string;
}

const END = "<!-- end of the generated part -->";

/** Puts each part where its marks are. Returns what differed; with `isCheck` nothing is written. */
export function placeParts(parts: readonly GeneratedPart[], isCheck: boolean): string[] {
  const faults: string[] = [];
  for (const file of new Set(parts.map((part) => part.file))) {
    const before = readFileSync(`${root}${file}`, "utf8");
    let after = before;
    for (const part of parts) if (part.file === file) after = place(after, part);
    if (after === before) continue;
    faults.push(file);
    if (!isCheck) writeFileSync(`${root}${file}`, after);
  }
  return faults;
}

function place(page: string, { file, name, text }: GeneratedPart): string {
  const begin = `<!-- generated: ${name}; by \`node scripts/docs.ts\`, do not edit -->`;
  const start = page.indexOf(begin);
  const end = page.indexOf(END, start);
  if (start === -1 || end === -1) {
    throw new Error(`${file} has no marks for the generated part "${name}": ${begin} and ${END}`);
  }
  return `${page.slice(0, start)}${begin}\n\n${text.trim()}\n\n${page.slice(end)}`;
}

/** A Markdown table. A bar in a cell is escaped, a line end becomes a space. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
  return [line(head), `|${"---|".repeat(head.length)}`, ...rows.map(line)].join("\n");
}
