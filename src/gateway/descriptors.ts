import { readFileSync, readdirSync, statSync } from "node:fs";

/** POSIX promises fewer, but this is what systems start with; see `Descriptors.isAssumed`. */
const ASSUMED_MAX = 1_024;
/** What Linux has in `fs.nr_open` unless it was told otherwise: more than this nobody can open. */
const UNLIMITED = 1_048_576;
/** Descriptors kept for everything but public connections: see `reserveOf`. */
const RESERVE_MIN = 96;
const RESERVE_SHARE = 0.02;

/** How many file descriptors this process may have open. */
export interface Descriptors {
  readonly max: number;
  /** The system does not say; `max` is a cautious guess. */
  readonly isAssumed: boolean;
}

/**
 * The hard limit, because Node raises the soft one to it at start. Read once: where it is raised while
 * the process runs (`prlimit`), a restart makes use of it.
 */
export function descriptorsMax(): Descriptors {
  const max = fromProc() ?? fromReport();
  return max === undefined ? { max: ASSUMED_MAX, isAssumed: true } : { max, isAssumed: false };
}

/**
 * How many of them are kept back: for the listeners, standard streams, files, brokers and upstreams (a
 * bare gateway has 25), and for telling those who are too many that they are.
 */
export function reserveOf(descriptors: number): number {
  return Math.min(descriptors, Math.max(RESERVE_MIN, Math.ceil(descriptors * RESERVE_SHARE)));
}

/**
 * Connections that there is room for. `others` are the open descriptors that are no public connections:
 * up to half of the reserve is theirs, and what they take beyond it is taken off. `connectionsMax`
 * lowers the result; 0 does not.
 */
export function capacityOf(descriptors: number, others: number, connectionsMax: number): number {
  const reserve = reserveOf(descriptors);
  const budget = descriptors - Math.max(reserve, others + Math.ceil(reserve / 2));
  return Math.max(0, connectionsMax === 0 ? budget : Math.min(budget, connectionsMax));
}

/** What must not go unnoticed about the limit and `maxConnections`; undefined if all is well. */
export function describeShortage(
  connectionsMax: number,
  { max, isAssumed }: Descriptors = descriptorsMax(),
): string | undefined {
  const capacity = capacityOf(max, 0, connectionsMax);
  const hint = "raise it: ulimit -Hn, or LimitNOFILE= of systemd";
  if (isAssumed && connectionsMax > capacity) {
    return `the system does not tell its limit of file descriptors; ${ASSUMED_MAX} are assumed, so there can be ${capacity} connections, not maxConnections=${connectionsMax}`;
  }
  if (connectionsMax > capacity) {
    return `limit ${max} too low for maxConnections=${connectionsMax}: with so many file descriptors there can be ${capacity} connections; ${hint}`;
  }
  if (connectionsMax === 0 && max < ASSUMED_MAX) {
    return `the limit of ${max} file descriptors leaves room for ${capacity} connections; ${hint}`;
  }
  return undefined;
}

/** How many are open, and what it costs to ask. */
export interface DescriptorCount {
  readonly count: number;
  readonly isCheap: boolean;
}

/** Open descriptors of this process. Undefined where the system does not say. */
export function descriptorsNow(): DescriptorCount | undefined {
  try {
    // Linux 6.2 and later put the count there: 3 us, also with 20,000 open (measured).
    const { size } = statSync("/proc/self/fd");
    if (size > 0) return { count: size, isCheap: true };
    // One of them is the descriptor that lists them.
    return { count: readdirSync("/proc/self/fd").length - 1, isCheap: false };
  } catch {
    return undefined;
  }
}

function fromProc(): number | undefined {
  try {
    const line = /^Max open files +\S+ +(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    return limitOf(line?.[1]);
  } catch {
    return undefined;
  }
}

/** Other systems: Node asks `getrlimit` for its diagnostic report. Windows has no such limit there. */
function fromReport(): number | undefined {
  // The types of Node lack it; it is there from 22.0 on, and an older Node lacks the effect only.
  const report: NodeJS.ProcessReport & { excludeNetwork?: boolean } = process.report;
  const { excludeNetwork = false } = report;
  // Looking up the names of all peers would take seconds.
  report.excludeNetwork = true;
  try {
    const { userLimits } = report.getReport() as {
      userLimits?: { open_files?: { hard?: number | string } };
    };
    return limitOf(userLimits?.open_files?.hard);
  } finally {
    report.excludeNetwork = excludeNetwork;
  }
}

function limitOf(said: number | string | undefined): number | undefined {
  if (said === undefined) return undefined;
  if (said === "unlimited") return UNLIMITED;
  const limit = Number(said);
  return Number.isSafeInteger(limit) && limit > 0 ? limit : undefined;
}
