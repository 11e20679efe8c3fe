import type { Config } from "../../gateway/config/schema.ts";
import { capacityOf } from "../../gateway/descriptors.ts";
import { formatDuration } from "../../gateway/config/units.ts";
import { canStateRun, keepAliveRunOf } from "../../gateway/tcp-keepalive.ts";
import type { Findings } from "./finding.ts";
import type { MachineFacts } from "./machine.ts";

/** Fewer are used up by a few busy browsers. */
const DESCRIPTORS_MIN = 10_000;
/** Of descriptors, where the system does not say. */
const ASSUMED_MAX = 1_024;
const BACKLOG = 4_096;
/** Above it the kernel holds more for a client that never reads than this process does. */
const NOTSENT_LOWAT_MAX = 128 * 1024;
const NOTSENT_LOWAT = 16_384;
/** What the kernel took of a client that never reads before a write failed to leave, in bytes (measured). */
const KERNEL_BYTES = 3.8 * 1024 ** 2;
const RETRIES2_MAX = 8;

export type MachineConfig = Pick<Config, "maxConnections" | "heartbeat" | "overload" | "unacked">;

/** What follows from the facts for a gateway of this configuration. */
export function checkMachine(facts: MachineFacts, config: MachineConfig, findings: Findings): void {
  const capacity = capacityOf(facts.descriptorsMax ?? ASSUMED_MAX, 0, config.maxConnections);
  checkNode(findings, facts);
  checkDescriptors(findings, facts, config, capacity);
  checkNotsent(findings, facts, capacity);
  checkBacklog(findings, facts);
  checkDeadPeers(findings, facts, config);
  checkPorts(findings, facts, capacity);
}

function checkNode(findings: Findings, { nodeVersion }: MachineFacts): void {
  const can = canStateRun(nodeVersion);
  const rest = can ? "states keep-alive interval and count" : "leaves keep-alive to the sysctls";
  findings.ok("node", `Node ${nodeVersion} ${rest}`);
}

function checkDescriptors(
  findings: Findings,
  { descriptorsMax }: MachineFacts,
  { maxConnections, overload }: MachineConfig,
  capacity: number,
): void {
  if (descriptorsMax === undefined) {
    findings.unknown("descriptors", "this system does not say how many descriptors there are");
    return;
  }
  const said = `the hard limit of descriptors is ${counted(descriptorsMax)}`;
  const refusedFrom = Math.floor((capacity * overload.openPercent) / 100);
  const follows = `${counted(capacity)} connections, new subscriptions refused from ${counted(refusedFrom)} on`;
  if (maxConnections > capacity) {
    findings.found(
      "descriptors",
      `${said}, too low for maxConnections=${maxConnections}`,
      `the gateway takes ${follows}`,
      LIMIT_FIX(maxConnections),
    );
  } else if (descriptorsMax < DESCRIPTORS_MIN) {
    findings.found("descriptors", said, `the gateway takes ${follows}`, LIMIT_FIX(65_536));
  } else {
    findings.ok("descriptors", `${said}: ${follows}`);
  }
}

const LIMIT_FIX = (wanted: number): readonly string[] => [
  `systemd: LimitNOFILE=${Math.max(65_536, wanted * 2)}`,
  `docker: --ulimit nofile=${Math.max(65_536, wanted * 2)}`,
];

function checkNotsent(
  findings: Findings,
  { notsentLowat, sendBufferBytesMax = Infinity }: MachineFacts,
  capacity: number,
): void {
  if (notsentLowat === undefined) {
    findings.unknown("tcp_notsent_lowat", "this system has no net.ipv4.tcp_notsent_lowat");
    return;
  }
  const said = `net.ipv4.tcp_notsent_lowat is ${notsentLowat}`;
  const hidden = Math.min(KERNEL_BYTES, sendBufferBytesMax, notsentLowat + NOTSENT_LOWAT);
  if (notsentLowat <= NOTSENT_LOWAT_MAX || hidden <= NOTSENT_LOWAT_MAX * 2) {
    findings.ok("tcp_notsent_lowat", said);
    return;
  }
  const each = `${(hidden / 1024 ** 2).toFixed(1)} MiB`;
  const all = `${((hidden * capacity) / 1024 ** 3).toFixed(0)} GiB`;
  findings.found(
    "tcp_notsent_lowat",
    `${said}: THE KERNEL HIDES ABOUT ${each} FOR EACH CLIENT THAT NEVER READS`,
    `writes succeed until then, so a slow client is seen late, and ${counted(capacity)} of them would hold up to ${all} of kernel memory that no limit of Sluice counts`,
    [`sysctl -w net.ipv4.tcp_notsent_lowat=${NOTSENT_LOWAT}`],
  );
}

function checkBacklog(findings: Findings, { somaxconn }: MachineFacts): void {
  if (somaxconn === undefined) {
    findings.unknown("somaxconn", "this system has no net.core.somaxconn");
  } else if (somaxconn < BACKLOG) {
    findings.found(
      "somaxconn",
      `net.core.somaxconn is ${somaxconn}, and caps the backlog of ${BACKLOG} that the gateway asks for`,
      "when many clients reconnect at once, some wait a second and more for their connection",
      [`sysctl -w net.core.somaxconn=${BACKLOG}`],
    );
  } else {
    findings.ok("somaxconn", `net.core.somaxconn is ${somaxconn}`);
  }
}

function checkDeadPeers(findings: Findings, facts: MachineFacts, config: MachineConfig): void {
  const { keepAliveTimeS, keepAliveIntervalS, keepAliveProbes, retries2 } = facts;
  const { heartbeat, unacked } = config;
  if (canStateRun(facts.nodeVersion)) {
    const { idleMs, intervalMs, count } = keepAliveRunOf(heartbeat);
    const run = formatDuration(idleMs + intervalMs * count);
    findings.ok(
      "tcp_keepalive",
      `a silent peer is given up after ${run}, whatever the sysctls say`,
    );
  } else if (
    keepAliveTimeS === undefined ||
    keepAliveIntervalS === undefined ||
    keepAliveProbes === undefined
  ) {
    findings.unknown("tcp_keepalive", "this system has no net.ipv4.tcp_keepalive_*");
  } else {
    const runMs = (keepAliveTimeS + keepAliveIntervalS * keepAliveProbes) * 1_000;
    const said = `net.ipv4.tcp_keepalive_* give a silent peer up after ${formatDuration(runMs)}`;
    if (runMs <= heartbeat / 2) {
      findings.ok("tcp_keepalive", said);
    } else {
      const { idleMs, intervalMs, count } = keepAliveRunOf(heartbeat);
      findings.found(
        "tcp_keepalive",
        said,
        `Node ${facts.nodeVersion} leaves the probes to the system, and they pause at each heartbeat: they must end within half an interval (${formatDuration(heartbeat / 2)})`,
        [
          `sysctl -w net.ipv4.tcp_keepalive_time=${idleMs / 1_000} net.ipv4.tcp_keepalive_intvl=${intervalMs / 1_000} net.ipv4.tcp_keepalive_probes=${count}`,
          "or Node 24.19, 26.4 or later, which state them for each connection",
        ],
      );
    }
  }
  if (retries2 === undefined) {
    findings.unknown("tcp_retries2", "this system has no net.ipv4.tcp_retries2");
  } else if (facts.canReadSockets) {
    const watched = `peers that acknowledge nothing are evicted after ${formatDuration(unacked)}`;
    findings.ok("tcp_retries2", `net.ipv4.tcp_retries2 is ${retries2}; ${watched}`);
  } else if (retries2 > RETRIES2_MAX) {
    findings.found(
      "tcp_retries2",
      `net.ipv4.tcp_retries2 is ${retries2}, and /proc/net/tcp cannot be read`,
      "a client that vanished while bytes were on their way is noticed after a quarter of an hour",
      [`sysctl -w net.ipv4.tcp_retries2=${RETRIES2_MAX}`],
    );
  } else {
    findings.ok("tcp_retries2", `net.ipv4.tcp_retries2 is ${retries2}`);
  }
}

function checkPorts(findings: Findings, { localPorts }: MachineFacts, capacity: number): void {
  if (localPorts === undefined) {
    findings.unknown("ip_local_port_range", "this system has no net.ipv4.ip_local_port_range");
    return;
  }
  const said = `a proxy on this machine has ${counted(localPorts)} ports for connections to one address of the gateway`;
  if (localPorts >= capacity) findings.ok("ip_local_port_range", said);
  else
    findings.found(
      "ip_local_port_range",
      `${said}, fewer than the ${counted(capacity)} connections that it takes`,
      "each stream through the proxy takes one of them; beyond them the proxy answers 502",
      ["sysctl -w net.ipv4.ip_local_port_range='10240 65535'"],
    );
}

function counted(value: number): string {
  return value.toLocaleString("en");
}
