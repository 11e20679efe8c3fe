import type { Runtime, Timer } from "../../internal/clock.ts";

/** `unknown`: it is not asked, or has not been answered yet. */
export type HealthState = "unknown" | "healthy" | "unhealthy";

/** What one question brought; `unknown`: it could not be asked, which says nothing of the origin. */
export type Finding = "well" | "ill" | "unknown";

/** One lost packet is no illness. */
const ILL_IN_A_ROW = 2;

/** Asks an origin regularly how it is. One question at a time. */
export class Health {
  readonly #runtime: Runtime;
  readonly #intervalMs: number;
  readonly #ask: () => Promise<Finding>;
  #state: HealthState = "unknown";
  #illInARow = 0;
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(runtime: Runtime, intervalMs: number, ask: () => Promise<Finding>) {
    this.#runtime = runtime;
    this.#intervalMs = intervalMs;
    this.#ask = ask;
    this.#later();
  }

  get state(): HealthState {
    return this.#state;
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  #later(): void {
    if (this.#isStopped) return;
    this.#timer = this.#runtime.after(this.#intervalMs, () => void this.#turn());
  }

  async #turn(): Promise<void> {
    const finding = await this.#ask();
    if (finding === "well") {
      this.#state = "healthy";
      this.#illInARow = 0;
    } else if (finding === "ill") {
      this.#illInARow += 1;
      if (this.#illInARow >= ILL_IN_A_ROW) this.#state = "unhealthy";
    }
    this.#later();
  }
}
