import type { Pattern } from "./pattern.ts";
import type { TopicLog } from "./topic-log.ts";

/** How many patterns keep their matches. Beyond it the least recently used one is matched anew at its next use. */
const PATTERNS_MAX = 256;

/** Remembers which topics a pattern matches, so that each reader of `orders/**` does not walk all topics again. */
export class PatternIndex {
  readonly #topics: ReadonlyMap<string, TopicLog>;
  readonly #matches = new Map<string, { pattern: Pattern; logs: Set<TopicLog> }>();

  constructor(topics: ReadonlyMap<string, TopicLog>) {
    this.#topics = topics;
  }

  matchesOf(pattern: Pattern): ReadonlySet<TopicLog> {
    let match = this.#matches.get(pattern.text);
    if (match === undefined) {
      const logs = new Set<TopicLog>();
      for (const log of this.#topics.values()) if (pattern.matches(log.name)) logs.add(log);
      match = { pattern, logs };
    }
    this.#matches.delete(pattern.text);
    this.#matches.set(pattern.text, match);
    if (this.#matches.size > PATTERNS_MAX) {
      const [leastRecent] = this.#matches.keys();
      this.#matches.delete(leastRecent as string);
    }
    return match.logs;
  }

  onTopic(log: TopicLog): void {
    for (const { pattern, logs } of this.#matches.values()) {
      if (pattern.matches(log.name)) logs.add(log);
    }
  }

  onForgotten(log: TopicLog): void {
    for (const { logs } of this.#matches.values()) logs.delete(log);
  }
}
