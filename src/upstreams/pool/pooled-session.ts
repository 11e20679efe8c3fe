import { SluiceError } from "../../core/errors.ts";
import type { Timer } from "../../internal/clock.ts";
import type { UpstreamRequest, UpstreamResponse } from "../message.ts";
import { shownOrigin } from "../origin.ts";
import type { Http2Channel, Http2Reason, Turns } from "./channel.ts";
import type { Lease } from "./lease.ts";
import type { PoolServices } from "./pool-options.ts";
import type { SocketLife } from "./socket-state.ts";

export interface SessionOwner {
  /** There may be room for another stream, or need of another session. */
  onFree(): void;
  /** It is gone, and its streams with it. Called once. */
  onGone(pooled: PooledSession, reason: Http2Reason | "idle" | "age"): void;
}

/** One HTTP/2 session of a pool, which carries many requests. */
export class PooledSession {
  readonly kind = "http2";
  readonly life: SocketLife;
  readonly #channel: Http2Channel;
  readonly #services: PoolServices;
  readonly #owner: SessionOwner;
  readonly #endsAt: number;
  #idleSince: number;
  #reason: "idle" | "age" | undefined;

  /** `life` goes from `connecting` to `idle`. */
  constructor(
    channel: Http2Channel,
    life: SocketLife,
    owner: SessionOwner,
    services: PoolServices,
  ) {
    const { runtime, options } = services;
    this.#channel = channel;
    this.life = life;
    this.#services = services;
    this.#owner = owner;
    this.#idleSince = runtime.now();
    this.#endsAt = this.#idleSince + options.ageMsMax * (0.9 + 0.2 * runtime.random());
    life.move("idle");
    channel.onFree(() => {
      this.#follow();
      owner.onFree();
    });
    channel.onDraining(() => {
      this.#follow();
      owner.onFree();
    });
    channel.onGone((reason) => {
      this.#follow();
      life.forget();
      owner.onGone(this, this.#reason ?? reason);
    });
    this.#follow();
  }

  get streamsNow(): number {
    return this.#channel.streamsNow;
  }

  get isOpenForStreams(): boolean {
    return this.#channel.isOpenForStreams;
  }

  /** Streams that it would still take. */
  get room(): number {
    const { state, streamsMax, streamsNow } = this.#channel;
    return state === "open" ? Math.max(0, streamsMax - streamsNow) : 0;
  }

  /** Carries a request. The lease is released when the stream is needed no more. */
  async carry(lease: Lease, headersMsMax: number): Promise<UpstreamResponse> {
    const request = lease.context.request as UpstreamRequest;
    const { signal } = request;
    const control = new AbortController();
    const onAbort = (): void => control.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    const over = (): void => {
      signal?.removeEventListener("abort", onAbort);
      lease.release();
      // Its stream may have closed before its reader was done: what the tenant has left is somebody's turn now.
      this.#owner.onFree();
    };
    const limit = this.#limitHead(request, headersMsMax, control);
    try {
      const responding = this.#channel.request(request, control.signal, limit);
      this.#follow();
      const response = await responding;
      // Head and reset may have come in one packet.
      if (response.body.closed) over();
      else response.body.once("close", over);
      return response;
    } catch (error) {
      over();
      throw error;
    } finally {
      limit.stop();
    }
  }

  sweep(now: number): void {
    if (this.#channel.state !== "open") return;
    const { idleMs } = this.#services.options;
    if (now >= this.#endsAt) this.#reason = "age";
    else if (this.streamsNow === 0 && now >= this.#idleSince + idleMs) this.#reason = "idle";
    else return;
    this.#channel.drain();
  }

  destroy(): void {
    this.#channel.destroy();
  }

  /** A body that is still coming is its sender's time, not the origin's. */
  #limitHead(
    { origin }: UpstreamRequest,
    headersMsMax: number,
    control: AbortController,
  ): Turns & { stop(): void } {
    const { runtime } = this.#services;
    let timer: Timer | undefined;
    let isOver = false;
    const late = (): void => {
      const text = `${shownOrigin(origin)} did not answer within ${headersMsMax} ms`;
      control.abort(new SluiceError("upstream_timeout", text));
    };
    return {
      onOriginsTurn() {
        timer?.cancel();
        if (!isOver) timer = runtime.after(headersMsMax, late);
      },
      onBodysTurn: () => timer?.cancel(),
      stop() {
        isOver = true;
        timer?.cancel();
      },
    };
  }

  /** The channel knows what it is; this says it in the words of the pool. */
  #follow(): void {
    const { state, streamsNow } = this.#channel;
    const open = streamsNow > 0 ? "leased" : "idle";
    const now = state === "open" ? open : state;
    if (now === this.life.state) return;
    if (now === "idle") this.#idleSince = this.#services.runtime.now();
    this.life.move(now);
  }
}
