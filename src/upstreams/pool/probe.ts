import type { ClientHttp2Session } from "node:http2";
import type { Runtime, Timer } from "../../internal/clock.ts";

/** A timer that is later than this was held up by ourselves, and so was whatever has arrived. */
const LATE_MS = 250;

export interface ProbeOptions {
  readonly probeMs: number;
  readonly probeMsMax: number;
}

/** Sends a PING `probeMs` after the answer to the last one; if one is not answered within `probeMsMax`, `onDead` is called, once. */
export class Probe {
  readonly #session: ClientHttp2Session;
  readonly #options: ProbeOptions;
  readonly #runtime: Runtime;
  readonly #onDead: () => void;
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(
    session: ClientHttp2Session,
    options: ProbeOptions,
    runtime: Runtime,
    onDead: () => void,
  ) {
    this.#session = session;
    this.#options = options;
    this.#runtime = runtime;
    this.#onDead = onDead;
    this.#wait();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  #wait(): void {
    this.#timer = this.#runtime.after(this.#options.probeMs, () => this.#ping());
  }

  #ping(): void {
    if (this.#session.destroyed) return;
    // A session that is going away answers with an error; 'close' follows, and stops this.
    this.#session.ping((error) => {
      if (error !== null || this.#isStopped) return;
      this.#timer?.cancel();
      this.#wait();
    });
    this.#judgeLater();
  }

  #judgeLater(): void {
    const { probeMsMax } = this.#options;
    const dueAt = this.#runtime.now() + probeMsMax;
    this.#timer = this.#runtime.after(probeMsMax, () => {
      // Our own stalls count against nobody: what has come meanwhile is still to be read.
      if (this.#runtime.now() - dueAt > LATE_MS) this.#judgeLater();
      else this.#onDead();
    });
  }
}
