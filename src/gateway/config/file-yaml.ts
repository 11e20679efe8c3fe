import { LineCounter, isAlias, isMap, isScalar, isSeq, parseDocument } from "yaml";
import type { Node, Pair } from "yaml";
import type { Parsed } from "./parsed.ts";

/** Reads YAML 1.2. A tag, alias bomb, second document or key said twice is a fault like any other. */
export function parseYaml(text: string): Parsed {
  const lines = new LineCounter();
  // Pretty errors quote the line they are about, and a line may hold a secret.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${line}:${col}`;
  };
  const faults = [...document.errors, ...document.warnings].map((error) => ({
    at: at(error.pos[0]),
    message: `is not YAML: ${(error.message.split("\n")[0] ?? "").replace(/: .*$/s, "")}`,
  }));
  let value: unknown;
  try {
    value = faults.length > 0 ? {} : document.toJS();
  } catch {
    faults.push({ at: "1:1", message: "has more aliases than are resolved" });
  }
  return {
    value: value ?? {},
    faults,
    locate: (path, part) => at(offsetOf(document.contents, path, part)),
  };
}

function offsetOf(root: Node | null, path: readonly PropertyKey[], part: "key" | "value"): number {
  let node: unknown = root;
  let offset = startOf(root) ?? 0;
  for (const [index, name] of path.entries()) {
    if (isAlias(node)) return offset;
    if (isSeq(node)) {
      node = node.items[Number(name)];
    } else if (isMap(node)) {
      const pair: Pair | undefined = node.items.find(
        ({ key }) => isScalar(key) && String(key.value) === String(name),
      );
      node = index === path.length - 1 && part === "key" ? pair?.key : (pair?.value ?? pair?.key);
    } else {
      return offset;
    }
    offset = startOf(node) ?? offset;
  }
  return offset;
}

function startOf(node: unknown): number | undefined {
  return (node as Node | null | undefined)?.range?.[0];
}
