import type { Pattern } from "./pattern.ts";
import type { Publication } from "./publication.ts";
import type { Lane } from "./settings.ts";
import type { Subscriber } from "./subscriber.ts";

/** Subscribers that named the same topic, or the same pattern. */
export class Audience {
  readonly pattern: Pattern | undefined;
  /** A set may be changed while a flush walks it: what is deleted is not visited, what is added is. */
  readonly subscribers = new Set<Subscriber>();

  constructor(pattern?: Pattern) {
    this.pattern = pattern;
  }
}

/** One topic that somebody follows, and what the frozen window holds of it. */
export class Route {
  readonly topic: string;
  readonly direct = new Audience();
  /** `direct` first, then one for each pattern that matches. A subscriber may be in several. */
  audiences: readonly Audience[] = [this.direct];
  /** Publications of the window that is being served; empty between windows. */
  window: Publication[] = [];
  lane: Lane = "normal";

  constructor(topic: string) {
    this.topic = topic;
  }

  get isEmpty(): boolean {
    return this.audiences.every((audience) => audience.subscribers.size === 0);
  }
}

/** Who follows what, for one tenant. Patterns cost memory by pattern and topic, not by subscriber. */
export class Routes {
  readonly #routes = new Map<string, Route>();
  readonly #patterns = new Map<string, Audience>();

  get size(): number {
    return this.#routes.size;
  }

  add(subscriber: Subscriber): void {
    for (const name of subscriber.selection.names) {
      this.#open(name).direct.subscribers.add(subscriber);
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
        if (!route.audiences.includes(audience)) continue;
        route.audiences = route.audiences.filter((other) => other !== audience);
        if (route.isEmpty) this.#routes.delete(route.topic);
      }
    }
    for (const name of subscriber.selection.names) {
      const route = this.#routes.get(name);
      route?.direct.subscribers.delete(subscriber);
      if (route?.isEmpty) this.#routes.delete(name);
    }
  }

  /** The route of `topic` if anybody follows it, by name or by pattern. */
  find(topic: string): Route | undefined {
    const known = this.#routes.get(topic);
    if (known !== undefined || this.#patterns.size === 0) return known;
    for (const audience of this.#patterns.values()) {
      if (audience.pattern?.matches(topic)) return this.#open(topic);
    }
    return undefined;
  }

  #open(topic: string): Route {
    let route = this.#routes.get(topic);
    if (route === undefined) {
      route = new Route(topic);
      const matching = [...this.#patterns.values()].filter((audience) =>
        audience.pattern?.matches(topic),
      );
      route.audiences = [route.direct, ...matching];
      this.#routes.set(topic, route);
    }
    return route;
  }
}
