import { SluiceError } from "./errors.ts";
import { Pattern } from "./pattern.ts";
import { checkTopicName } from "./topic-name.ts";

/** How many topics and patterns one connection may name. */
export const SELECTION_MAX = 1_000;

/** The topics that one subscriber follows: names, and patterns that match names not known yet. */
export interface Selection {
  readonly names: readonly string[];
  readonly patterns: readonly Pattern[];
}

/**
 * Sorts `texts` into names and patterns, each once.
 * Throws `topic_name_invalid`, `topic_pattern_invalid`, or `topics_count_invalid` for none or more than 1,000.
 */
export function selectTopics(texts: readonly string[]): Selection {
  const unique = [...new Set(texts)];
  if (unique.length === 0 || unique.length > SELECTION_MAX) {
    throw new SluiceError(
      "topics_count_invalid",
      `${unique.length} topics named; a connection follows 1 to ${SELECTION_MAX}`,
    );
  }
  return {
    names: unique.filter((text) => !Pattern.isPattern(text)).map(checkTopicName),
    patterns: unique.filter((text) => Pattern.isPattern(text)).map((text) => Pattern.parse(text)),
  };
}
