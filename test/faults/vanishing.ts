// Peers that vanish: their packets are dropped, and no FIN ever comes.
import { PORT } from "../support/remote.ts";
import type { Ended } from "./gateway-host.ts";
import type { Stand } from "./stand.ts";

export const HEARTBEAT_MS = 20_000;
/** What is promised: for an idle stream, and in any case. */
export const IDLE_MS_MAX = 20_000;
export const ANY_MS_MAX = 30_000;

/** Nothing from or to this port of the client's gets through from now on. Returns when that began. */
export async function vanish(stand: Stand, port: number): Promise<number> {
  const at = Date.now();
  await Promise.all([
    stand.client.drop("OUTPUT", "-p", "tcp", "--sport", `${port}`, "--dport", `${PORT}`),
    stand.client.drop("INPUT", "-p", "tcp", "--dport", `${port}`, "--sport", `${PORT}`),
  ]);
  return at;
}

/** From vanishing to the eviction, by peer; in seconds, sorted, and the reasons. */
export function delaysOf(
  ended: readonly Ended[],
  vanishedAt: ReadonlyMap<number, number>,
): { readonly delaysMs: readonly number[]; readonly reasons: Record<string, number> } {
  const reasons: Record<string, number> = {};
  const delaysMs = ended.map(({ peer, reason, at }) => {
    reasons[reason] = (reasons[reason] ?? 0) + 1;
    return at - (vanishedAt.get(Number(peer.split(":")[1])) ?? Number.NaN);
  });
  return { delaysMs: delaysMs.toSorted((a, b) => a - b), reasons };
}

export function say(
  title: string,
  delaysMs: readonly number[],
  reasons: Record<string, number>,
): void {
  const at = (share: number): string =>
    ((delaysMs[Math.floor((delaysMs.length - 1) * share)] ?? 0) / 1_000).toFixed(1);
  const spread = `min ${at(0)} s, median ${at(0.5)} s, p90 ${at(0.9)} s, max ${at(1)} s`;
  console.log(`${title}: ${delaysMs.length} evicted after ${spread}; ${JSON.stringify(reasons)}`);
}
