import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pause } from "./scenario.ts";
import type { Server } from "./servers.ts";
import { buildFolder } from "./tools.ts";

/** One kind of object on a server's heap. */
export interface HeapRow {
  readonly kind: string;
  readonly count: number;
  readonly bytes: number;
}

interface Snapshot {
  readonly snapshot: {
    readonly meta: { node_fields: string[]; node_types: (string[] | string)[] };
  };
  readonly nodes: number[];
  readonly strings: string[];
}

const snapshotFiles = (): string[] =>
  readdirSync(buildFolder).filter((file) => file.endsWith(".heapsnapshot"));

/** The flag that makes a Node server write a heap snapshot when asked; see {@link heapRows}. */
export const SNAPSHOT_ARGUMENT = "--heapsnapshot-signal=SIGUSR2";

/**
 * Has a Node server (started with {@link SNAPSHOT_ARGUMENT}) write a heap snapshot, and sums it by
 * constructor, largest first. V8 collects all garbage before it writes one.
 */
export async function heapRows(server: Server): Promise<HeapRow[]> {
  for (const file of snapshotFiles()) rmSync(join(buildFolder, file));
  process.kill(server.pid, "SIGUSR2");
  // The file is whole when the server answers again, as it writes it on its only thread.
  for (let tries = 0; tries < 600 && snapshotFiles().length === 0; tries++) await pause(100);
  await fetch(new URL("/", `http://127.0.0.1:${server.port}`), { method: "POST", body: "{}" })
    .then((response) => response.body?.cancel())
    .catch(() => {});
  const [file] = snapshotFiles();
  if (!file) return [];
  const text = readFileSync(join(buildFolder, file), "utf8");
  rmSync(join(buildFolder, file));
  return sum(JSON.parse(text) as Snapshot);
}

function sum({ snapshot, nodes, strings }: Snapshot): HeapRow[] {
  const { node_fields: fields, node_types: types } = snapshot.meta;
  const [type, name, size] = ["type", "name", "self_size"].map((field) => fields.indexOf(field));
  const typeNames = types[0] as string[];
  const rows = new Map<string, { kind: string; count: number; bytes: number }>();
  for (let at = 0; at < nodes.length; at += fields.length) {
    const typeName = typeNames[nodes[at + (type as number)] as number] as string;
    // The text of a string or of code says nothing about whose it is.
    const isAnonymous = ["string", "concatenated string", "sliced string", "number"].includes(
      typeName,
    );
    const own = strings[nodes[at + (name as number)] as number] as string;
    const kind = isAnonymous ? typeName : `${typeName} ${own.slice(0, 60)}`.trim();
    const row = rows.get(kind) ?? { kind, count: 0, bytes: 0 };
    row.count++;
    row.bytes += nodes[at + (size as number)] as number;
    rows.set(kind, row);
  }
  return [...rows.values()].sort((a, b) => b.bytes - a.bytes);
}
