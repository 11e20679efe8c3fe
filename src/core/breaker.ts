import type { Metrics } from "./metrics.ts";

/** What opens the breaker. The keys are words of metrics, logs and docs. */
export const TRIGGERS = {
  capacity: "Sockets use so much of the capacity",
  loop_delay: "The event loop is so late",
  memory: "The process has so much resident memory",
} as const;

export type Trigger = keyof typeof TRIGGERS;

/** From where on a trigger opens the breaker, and below what it lets go: apart, so that it does not flutter. */
export interface Hysteresis {
  readonly openAbove: number;
  readonly closeBelow: number;
}

/** Told of each trigger that opens the breaker or lets go of it. */
export type BreakerListener = (trigger: Trigger, isOpen: boolean) => void;

/** Open while any of its triggers is: then new subscriptions are refused. */
export class Breaker {
  readonly #metrics: Metrics;
  readonly #onChange: BreakerListener;
  readonly #open = new Set<Trigger>();

  constructor(metrics: Metrics, onChange: BreakerListener) {
    this.#metrics = metrics;
    this.#onChange = onChange;
  }

  /** The trigger that has held it open for longest, but for `ignored`; undefined while it is closed. */
  openedBy(ignored?: Trigger): Trigger | undefined {
    for (const trigger of this.#open) {
      if (trigger !== ignored) return trigger;
    }
    return undefined;
  }

  isOpenedBy(trigger: Trigger): boolean {
    return this.#open.has(trigger);
  }

  judge(trigger: Trigger, value: number, { openAbove, closeBelow }: Hysteresis): void {
    if (this.#open.has(trigger)) {
      if (value < closeBelow) this.release(trigger);
    } else if (value > openAbove) {
      this.#open.add(trigger);
      this.#metrics.plain.sluice_breaker_open = 1;
      this.#metrics.add("sluice_breaker_opened_total", trigger);
      this.#onChange(trigger, true);
    }
  }

  /** What this trigger watched is watched no longer. */
  release(trigger: Trigger): void {
    if (!this.#open.delete(trigger)) return;
    this.#metrics.plain.sluice_breaker_open = this.#open.size > 0 ? 1 : 0;
    this.#onChange(trigger, false);
  }
}
