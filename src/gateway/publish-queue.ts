import type { Socket } from "node:net";
import type { Runtime } from "../internal/clock.ts";
import { Ring } from "../internal/ring.ts";

/**
 * What is published in one turn of the event loop, in bytes, each publish counted as `PUBLISH_BYTES`
 * more: about 4 ms of work. Node hands over up to 2 MiB of requests of one connection in one turn;
 * done at once they kept everybody else waiting for 40 ms (measured).
 */
const TURN_BYTES = 256 * 1024;
const PUBLISH_BYTES = 2 * 1024;
/** Of it each tenant may have so much at once, whatever the others have published in this turn. */
const SHARE_BYTES = 32 * 1024;
/** Publishes of one connection that may be under way before it is not read any more, and may again. */
const OUTSTANDING_MAX = 32;
const OUTSTANDING_LOW = 16;

interface Waiting {
  readonly bytes: number;
  readonly start: () => void;
}

/**
 * Spreads publishes over turns of the event loop. Where they wait, tenants take turns, and within a
 * tenant connections do, so that a flood delays neither the publishes of anybody else nor the flush.
 */
export class PublishQueue {
  readonly #runtime: Runtime;
  readonly #waiting = new Map<string, Map<Socket, Ring<Waiting>>>();
  #left = TURN_BYTES;
  /** What each tenant has begun in this turn. */
  readonly #begun = new Map<string, number>();
  #isTurnDue = false;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Resolves when a publish of so many bytes may begin; undefined if that is now. In order for one connection. */
  turn(tenant: string, socket: Socket, bytes: number): Promise<void> | undefined {
    this.#turnLater();
    if (!this.#waiting.has(tenant) && this.#mayBegin(tenant)) {
      this.#begin(tenant, bytes);
      return undefined;
    }
    return new Promise((start) => {
      let ofTenant = this.#waiting.get(tenant);
      if (ofTenant === undefined) this.#waiting.set(tenant, (ofTenant = new Map()));
      let queue = ofTenant.get(socket);
      if (queue === undefined) ofTenant.set(socket, (queue = new Ring()));
      queue.push({ bytes, start });
    });
  }

  /** Its share is never more than one more turn in all, however many tenants there are. */
  #mayBegin(tenant: string): boolean {
    if (this.#left > 0) return true;
    return this.#left > -TURN_BYTES && (this.#begun.get(tenant) ?? 0) < SHARE_BYTES;
  }

  #begin(tenant: string, bytes: number): void {
    const counted = bytes + PUBLISH_BYTES;
    this.#left -= counted;
    this.#begun.set(tenant, (this.#begun.get(tenant) ?? 0) + counted);
  }

  #turnLater(): void {
    if (this.#isTurnDue) return;
    this.#isTurnDue = true;
    this.#runtime.defer(this.#turn);
  }

  readonly #turn = (): void => {
    this.#isTurnDue = false;
    this.#left = TURN_BYTES;
    this.#begun.clear();
    while (this.#left > 0 && this.#waiting.size > 0) {
      const [tenant, next] = this.#next() ?? [];
      if (tenant === undefined || next === undefined) break;
      this.#begin(tenant, next.bytes);
      next.start();
    }
    if (this.#waiting.size > 0) this.#turnLater();
  };

  /** The next in turn. Its tenant and its connection go behind the others. */
  #next(): readonly [string, Waiting | undefined] | undefined {
    for (const [tenant, ofTenant] of this.#waiting) {
      this.#waiting.delete(tenant);
      for (const [socket, queue] of ofTenant) {
        ofTenant.delete(socket);
        const next = queue.shift();
        if (queue.length > 0) ofTenant.set(socket, queue);
        if (ofTenant.size > 0) this.#waiting.set(tenant, ofTenant);
        return [tenant, next];
      }
    }
    return undefined;
  }
}

const kOutstanding = Symbol("sluice.publishes");
type PublishingSocket = Socket & { [kOutstanding]?: Outstanding };

interface Outstanding {
  count: number;
  isPaused: boolean;
}

/**
 * A publish of this connection is under way. With too many of them it is not read any more, so that
 * what is pipelined waits in the kernel, and not as requests in this process.
 */
export function beginPublish(socket: PublishingSocket): void {
  const outstanding = (socket[kOutstanding] ??= { count: 0, isPaused: false });
  outstanding.count += 1;
  if (outstanding.count < OUTSTANDING_MAX || outstanding.isPaused) return;
  outstanding.isPaused = true;
  socket.pause();
}

/** It was answered, or it failed. */
export function endPublish(socket: PublishingSocket): void {
  const outstanding = socket[kOutstanding];
  if (outstanding === undefined) return;
  outstanding.count -= 1;
  if (outstanding.count > OUTSTANDING_LOW || !outstanding.isPaused) return;
  outstanding.isPaused = false;
  if (!socket.destroyed) socket.resume();
}
