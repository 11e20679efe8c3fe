import type { Metrics } from "../../core/metrics.ts";
import { assert } from "../../internal/assert.ts";

export const SOCKET_STATES = ["connecting", "idle", "leased", "draining", "dead"] as const;
/**
 * Where a socket or HTTP/2 session is in its life. `leased`: it carries a request or response.
 * `draining`: it does, and takes no further one. `dead`: it was destroyed; its descriptor is given
 * back in a moment.
 */
export type SocketState = (typeof SOCKET_STATES)[number];

/** What may follow what. Nothing comes back from `draining`: what was found wrong with it stays so. */
export const MOVES: Readonly<Record<SocketState, readonly SocketState[]>> = {
  connecting: ["idle", "dead"],
  idle: ["leased", "draining", "dead"],
  leased: ["idle", "draining", "dead"],
  draining: ["dead"],
  dead: [],
};

/** The state of one socket: the one place that moves it, and counts it. */
export class SocketLife {
  readonly #metrics: Metrics;
  #state: SocketState = "connecting";

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
    metrics.add("sluice_upstream_sockets", "connecting");
  }

  get state(): SocketState {
    return this.#state;
  }

  /** Throws an `AssertionError` if the table knows no such move. */
  move(to: SocketState): void {
    assert(MOVES[this.#state].includes(to), `no upstream socket goes from ${this.#state} to ${to}`);
    this.#metrics.add("sluice_upstream_sockets", this.#state, -1);
    this.#state = to;
    this.#metrics.add("sluice_upstream_sockets", to);
  }

  /** Its descriptor is back: counted no more. */
  forget(): void {
    assert(this.#state === "dead", `an upstream socket is forgotten while it is ${this.#state}`);
    this.#metrics.add("sluice_upstream_sockets", "dead", -1);
  }
}
