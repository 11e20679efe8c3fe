import { readFileSync } from "node:fs";
import { descriptorsMax } from "../../gateway/descriptors.ts";
import type { Descriptors } from "../../gateway/descriptors.ts";

/** What the kernel of this machine, or container, says. Undefined where it says nothing (not Linux). */
export interface MachineFacts {
  readonly nodeVersion: string;
  /** The hard limit of descriptors of a process; Node raises the soft one to it by itself. */
  readonly descriptorsMax: number | undefined;
  readonly somaxconn: number | undefined;
  readonly notsentLowat: number | undefined;
  /** The largest send buffer of a TCP connection, in bytes. */
  readonly sendBufferBytesMax: number | undefined;
  readonly retries2: number | undefined;
  readonly keepAliveTimeS: number | undefined;
  readonly keepAliveIntervalS: number | undefined;
  readonly keepAliveProbes: number | undefined;
  /** Ports that one program of this machine has for connections to one address. */
  readonly localPorts: number | undefined;
  readonly canReadSockets: boolean;
}

/** Returns the text of a file, or throws. */
export type ReadText = (path: string) => string;

const readText: ReadText = (path) => readFileSync(path, "utf8");

/** What is not read from files; the defaults are those of this process. */
export interface ProcessFacts {
  readonly nodeVersion?: string;
  readonly descriptors?: Descriptors;
}

export function readMachine(
  read: ReadText = readText,
  { nodeVersion = process.versions.node, descriptors = descriptorsMax() }: ProcessFacts = {},
): MachineFacts {
  const text = (path: string): string | undefined => {
    try {
      return read(path);
    } catch {
      return undefined;
    }
  };
  const numbers = (name: string): readonly number[] =>
    (text(`/proc/sys/net/${name}`) ?? "").trim().split(/\s+/).filter(Boolean).map(Number);
  const { max, isAssumed } = descriptors;
  const [first, last] = numbers("ipv4/ip_local_port_range");
  return {
    nodeVersion,
    descriptorsMax: isAssumed ? undefined : max,
    somaxconn: numbers("core/somaxconn")[0],
    notsentLowat: numbers("ipv4/tcp_notsent_lowat")[0],
    sendBufferBytesMax: numbers("ipv4/tcp_wmem")[2],
    retries2: numbers("ipv4/tcp_retries2")[0],
    keepAliveTimeS: numbers("ipv4/tcp_keepalive_time")[0],
    keepAliveIntervalS: numbers("ipv4/tcp_keepalive_intvl")[0],
    keepAliveProbes: numbers("ipv4/tcp_keepalive_probes")[0],
    localPorts: first === undefined || last === undefined ? undefined : last - first + 1,
    canReadSockets: text("/proc/net/tcp") !== undefined,
  };
}
