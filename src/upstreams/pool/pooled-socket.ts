import type { Socket } from "node:net";
import type { UpstreamResponse } from "../message.ts";
import { Http1Exchange } from "./http1.ts";
import type { Lease } from "./lease.ts";
import type { PoolServices } from "./pool-options.ts";
import type { SocketLife } from "./socket-state.ts";

/** Why a socket was taken out of the pool: the label of `sluice_upstream_evicted_total`. */
export type SocketReason =
  | "idle"
  | "age"
  | "closed"
  | "error"
  | "unasked"
  | "unfinished"
  | "not_kept"
  | "unclean"
  | "destroyed";

export interface SocketOwner {
  /** It may carry another request. */
  onIdle(pooled: PooledSocket): void;
  /** It carries nothing any more, and never will. Called once. */
  onDead(pooled: PooledSocket, reason: SocketReason): void;
  /** Its descriptor is given back. Called once, after `onDead`. */
  onClosed(pooled: PooledSocket): void;
}

const WATCHED = ["data", "end", "error", "close", "drain", "free", "timeout"] as const;

/** One HTTP/1.1 socket of a pool. Its handlers are there before it is given to anybody (R13). */
export class PooledSocket {
  readonly kind = "http1";
  readonly life: SocketLife;
  readonly #socket: Socket;
  readonly #services: PoolServices;
  readonly #owner: SocketOwner;
  readonly #listeners: readonly number[];
  /** When it takes no further request. */
  readonly #endsAt: number;
  #idleUntil: number;
  #exchange: Http1Exchange | undefined;
  /** It has carried a request: the origin may close it for having been idle. */
  #isReused = false;
  #reason: SocketReason | undefined;
  #isClosed = false;

  /** `life` goes from `connecting` to `idle`. */
  constructor(socket: Socket, life: SocketLife, owner: SocketOwner, services: PoolServices) {
    const { runtime, options } = services;
    this.#socket = socket;
    this.life = life;
    this.#owner = owner;
    this.#services = services;
    const now = runtime.now();
    // Sockets that were opened together do not end together.
    this.#endsAt = now + options.ageMsMax * (0.9 + 0.2 * runtime.random());
    this.#idleUntil = now + options.idleMs;
    socket.setNoDelay(true);
    socket.on("error", (error) => this.#onError(error));
    socket.on("data", () => this.#onData());
    socket.on("end", () => this.#onEnd());
    socket.once("close", () => this.#onClose());
    this.#listeners = WATCHED.map((event) => socket.listenerCount(event));
    life.move("idle");
  }

  /** Idle, alive as far as can be seen, and neither too old nor idle for too long. */
  isUsable(now: number): boolean {
    return this.life.state === "idle" && this.#whyNot(now) === undefined;
  }

  /** Carries a request. The lease is released when the socket is needed no more. */
  carry(lease: Lease, headersMsMax: number): Promise<UpstreamResponse> {
    this.take();
    const exchange = new Http1Exchange(this.#socket, lease, {
      runtime: this.#services.runtime,
      headersMsMax,
      isReused: this.#isReused,
      onOver: (isReusable, idleMsMax) => this.giveBack(lease, isReusable, idleMsMax),
    });
    this.#exchange = exchange;
    this.#isReused = true;
    return exchange.response;
  }

  /** It is idle no more. */
  take(): void {
    this.life.move("leased");
  }

  /**
   * Releases the lease. `isReusable`: request and response are whole; whatever else speaks against
   * another request is looked for here. What is not idle afterwards is destroyed.
   */
  giveBack(lease: Lease, isReusable: boolean, idleMsMax: number): void {
    this.#exchange = undefined;
    lease.release();
    if (this.#reason !== undefined) return;
    const { runtime, options } = this.#services;
    const now = runtime.now();
    this.#idleUntil = now + Math.min(options.idleMs, idleMsMax);
    if (!isReusable) return this.evict(this.#socket.destroyed ? "unfinished" : "not_kept");
    if (this.life.state === "draining") return this.evict("age");
    // A handler that stays would hear the next request (law 22).
    if (!this.#isClean()) return this.evict("unclean");
    const why = this.#whyNot(now);
    if (why !== undefined) return this.evict(why);
    // A response that was read slowly leaves it paused, and its end would not be seen.
    this.#socket.resume();
    this.life.move("idle");
    this.#owner.onIdle(this);
  }

  /** Looks at its age and, if it is idle, at its life. */
  sweep(now: number): void {
    const { state } = this.life;
    if (state === "leased" && now >= this.#endsAt) this.life.move("draining");
    if (state !== "idle") return;
    const why = this.#whyNot(now);
    if (why !== undefined) this.evict(why);
  }

  /** Takes it out, now; a response under way ends with `upstream_protocol`. */
  evict(reason: SocketReason): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.life.move("dead");
    this.#socket.destroy();
    exchange?.destroy();
    this.#owner.onDead(this, reason);
    // It was closed before it came here: there is no further 'close' to wait for.
    if (this.#socket.closed) this.#onClose();
  }

  #whyNot(now: number): SocketReason | undefined {
    const socket = this.#socket;
    if (socket.destroyed || !socket.readable || !socket.writable) return "closed";
    if (socket.readableLength > 0) return "unasked";
    if (now >= this.#idleUntil) return "idle";
    return now >= this.#endsAt ? "age" : undefined;
  }

  #isClean(): boolean {
    const socket = this.#socket;
    if (socket.writableLength > 0) return false;
    return WATCHED.every((event, at) => socket.listenerCount(event) === this.#listeners[at]);
  }

  #onData(): void {
    // Nobody has asked for them: what comes out of turn could be taken for the next answer (U15).
    if (this.#exchange === undefined || this.#exchange.isComplete) this.evict("unasked");
    else this.#exchange.onBytes();
  }

  #onEnd(): void {
    if (this.life.state === "idle") this.evict("closed");
  }

  #onError(error: Error): void {
    this.#services.logger.debug({ err: error }, "an upstream socket broke");
    // Under way it is its exchange that tells; its end evicts.
    if (this.#exchange === undefined) this.evict("error");
  }

  #onClose(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#exchange === undefined) this.evict("closed");
    else this.#exchange.onClose();
    this.#owner.onClosed(this);
  }
}
