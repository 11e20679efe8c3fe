import { Group } from "./group.ts";
import { NOTHING } from "./routes.ts";
import type { Audience, Route } from "./routes.ts";
import type { Slice } from "./slice.ts";
import type { Subscriber } from "./subscriber.ts";

/**
 * What one flush delivers: everything that one lane's subscribers follow in (`from`, `to`], frozen. It
 * is served in slices; what is appended meanwhile waits for the next window. A subscriber is written
 * once, with all that the window holds for it.
 */
export class Window {
  readonly from: number;
  readonly to: number;
  /** Tells this window's groups from those that a subscriber kept from an earlier one. */
  readonly turn: number;
  readonly #routes: readonly Route[];
  /** In the order of service. As they were when the window was frozen: a route's own list changes with its patterns between slices. */
  readonly #audiences: readonly Audience[];
  readonly #roots: Group[] = [];
  #audienceIndex = 0;
  #visiting: SetIterator<Subscriber> | undefined;

  constructor(turn: number, from: number, to: number, dirty: readonly Route[]) {
    this.turn = turn;
    this.from = from;
    this.to = to;
    this.#routes = dirty;
    this.#audiences = this.#routes.flatMap((route) => route.audiences);
    for (const route of this.#routes) this.#group(route);
  }

  /**
   * Delivers until done (true), or until the slice is spent or `spend`, which is told the bytes of
   * each write, says that it was enough (false).
   */
  serve(slice: Slice, spend: (bytes: number) => boolean): boolean {
    for (;;) {
      const audience = this.#audiences[this.#audienceIndex];
      if (audience === undefined) return true;
      // A set's iterator can be gone on with behind a `return`: it has nothing to close.
      const visiting = this.#visiting ?? audience.subscribers.values();
      for (const subscriber of visiting) {
        const bytes = visit(subscriber, this, slice.nowMs);
        if (bytes === 0) continue;
        slice.spendWrite();
        if (!spend(bytes) && !slice.isSpent) continue;
        this.#visiting = visiting;
        return false;
      }
      this.#visiting = undefined;
      this.#audienceIndex += 1;
    }
  }

  /** Lets go of the publications. Call it when the window is done or abandoned. */
  close(): void {
    for (const root of this.#roots) root.release();
    for (const route of this.#routes) {
      route.window = NOTHING;
      route.windowBytes = 0;
    }
  }

  /** Refines the groups by one more dirty topic: each subscriber moves to the group that has it too. */
  #group(route: Route): void {
    let root: Group | undefined;
    for (const { subscribers } of route.audiences) {
      for (const subscriber of subscribers) {
        if (subscriber.turn !== this.turn || subscriber.group === undefined) {
          if (root === undefined) {
            root = new Group(route);
            this.#roots.push(root);
          }
          subscriber.turn = this.turn;
          subscriber.group = root;
        } else if (subscriber.group.topic !== route) {
          subscriber.group = subscriber.group.with(route);
        }
      }
    }
  }
}

/** Hot: called for each subscriber of each window. No await, closure, spread or allocation in here. */
function visit(subscriber: Subscriber, window: Window, now: number): number {
  // Whoever reads the log, or joined after the grouping, has or will have all of (from, to] from there.
  if (subscriber.state !== "live" || subscriber.turn !== window.turn) return 0;
  const group = subscriber.group;
  if (group === undefined) return 0;
  group.prepare();
  return subscriber.deliver(group, window.from, now);
}
