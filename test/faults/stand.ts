// A gateway and readers on two hosts, for the tests of this folder.
import { setTimeout as delay } from "node:timers/promises";
import { connectHosts } from "../support/netns.ts";
import type { Host } from "../support/netns.ts";
import type { RemoteProcess } from "../support/remote.ts";
import type { Opening, Seen } from "./client-host.ts";
import type { Ended, GatewayHostOptions, Publishing } from "./gateway-host.ts";

/** How often a condition is asked for. */
const POLL_MS = 50;

export class Stand {
  readonly gateway: Host;
  readonly client: Host;
  readonly #hub: RemoteProcess;
  readonly #readers: RemoteProcess;

  private constructor(hosts: { gateway: Host; client: Host }, hub: RemoteProcess) {
    this.gateway = hosts.gateway;
    this.client = hosts.client;
    this.#hub = hub;
    this.#readers = hosts.client.start(new URL("client-host.ts", import.meta.url), {});
  }

  /** `onEnd` is the test's; what it gets is run in reverse order. `prepare` is for what must be set before. */
  static async start(
    onEnd: (task: () => Promise<void>) => void,
    options: GatewayHostOptions = {},
    prepare: (hosts: { gateway: Host; client: Host }) => Promise<void> = async () => {},
    node?: string,
  ): Promise<Stand> {
    const hosts = await connectHosts(onEnd);
    await prepare(hosts);
    const hub = hosts.gateway.start(new URL("gateway-host.ts", import.meta.url), options, node);
    onEnd(() => hub.stop());
    await hub.call("ready");
    const stand = new Stand(hosts, hub);
    onEnd(() => stand.#readers.stop());
    return stand;
  }

  /** Resolves when the readers are connected. */
  async open(opening: Opening): Promise<void> {
    const before = await this.connections();
    await this.#readers.call("open", opening);
    const count = opening.count ?? 1;
    await this.until(async () => (await this.connections()) === before + count, "connections");
  }

  connections(): Promise<number> {
    return this.#hub.call("connections");
  }

  seen(): Promise<readonly Seen[]> {
    return this.#readers.call("seen");
  }

  reader(how: "reset" | "halfClose" | "hurry", index: number): Promise<void> {
    return this.#readers.call(how, index);
  }

  /** Everybody reads as fast as it can from now on. */
  hurryAll(): Promise<void> {
    return this.#readers.call("hurryAll");
  }

  /** Resolves when all is published, with how many events the topic has had by then. */
  publish(publishing: Publishing): Promise<number> {
    return this.#hub.call("publish", publishing);
  }

  ended(): Promise<readonly Ended[]> {
    return this.#hub.call("ended");
  }

  loud(): Promise<readonly string[]> {
    return this.#hub.call("loud");
  }

  /** A metric of the gateway; 0 if nothing was counted. */
  async metric(name: string): Promise<number> {
    return (await this.#hub.call<Record<string, number>>("metrics"))[name] ?? 0;
  }

  /** Memory of the gateway's process. */
  residentBytes(): Promise<number> {
    return this.#hub.call("residentBytes");
  }

  block(ms: number): Promise<void> {
    return this.#hub.call("block", ms);
  }

  signal(signal: NodeJS.Signals): void {
    this.#hub.signal(signal);
  }

  /** Resolves when every reader has event `n`, and fails with the reason if one cannot have it. */
  async everybodyHas(n: number, withinMs: number): Promise<readonly Seen[]> {
    await this.until(
      async () => (await this.seen()).every(({ last, failure }) => last >= n || failure !== ""),
      `event ${n} at every reader`,
      withinMs,
    );
    return this.seen();
  }

  /** Asks until it is so. */
  async until(isSo: () => Promise<boolean>, what: string, withinMs = 20_000): Promise<void> {
    const deadline = performance.now() + withinMs;
    while (!(await isSo())) {
      if (performance.now() > deadline) {
        const state = JSON.stringify({ ended: await this.ended(), seen: await this.seen() });
        throw new Error(`no ${what} within ${withinMs} ms: ${state.slice(0, 4_000)}`);
      }
      await delay(POLL_MS);
    }
  }
}
