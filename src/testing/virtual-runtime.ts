import type { Runtime, Timer } from "../internal/clock.ts";
import { seededRandom } from "./random.ts";

/** Its clock starts here and not at zero, so that a zero taken for "never" shows. */
const START_MS = 1_000;
const START_WALL_MS = Date.UTC(2030, 0, 1);
/** What one call may run: a loop that never comes to rest fails instead of hanging the test. */
const TASKS_MAX = 1_000_000;

interface Scheduled {
  readonly at: number;
  readonly order: number;
  readonly task: () => void;
  isCancelled: boolean;
}

/**
 * A `Runtime` whose time stands still until a test moves it, whose chance is seeded, and whose turns
 * run one by one. Between two tasks all microtasks run, as they do in the real event loop.
 */
export class VirtualRuntime implements Runtime {
  readonly #random: () => number;
  readonly #deferred: (() => void)[] = [];
  #timers: Scheduled[] = [];
  #now = START_MS;
  #orders = 0;

  /** @defaultValue seed 1 */
  constructor(seed = 1) {
    this.#random = seededRandom(seed);
  }

  now(): number {
    return this.#now;
  }

  wallTime(): number {
    return START_WALL_MS + this.#now;
  }

  after(delayMs: number, task: () => void): Timer {
    this.#orders += 1;
    const at = this.#now + Math.max(0, delayMs);
    const scheduled: Scheduled = { at, order: this.#orders, task, isCancelled: false };
    this.#timers.push(scheduled);
    return { cancel: () => void (scheduled.isCancelled = true) };
  }

  defer(task: () => void): void {
    this.#deferred.push(task);
  }

  random(): number {
    return this.#random();
  }

  /** Tasks that wait for a turn. */
  get deferredNow(): number {
    return this.#deferred.length;
  }

  /** Timers that wait for their time. */
  get timersNow(): number {
    return this.#timers.filter((timer) => !timer.isCancelled).length;
  }

  /** Time passes inside a task, as work takes it. No timer runs. */
  elapse(ms: number): void {
    this.#now += ms;
  }

  /** All microtasks have run. */
  async settle(): Promise<void> {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  }

  /** Runs one turn: what was deferred before it began, each with its microtasks. True if there was any. */
  async runTurn(): Promise<boolean> {
    await this.settle();
    const tasks = this.#deferred.splice(0);
    for (const task of tasks) {
      task();
      await this.settle();
    }
    return tasks.length > 0;
  }

  /** Runs turns until none is asked for. Time stands still, so timers do not run. */
  async runTurns(): Promise<void> {
    for (let turns = 0; await this.runTurn(); turns += 1) {
      if (turns > TASKS_MAX) throw new Error(`more than ${TASKS_MAX} turns without rest`);
    }
  }

  /** Lets `ms` pass: timers run at their time, in order, and after each all the turns they ask for. */
  async run(ms: number): Promise<void> {
    const until = this.#now + ms;
    for (let tasks = 0; ; tasks += 1) {
      if (tasks > TASKS_MAX) throw new Error(`more than ${TASKS_MAX} timers in ${ms} ms`);
      await this.runTurns();
      const next = this.#nextTimer(until);
      if (next === undefined) break;
      this.#now = Math.max(this.#now, next.at);
      next.task();
    }
    this.#now = Math.max(this.#now, until);
  }

  /** Lets time pass until `promise` is settled, at most `msMax`; then its outcome. */
  async resolve<T>(promise: Promise<T>, msMax = 60_000): Promise<T> {
    let isSettled = false;
    const settled = (): void => void (isSettled = true);
    promise.then(settled, settled);
    const until = this.#now + msMax;
    for (;;) {
      await this.runTurns();
      if (isSettled) return promise;
      const next = this.#nextTimer(until);
      if (next === undefined) throw new Error(`not settled after ${msMax} ms of virtual time`);
      this.#now = Math.max(this.#now, next.at);
      next.task();
    }
  }

  #nextTimer(until: number): Scheduled | undefined {
    let next: Scheduled | undefined;
    this.#timers = this.#timers.filter((timer) => !timer.isCancelled);
    for (const timer of this.#timers) {
      if (timer.at > until) continue;
      const isEarlier =
        next === undefined ||
        timer.at < next.at ||
        (timer.at === next.at && timer.order < next.order);
      if (isEarlier) next = timer;
    }
    if (next !== undefined) next.isCancelled = true;
    return next;
  }
}
