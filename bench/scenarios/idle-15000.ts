import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { heapRows, SNAPSHOT_ARGUMENT, type HeapRow } from "../support/heap.ts";
import { kernelSlabKiB, memory } from "../support/process.ts";
import { atMost } from "../support/record.ts";
import { pause, type Scenario } from "../support/scenario.ts";
import type { Server } from "../support/servers.ts";
import { benchFolder, Load } from "../support/tools.ts";

/** Long enough for V8 to notice that nothing happens and to return what it holds in reserve. */
const IDLE_MS = 20_000;

/** What a subscriber is made of: kinds of object of which there is one or more for each. */
function writeHeap(server: Server, subscribers: number, rows: readonly HeapRow[]): number {
  const each = rows.filter(
    ({ count, bytes }) => count >= 0.9 * subscribers || bytes >= 50 * subscribers,
  );
  const lines = each.map(
    ({ kind, count, bytes }) =>
      `| ${kind.replaceAll("|", "\\|")} | ${(count / subscribers).toFixed(2)} | ${Math.round(bytes / subscribers)} |`,
  );
  const total = each.reduce((bytes, row) => bytes + row.bytes, 0) / subscribers;
  const page = [
    `# Heap per idle subscriber: ${server.name}`,
    "",
    `From a heap snapshot at ${subscribers.toLocaleString("en-GB")} subscribers; ${Math.round(total)} bytes in all.`,
    "",
    "| kind | objects | bytes |",
    "|---|---:|---:|",
    ...lines,
  ];
  const name = `idle-15000-heap-${server.name}.md`;
  writeFileSync(join(benchFolder, "results", name), `${page.join("\n")}\n`);
  return total;
}

/** Resident memory per subscriber that only holds its connection, and what it is made of. */
export const idle15000: Scenario = {
  title: "resident memory per idle subscriber at 15,000",
  servers: ["sluice", "bare-net", "bare-http", "better-sse"],
  runs: 3,
  seconds: 0,
  serverOptions: { nodeArguments: [SNAPSHOT_ARGUMENT] },
  async run(server, { subscribers = 15_000 }) {
    const path = "/v1/topics/t";
    // Code, pools and hidden classes that come with the first connections are not the subscribers'.
    const first = await Load.open({ port: server.port, connections: 500, path });
    await first.program.stop();
    await pause(3_000);
    const from = memory(server.pid);
    const slabFrom = kernelSlabKiB();

    const load = await Load.open({ port: server.port, connections: subscribers, path });
    try {
      await pause(1_000);
      const soon = memory(server.pid);
      await pause(IDLE_MS);
      const idle = memory(server.pid);
      const slab = kernelSlabKiB() - slabFrom;
      const report = await load.report();
      const heapBytes = writeHeap(server, subscribers, await heapRows(server));
      const each = (kiB: number): number => kiB / subscribers;
      return {
        rssMiBEmpty: from.rssKiB / 1_024,
        rssMiB: idle.rssKiB / 1_024,
        closed: report.closed,
        rssKiBEach: each(idle.rssKiB - from.rssKiB),
        rssKiBEachAtOnce: each(soon.rssKiB - from.rssKiB),
        brkHeapKiBEach: each(idle.brkHeapKiB - from.brkHeapKiB),
        otherAnonymousKiBEach: each(idle.otherAnonymousKiB - from.otherAnonymousKiB),
        heapSnapshotKiBEach: heapBytes / 1_024,
        // Both ends of each connection are on this machine.
        kernelSlabKiBEachEnd: each(slab) / 2,
      };
    } finally {
      await load.program.stop();
    }
  },
  judge: ({ sluice }) => [
    atMost("KiB per idle subscriber", sluice?.["rssKiBEach"] ?? Number.NaN, 10),
  ],
};
