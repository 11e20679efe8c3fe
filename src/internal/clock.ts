/**
 * Everything that `core/` needs from the world outside and that a simulation must be able to steer:
 * time, timers, turns of the event loop and chance. Core calls nothing else for them.
 */
export interface Runtime {
  /** Monotonic milliseconds with a fraction; its zero means nothing. Steps of the wall clock do not move it. */
  now(): number;
  /** Wall-clock milliseconds since the Unix epoch, for what people read. Never used to measure a span. */
  wallTime(): number;
  /** Calls `task` once, `delayMs` from now. The timer alone does not keep the process alive. */
  after(delayMs: number, task: () => void): Timer;
  /** Calls `task` in the next turn of the event loop, after pending I/O has had its chance. */
  defer(task: () => void): void;
  /** A number in [0, 1). For jitter and phases, never for secrets. */
  random(): number;
}

export interface Timer {
  /** The task will not run. Harmless when it has run. */
  cancel(): void;
}

/** The real world: `performance.now`, unreferenced `setTimeout`, `setImmediate`, `Math.random`. */
export function systemRuntime(): Runtime {
  return {
    now: () => performance.now(),
    wallTime: () => Date.now(),
    after(delayMs, task) {
      const timeout = setTimeout(task, delayMs);
      timeout.unref();
      return { cancel: () => clearTimeout(timeout) };
    },
    defer: (task) => {
      setImmediate(task);
    },
    random: () => Math.random(),
  };
}
