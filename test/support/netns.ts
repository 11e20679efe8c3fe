// Two hosts on one cable: Linux network namespaces, in which packets can be lost, delayed and refused
// without anybody else noticing.
import { execFile, execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { promisify } from "node:util";
import { needs } from "./programs.ts";
import type { Program } from "./programs.ts";
import { CLIENT_IP, GATEWAY_IP, RemoteProcess } from "./remote.ts";

const run = promisify(execFile);
const PREFIX = "sluice-";
const NAMES = new RegExp(`^${PREFIX}(\\d+)-`);
let cables = 0;

/** `ip`, if this process may make namespaces with it. */
export function needsNamespaces(): Program {
  const ip = needs("ip");
  if (ip.path === undefined) return { missing: "ip is not installed (apt-get install iproute2)" };
  const name = `${PREFIX}${process.pid}-probe`;
  try {
    execFileSync(ip.path, ["netns", "add", name], { stdio: "ignore" });
    execFileSync(ip.path, ["netns", "delete", name], { stdio: "ignore" });
    return ip;
  } catch {
    return { missing: "network namespaces cannot be made here (run as root)" };
  }
}

/** One end of the cable. */
export class Host {
  readonly namespace: string;
  readonly device: string;

  constructor(namespace: string, device: string) {
    this.namespace = namespace;
    this.device = device;
  }

  /** Runs a command in this host, and resolves when it has ended well. */
  async run(...command: readonly string[]): Promise<void> {
    await run("ip", ["netns", "exec", this.namespace, ...command]);
  }

  /** Sets parameters of the kernel; those of the network are each namespace's own. */
  async sysctl(parameters: Readonly<Record<string, string>>): Promise<void> {
    if (Object.keys(parameters).length === 0) return;
    const settings = Object.entries(parameters).map(([name, value]) => `${name}=${value}`);
    await this.run("sysctl", "-q", "-w", ...settings);
  }

  /** Packets that `match` no longer get through, either way or one. */
  async drop(chain: "INPUT" | "OUTPUT", ...match: readonly string[]): Promise<void> {
    await this.run("iptables", "-w", "-A", chain, ...match, "-j", "DROP");
  }

  /** The cable is pulled out at this end, or put in again. */
  async link(state: "up" | "down"): Promise<void> {
    await this.run("ip", "link", "set", this.device, state);
  }

  /** Starts a script of ours in this host; see `RemoteProcess`. */
  start(script: URL, options: unknown, node = process.execPath): RemoteProcess {
    return new RemoteProcess(this.namespace, [node, script.pathname], options);
  }
}

/** Makes two hosts; `onEnd` is called with what removes them, and everything that runs there. */
export async function connectHosts(
  onEnd: (remove: () => Promise<void>) => void,
): Promise<{ gateway: Host; client: Host }> {
  await removeLeftovers();
  cables += 1;
  const name = `${PREFIX}${process.pid}-${cables}`;
  const [gateway, client] = [new Host(`${name}g`, "vg"), new Host(`${name}c`, "vc")];
  onEnd(async () => {
    await run("ip", ["netns", "delete", gateway.namespace]).catch(() => {});
    await run("ip", ["netns", "delete", client.namespace]).catch(() => {});
  });
  await run("ip", ["netns", "add", gateway.namespace]);
  await run("ip", ["netns", "add", client.namespace]);
  const ends = ["vg", "netns", gateway.namespace, "type", "veth", "peer", "name", "vc"];
  await run("ip", ["link", "add", ...ends, "netns", client.namespace]);
  for (const [host, address] of [
    [gateway, GATEWAY_IP],
    [client, CLIENT_IP],
  ] as const) {
    await host.run("ip", "address", "add", `${address}/24`, "dev", host.device);
    await host.run("ip", "link", "set", "lo", "up");
    await host.link("up");
  }
  return { gateway, client };
}

/** What a run of ours that was killed has left behind. */
async function removeLeftovers(): Promise<void> {
  const folder = "/run/netns";
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) {
    const pid = NAMES.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    await run("ip", ["netns", "delete", name]).catch(() => {});
  }
}
