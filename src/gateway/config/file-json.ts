import { findNodeAtLocation, getNodeValue, parseTree, printParseErrorCode } from "jsonc-parser";
import type { Node, ParseError } from "jsonc-parser";
import type { Parsed } from "./parsed.ts";

/** Reads JSON (RFC 8259), or with comments and trailing commas if `format` is `.jsonc`. */
export function parseJson(text: string, format: string): Parsed {
  const isPlain = format === ".json";
  const body = text.replace(/^\uFEFF/, "");
  const at = (offset: number): string => {
    const before = body.slice(0, offset).split(/\r\n|\r|\n/);
    return `${before.length}:${(before.at(-1)?.length ?? 0) + 1}`;
  };
  const errors: ParseError[] = [];
  const tree = parseTree(body, errors, {
    disallowComments: isPlain,
    allowTrailingComma: !isPlain,
    allowEmptyContent: !isPlain,
  });
  const faults = errors.map(({ error, offset }) => ({
    at: at(offset),
    message: `is not ${isPlain ? "JSON" : "JSON with comments"}: ${wordsOf(error)}`,
  }));
  for (const key of tree === undefined ? [] : repeatedKeys(tree)) {
    faults.push({ at: at(key.offset), message: "is not JSON: the key is said twice" });
  }
  return {
    value: tree === undefined || faults.length > 0 ? {} : getNodeValue(tree),
    faults,
    locate(path, part) {
      if (tree === undefined) return "1:1";
      for (let length = path.length; length > 0; length -= 1) {
        const node = findNodeAtLocation(tree, path.slice(0, length) as (string | number)[]);
        const isKey = part === "key" && length === path.length;
        if (node !== undefined) return at((isKey ? node.parent?.children?.[0] : node)?.offset ?? 0);
      }
      return at(tree.offset);
    },
  };
}

/** JSON lets a key be said twice; which of them counts is anybody's guess. */
function* repeatedKeys(node: Node): Generator<Node> {
  const seen = new Set<unknown>();
  for (const child of node.children ?? []) {
    const key = node.type === "object" ? child.children?.[0] : undefined;
    if (key !== undefined && seen.has(key.value)) yield key;
    if (key !== undefined) seen.add(key.value);
    yield* repeatedKeys(child);
  }
}

/** `CloseBraceExpected` as "close brace expected". */
function wordsOf(error: number): string {
  return printParseErrorCode(error)
    .replaceAll(/(?<=[a-z])(?=[A-Z])/g, " ")
    .toLowerCase();
}
