import type { Pattern } from "./pattern.ts";
import type { Publication } from "./publication.ts";
import type { Lane } from "./settings.ts";
import type { Subscriber } from "./subscriber.ts";

/** Subscribers that named the same topic, or the same pattern. */
export class Audience {
  readonly pattern: Pattern | undefined;
  /** A set may be changed while a flush walks it: what is deleted is not visited, what is added is. */
  readonly subscribers = new Set<Subscriber>();
  /** Of them, those that follow something else too. Of a pattern it says nothing. */
  mixedNow = 0;

  constructor(pattern?: Pattern) {
    this.pattern = pattern;
  }
}

/** Never pushed to. */
export const NOTHING: Publication[] = [];

/** One topic that somebody follows, and what the frozen window holds of it. */
export class Route {
  readonly topic: string;
  readonly direct = new Audience();
  /** `direct` first, then one for each pattern that matches. A subscriber may be in several. */
  audiences: readonly Audience[] = [this.direct];
  /** Publications of the window that is being served; empty between windows. */
  window: Publication[] = NOTHING;
  windowBytes = 0;
  /** Of the topic, as its newest event told; unknown until there was one. */
  lane: Lane | undefined = undefined;

  constructor(topic: string) {
    this.topic = topic;
  }

  /** What the window holds of it may be written in one batch with what it holds of other topics. */
  get isMixed(): boolean {
    return this.audiences.length > 1 || this.direct.mixedNow > 0;
  }

  /** Nobody follows it: audiences of patterns go with their last subscriber. */
  get isEmpty(): boolean {
    return this.audiences.length === 1 && this.direct.subscribers.size === 0;
  }
}

/** Topics that nobody named and that were matched against the patterns, kept to not match them again. */
export const SEEN_MAX = 10_000;

/** Who follows what, in one lane of a tenant. Patterns cost memory by pattern and topic, not by subscriber. */
export class Routes {
  readonly #routes = new Map<string, Route>();
  readonly #patterns = new Map<string, Audience>();
  /** Routes without direct subscribers, oldest first: a topic may be published to once and never again. */
  readonly #seen = new Set<Route>();

  /** Routes kept: of topics that are followed, and of those that were matched not long ago. */
  get size(): number {
    return this.#routes.size;
  }

  /** The topics that somebody follows, as far as they were seen. */
  *followed(): Generator<string> {
    for (const route of this.#routes.values()) if (!route.isEmpty) yield route.topic;
  }

  add(subscriber: Subscriber): void {
    for (const name of subscriber.selection.names) {
      const route = this.#routes.get(name) ?? this.#open(name);
      route.direct.subscribers.add(subscriber);
      if (isMixed(subscriber)) route.direct.mixedNow += 1;
      this.#seen.delete(route);
    }
    for (const pattern of subscriber.selection.patterns) {
      let audience = this.#patterns.get(pattern.text);
      if (audience === undefined) {
        audience = new Audience(pattern);
        this.#patterns.set(pattern.text, audience);
        for (const route of this.#routes.values()) {
          if (pattern.matches(route.topic)) route.audiences = [...route.audiences, audience];
        }
      }
      audience.subscribers.add(subscriber);
    }
  }

  remove(subscriber: Subscriber): void {
    for (const pattern of subscriber.selection.patterns) {
      const audience = this.#patterns.get(pattern.text);
      audience?.subscribers.delete(subscriber);
      if (audience === undefined || audience.subscribers.size > 0) continue;
      this.#patterns.delete(pattern.text);
      for (const route of this.#routes.values()) {
        if (route.audiences.includes(audience)) {
          route.audiences = route.audiences.filter((other) => other !== audience);
        }
        if (route.isEmpty) this.#close(route);
      }
    }
    for (const name of subscriber.selection.names) {
      const route = this.#routes.get(name);
      if (route?.direct.subscribers.delete(subscriber) === true && isMixed(subscriber)) {
        route.direct.mixedNow -= 1;
      }
      if (route === undefined || route.direct.subscribers.size > 0) continue;
      if (route.isEmpty) this.#close(route);
      else this.#keepSeen(route);
    }
  }

  /** The route of `topic` if anybody follows it, by name or by pattern. */
  find(topic: string): Route | undefined {
    let route = this.#routes.get(topic);
    if (route === undefined) {
      if (this.#patterns.size === 0) return undefined;
      route = this.#open(topic);
      this.#keepSeen(route);
    }
    return route.isEmpty ? undefined : route;
  }

  #open(topic: string): Route {
    const route = new Route(topic);
    const matching = [...this.#patterns.values()].filter((audience) =>
      audience.pattern?.matches(topic),
    );
    route.audiences = [route.direct, ...matching];
    this.#routes.set(topic, route);
    return route;
  }

  #keepSeen(route: Route): void {
    this.#seen.add(route);
    if (this.#seen.size <= SEEN_MAX) return;
    for (const oldest of this.#seen) {
      // What a window is serving stays until the next time.
      if (oldest.window.length === 0) return this.#close(oldest);
    }
  }

  #close(route: Route): void {
    this.#routes.delete(route.topic);
    this.#seen.delete(route);
  }
}

function isMixed({ selection }: Subscriber): boolean {
  return selection.names.length > 1 || selection.patterns.length > 0;
}
