import type { Timer } from "../../internal/clock.ts";
import type { Origin } from "../origin.ts";
import type { Dialed, Http2Reason } from "./channel.ts";
import type { PoolServices } from "./pool-options.ts";
import { PooledSession } from "./pooled-session.ts";
import { PooledSocket } from "./pooled-socket.ts";
import type { SocketReason } from "./pooled-socket.ts";
import { SOCKET_STATES, SocketLife } from "./socket-state.ts";
import type { SocketState } from "./socket-state.ts";

/** Sockets are looked at so often, for their age and idle time. Milliseconds. */
const SWEEP_MS = 1_000;
/** Above this share of one session's streams there is load, and more than one session. */
const LOADED = 1 / 4;
/** A session that nobody waits for is opened so often at most: the origin may refuse it each time. */
const SPARE_MS = 1_000;

export type Pooled = PooledSocket | PooledSession;

export interface ConnectionsListener {
  /** Something may be free, or there may be room to connect. */
  onFree(): void;
  /** A connection was not made. `isLast`: there is no other that those who wait could hope for. */
  onDialFailed(error: unknown, isLast: boolean): void;
}

/** The sockets and sessions to one origin, whoever has them. */
export class Connections {
  readonly #origin: Origin;
  readonly #services: PoolServices;
  readonly #listener: ConnectionsListener;
  readonly #sockets = new Set<PooledSocket>();
  readonly #sessions = new Set<PooledSession>();
  /** Least recently used first; used from the end, so that what is not needed grows old. */
  readonly #idle: PooledSocket[] = [];
  readonly #dialing = new Set<SocketLife>();
  readonly #closing = new AbortController();
  #http: "1.1" | "2" | "unknown";
  #sweeper: Timer | undefined;
  #sparesFrom = -Infinity;
  openedTotal = 0;
  evictedTotal = 0;

  constructor(origin: Origin, services: PoolServices, listener: ConnectionsListener) {
    this.#origin = origin;
    this.#services = services;
    this.#listener = listener;
    const { http2 } = services.options;
    const isPlain = origin.protocol === "http:";
    // Without TLS there is no ALPN to ask (RFC 9113, 3.3).
    if (http2 === "prior" && isPlain) this.#http = "2";
    else this.#http = http2 === "off" || isPlain ? "1.1" : "unknown";
  }

  /** What the last connection has turned out to speak. */
  get http(): "1.1" | "2" | "unknown" {
    return this.#http;
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /**
   * Requests that can be under way at once, when all is connected. As long as it is not known what the
   * origin speaks the best is hoped for: who comes first must not be refused for what may not be.
   */
  get capacity(): number {
    const { socketsMax, streamsPerSession } = this.#services.options;
    return this.#http === "1.1" ? socketsMax : socketsMax * streamsPerSession;
  }

  get dialingNow(): number {
    return this.#dialing.size;
  }

  /** No more may be opened. */
  get isFull(): boolean {
    return this.#openNow >= this.#services.options.socketsMax;
  }

  /** What is destroyed does not count: it is gone in a moment. */
  get #openNow(): number {
    let count = this.#dialing.size + this.#sessions.size;
    for (const { life } of this.#sockets) if (life.state !== "dead") count += 1;
    return count;
  }

  count(): Record<SocketState, number> {
    const counts = Object.fromEntries(SOCKET_STATES.map((state) => [state, 0]));
    const lives = [...this.#dialing];
    for (const { life } of this.#sockets) lives.push(life);
    for (const { life } of this.#sessions) lives.push(life);
    for (const { state } of lives) counts[state] = (counts[state] ?? 0) + 1;
    return counts as Record<SocketState, number>;
  }

  /** What can carry a request now: the session with most room, or the socket that was used last. */
  free(): Pooled | undefined {
    let roomiest: PooledSession | undefined;
    for (const session of this.#sessions) {
      if (!session.isOpenForStreams) continue;
      if (roomiest === undefined || session.room > roomiest.room) roomiest = session;
    }
    if (roomiest !== undefined || this.#idle.length === 0) return roomiest;
    const now = this.#services.runtime.now();
    for (let pooled = this.#idle.at(-1); pooled !== undefined; pooled = this.#idle.at(-1)) {
      if (pooled.isUsable(now)) return pooled;
      this.#idle.pop();
      pooled.sweep(now);
    }
    return undefined;
  }

  /** `pooled`, as `free` has answered, carries a request from now on. */
  take(pooled: Pooled): void {
    if (pooled === this.#idle.at(-1)) this.#idle.pop();
  }

  /** Closes what is idle. */
  dropIdle(reason: SocketReason): void {
    for (const pooled of this.#idle.splice(0)) pooled.evict(reason);
  }

  /** Opens what `demand` requests that wait need, and `streamsNow` that are under way. */
  dial(demand: number, streamsNow: number): void {
    if (this.isClosed) return;
    const wanted = this.#wanted(demand, streamsNow) - this.#dialing.size;
    if (wanted <= 0) return;
    const room = this.#services.options.socketsMax - this.#openNow;
    for (let count = Math.min(wanted, room); count > 0; count -= 1) this.#dialOne();
  }

  /** Destroys everything. */
  close(): void {
    this.#sweeper?.cancel();
    this.#closing.abort(new Error("the pool is closed"));
    for (const pooled of this.#sockets) pooled.evict("destroyed");
    for (const pooled of this.#sessions) pooled.destroy();
  }

  /** See `SocketOwner`. */
  onIdle(pooled: PooledSocket): void {
    this.#idle.push(pooled);
    this.#listener.onFree();
  }

  /** See `SocketOwner`. */
  onDead(pooled: PooledSocket, reason: SocketReason): void {
    const at = this.#idle.indexOf(pooled);
    if (at >= 0) this.#idle.splice(at, 1);
    this.#evicted(reason);
  }

  /** See `SocketOwner`. */
  onClosed(pooled: PooledSocket): void {
    this.#sockets.delete(pooled);
    pooled.life.forget();
    this.#listener.onFree();
  }

  /** Connections that should be under way. */
  #wanted(demand: number, streamsNow: number): number {
    // Until it is known what the origin speaks, one connection may be enough for all.
    if (this.#http === "unknown") return Math.min(1, demand);
    if (this.#http === "1.1") return demand;
    const { sessionsMin, streamsPerSession } = this.#services.options;
    let sessions = 0;
    // Those who wait would have them if they took any stream: another one would be no better.
    let useless = 0;
    for (const { life } of this.#sessions) {
      if (life.state !== "draining") sessions += 1;
      if (life.state === "idle") useless += 1;
    }
    const needed = Math.max(0, Math.ceil(demand / streamsPerSession) - useless);
    const isLoaded = streamsNow + demand > streamsPerSession * LOADED;
    const now = this.#services.runtime.now();
    if (!isLoaded || sessionsMin - sessions <= needed || now < this.#sparesFrom) return needed;
    this.#sparesFrom = now + SPARE_MS;
    return sessionsMin - sessions;
  }

  #dialOne(): void {
    const { metrics, dial, options, logger } = this.#services;
    const life = new SocketLife(metrics);
    this.#dialing.add(life);
    dial(this.#origin, { ...options, signal: this.#closing.signal }).then(
      (dialed) => {
        this.#dialing.delete(life);
        this.#onDialed(dialed, life);
      },
      (error: unknown) => {
        this.#dialing.delete(life);
        life.move("dead");
        life.forget();
        if (this.isClosed) return;
        logger.debug({ err: error, origin: this.#origin.key }, "an upstream was not connected to");
        // Each HTTP/1.1 connection is for one of those who wait, each session for many.
        const isLast = this.#dialing.size === 0 && this.#sessions.size === 0;
        this.#listener.onDialFailed(error, this.#http !== "1.1" && isLast);
      },
    );
  }

  #onDialed(dialed: Dialed, life: SocketLife): void {
    this.openedTotal += 1;
    this.#services.metrics.plain.sluice_upstream_opened_total += 1;
    if (dialed.kind === "http1") {
      this.#http = "1.1";
      const pooled = new PooledSocket(dialed.socket, life, this, this.#services);
      this.#sockets.add(pooled);
      if (this.isClosed) return pooled.evict("destroyed");
      this.#idle.push(pooled);
    } else {
      this.#http = "2";
      const owner = {
        onFree: () => this.#listener.onFree(),
        onGone: (gone: PooledSession, reason: Http2Reason | SocketReason) => {
          this.#sessions.delete(gone);
          this.#evicted(reason);
          this.#listener.onFree();
        },
      };
      const pooled = new PooledSession(dialed.session, life, owner, this.#services);
      if (pooled.life.state !== "dead") this.#sessions.add(pooled);
      if (this.isClosed) return pooled.destroy();
    }
    this.#sweepLater();
    this.#listener.onFree();
  }

  #evicted(reason: SocketReason | Http2Reason): void {
    this.evictedTotal += 1;
    this.#services.metrics.add("sluice_upstream_evicted_total", reason);
    this.#services.logger.debug(
      { origin: this.#origin.key, reason },
      "an upstream socket is closed",
    );
  }

  #sweepLater(): void {
    this.#sweeper ??= this.#services.runtime.after(SWEEP_MS, () => {
      this.#sweeper = undefined;
      const now = this.#services.runtime.now();
      for (const pooled of this.#sockets) pooled.sweep(now);
      for (const pooled of this.#sessions) pooled.sweep(now);
      if (!this.isClosed && this.#sockets.size + this.#sessions.size > 0) this.#sweepLater();
    });
  }
}
