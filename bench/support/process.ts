import { readFileSync, writeFileSync } from "node:fs";

// USER_HZ is 100 on every Linux that Node runs on (proc_pid_stat(5)).
const TICKS_PER_SECOND = 100;

/** CPU seconds (user and system, all threads) that a process has used so far. Resolution 10 ms. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The command may hold spaces and parentheses, so count fields from the last one.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/**
 * CPU seconds that everything on this machine has used, time stolen by its host included. What is
 * left after the server and the tools shows a run that was disturbed.
 */
export function machineCpuSeconds(): number {
  const [, user, nice, system, , , irq, softirq, steal] = (
    readFileSync("/proc/stat", "utf8").split("\n")[0] ?? ""
  )
    .split(/\s+/)
    .map(Number);
  const ticks = [user, nice, system, irq, softirq, steal];
  return ticks.reduce<number>((sum, each) => sum + (each ?? 0), 0) / TICKS_PER_SECOND;
}

function fieldKiB(path: string, name: string): number {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(readFileSync(path, "utf8"));
  return match ? Number(match[1]) : 0;
}

/** Resident memory of a process in KiB. */
export const rssKiB = (pid: number): number => fieldKiB(`/proc/${pid}/status`, "VmRSS");

/** The most that was resident since the last {@link resetRssPeak}, in KiB. */
export const rssPeakKiB = (pid: number): number => fieldKiB(`/proc/${pid}/status`, "VmHWM");

/** Forgets the peak (proc(5), clear_refs). */
export const resetRssPeak = (pid: number): void => writeFileSync(`/proc/${pid}/clear_refs`, "5");

export interface Memory {
  readonly rssKiB: number;
  /** The C heap (`[heap]` and malloc's own mappings cannot be told apart from V8's by name). */
  readonly brkHeapKiB: number;
  readonly otherAnonymousKiB: number;
  readonly filesKiB: number;
}

/** Resident memory by kind of mapping, from /proc/<pid>/smaps. */
export function memory(pid: number): Memory {
  let kind: "brk" | "anonymous" | "file" = "anonymous";
  const sums = { brk: 0, anonymous: 0, file: 0 };
  for (const line of readFileSync(`/proc/${pid}/smaps`, "utf8").split("\n")) {
    const head = /^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+\s*(.*)$/.exec(line);
    if (head) {
      const name = head[1] ?? "";
      kind = name === "[heap]" ? "brk" : name.startsWith("/") ? "file" : "anonymous";
    } else if (line.startsWith("Rss:")) {
      sums[kind] += Number(/\d+/.exec(line)?.[0] ?? 0);
    }
  }
  return {
    rssKiB: rssKiB(pid),
    brkHeapKiB: sums.brk,
    otherAnonymousKiB: sums.anonymous,
    filesKiB: sums.file,
  };
}

/** Kernel memory for sockets is not in any process's RSS: slab growth is the nearest to it. */
export const kernelSlabKiB = (): number => fieldKiB("/proc/meminfo", "Slab");

const PAGE_KIB = 4;

/** What the buffers of all TCP sockets of this machine hold, both ends (proc(5), /proc/net/sockstat). */
export function kernelTcpKiB(): number {
  const match = /^TCP: .* mem (\d+)/m.exec(readFileSync("/proc/net/sockstat", "utf8"));
  return Number(match?.[1] ?? 0) * PAGE_KIB;
}

/** Connections that the kernel dropped because a listener's backlog was full; those clients try again after 1 s. */
export function listenOverflows(): number {
  const [names, values] = readFileSync("/proc/net/netstat", "utf8")
    .split("\n")
    .filter((line) => line.startsWith("TcpExt:"))
    .map((line) => line.split(" "));
  return Number(values?.[names?.indexOf("ListenOverflows") ?? -1] ?? 0);
}
