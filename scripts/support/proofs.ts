import { readFileSync, readdirSync } from "node:fs";
import ts from "typescript";
import { FAULTS, LAWS, REQUIREMENTS } from "./catalogue.ts";
import { table } from "./generated.ts";
import type { GeneratedPart } from "./generated.ts";
import { root } from "./run.ts";

/** A test that carries an id in its title. */
export interface Proof {
  readonly file: string;
  /** As in the source; `…` stands for what is filled in. */
  readonly title: string;
}

const CATALOGUE = { ...LAWS, ...FAULTS, ...REQUIREMENTS };

/** The ids in a title: `law 5`, `laws 5 and 7`, `S01`, `P15`, `F22`, `R22`, `A09`, `U14`. */
export function idsOf(title: string): string[] {
  const ids = new Set(title.match(/\b[SPFRAU][0-9]{2}\b/g));
  for (const [, numbers = ""] of title.matchAll(/\blaws? ([0-9]+(?:(?:, ?| and )[0-9]+\b)*)/gi)) {
    for (const number of numbers.match(/[0-9]+/g) ?? []) ids.add(`law ${number}`);
  }
  return [...ids];
}

/**
 * Which tests carry which id, by the strings in the test files and in the published suites that they
 * run. Comments do not count: they are not run.
 */
export function findProofs(): Map<string, Proof[]> {
  const proofs = new Map<string, Proof[]>();
  for (const file of testFiles()) {
    for (const title of stringsOf(file)) {
      for (const id of idsOf(title)) {
        if (!Object.hasOwn(CATALOGUE, id)) {
          throw new Error(
            `${file}: "${title}" names ${id}, which scripts/support/catalogue.ts lacks`,
          );
        }
        const known = proofs.get(id) ?? [];
        if (!known.some((proof) => proof.file === file && proof.title === title)) {
          known.push({ file, title });
        }
        proofs.set(id, known);
      }
    }
  }
  return proofs;
}

/** The generated parts of docs/faults.md and docs/requirements.md. */
export function proofParts(): GeneratedPart[] {
  const proofs = findProofs();
  const part = (
    file: string,
    name: string,
    rows: Readonly<Record<string, string>>,
  ): GeneratedPart => ({ file, name, text: describe(rows, proofs) });
  return [
    part("docs/faults.md", "laws", LAWS),
    part("docs/faults.md", "faults", FAULTS),
    part("docs/requirements.md", "tests by requirement", REQUIREMENTS),
  ];
}

function describe(rows: Readonly<Record<string, string>>, proofs: Map<string, Proof[]>): string {
  const entries = Object.entries(rows);
  const proven = entries.filter(([id]) => proofs.has(id));
  const open = entries.filter(([id]) => !proofs.has(id)).map(([id]) => id);
  const text = table(
    ["id", "what must hold", "tests"],
    proven.map(([id, statement]) => [id, statement, (proofs.get(id) ?? []).map(show).join("<br>")]),
  );
  const rest = open.length === 0 ? "" : `\n\nNo test of this release carries: ${ranges(open)}.`;
  return `${proven.length === 0 ? "" : text}${rest}`;
}

/** `S02, S05 to S08`. The ids are in order. */
function ranges(ids: readonly string[]): string {
  const runs: string[][] = [];
  for (const id of ids) {
    const run = runs.at(-1);
    const last = run?.at(-1);
    const isNext = last !== undefined && next(last) === id;
    if (run !== undefined && isNext) run.push(id);
    else runs.push([id]);
  }
  return runs.flatMap((run) => (run.length < 3 ? run : [`${run[0]} to ${run.at(-1)}`])).join(", ");
}

function next(id: string): string {
  return id.replace(/[0-9]+$/, (digits) =>
    String(Number(digits) + 1).padStart(id.startsWith("law") ? 1 : 2, "0"),
  );
}

function show({ file, title }: Proof): string {
  const escaped = title.replaceAll("<", "&lt;").replaceAll("*", "\\*");
  return `\`${file}\`: ${escaped}`;
}

function testFiles(): string[] {
  const below = (folder: string, ending: string): string[] =>
    readdirSync(`${root}${folder}`, { recursive: true })
      .map((name) => `${folder}/${String(name).replaceAll("\\", "/")}`)
      .filter((name) => name.endsWith(ending));
  return [...below("test", ".test.ts"), ...below("src/testing", "-conformance.ts")].toSorted();
}

function stringsOf(file: string): string[] {
  const text = readFileSync(`${root}${file}`, "utf8");
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest);
  const strings: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteralLike(node)) strings.push(node.text);
    if (ts.isTemplateExpression(node)) {
      strings.push(
        [node.head.text, ...node.templateSpans.map(({ literal }) => literal.text)].join("…"),
      );
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return strings;
}
