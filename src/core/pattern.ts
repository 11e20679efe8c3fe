import { SluiceError } from "./errors.ts";
import { describe, isTopicSegment, problemOf } from "./topic-name.ts";

/**
 * A topic pattern: `*` stands for exactly one segment, a final `**` for one or more.
 *
 * The matcher walks both texts once, side by side, and never goes back, so its time is linear in the
 * topic's length whatever a user writes: no regular expression is made from input (S17).
 */
export class Pattern {
  readonly text: string;
  readonly #segments: readonly string[];
  readonly #hasTail: boolean;

  private constructor(text: string, segments: readonly string[]) {
    this.text = text;
    this.#hasTail = segments.at(-1) === "**";
    this.#segments = this.#hasTail ? segments.slice(0, -1) : segments;
  }

  /** True when `text` uses a wildcard and so is meant as a pattern and not as a topic name. */
  static isPattern(text: string): boolean {
    return text.includes("*");
  }

  /** Throws `topic_pattern_invalid` when `text` is neither a topic name nor a pattern. */
  static parse(text: string): Pattern {
    const problem = problemOf(
      text,
      (segment, index, count) =>
        segment === "*" || (segment === "**" && index === count - 1) || isTopicSegment(segment),
    );
    if (problem !== undefined) {
      const hint = text.includes("**") ? '; "**" may only be the last segment' : "";
      throw new SluiceError("topic_pattern_invalid", describe(text, problem + hint));
    }
    return new Pattern(text, text.split("/"));
  }

  /** `topic` must be a valid topic name. */
  matches(topic: string): boolean {
    let start = 0;
    for (const segment of this.#segments) {
      if (start > topic.length) return false;
      const slash = topic.indexOf("/", start);
      const end = slash === -1 ? topic.length : slash;
      if (segment !== "*") {
        if (end - start !== segment.length || !topic.startsWith(segment, start)) return false;
      }
      start = end + 1;
    }
    return this.#hasTail ? start < topic.length : start > topic.length;
  }
}
