import type { Run } from "../../upstreams/runs/run.ts";

const heads = new WeakMap<Run, Readonly<Record<string, string>>>();

/** Keeps what the origin said with the stream of a run: whoever comes to it later is told the same. */
export function keepHead(run: Run, head: Readonly<Record<string, string>>): void {
  heads.set(run, head);
}

/** Empty for a run that no origin feeds. */
export function headOf(run: Run): Readonly<Record<string, string>> {
  return heads.get(run) ?? {};
}
