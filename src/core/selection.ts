import { SluiceError } from "./errors.ts";
import { Pattern } from "./pattern.ts";
import { checkTopicName } from "./topic-name.ts";

/** How many topics and patterns one connection may name. */
export const SELECTION_MAX = 1_000;

/** How many of them may be patterns: each is matched against every topic. */
export const PATTERNS_MAX = 64;

/** The topics that one subscriber follows: names, and patterns that match names not known yet. */
export interface Selection {
  readonly names: readonly string[];
  readonly patterns: readonly Pattern[];
  /** The same for equal selections, and for no others: lines of sorted names and patterns. None for long ones. */
  readonly key?: string | undefined;
}

/** Longer keys cost more to compare than what equal selections could share. */
const KEY_LENGTH_MAX = 512;

/**
 * Sorts `texts` into names and patterns, each once.
 * Throws `topic_name_invalid`, `topic_pattern_invalid`, or `topics_count_invalid`: none, more than 1,000, or
 * more than 64 patterns.
 */
export function selectTopics(texts: readonly string[]): Selection {
  const unique = [...new Set(texts)];
  if (unique.length === 0 || unique.length > SELECTION_MAX) {
    throw new SluiceError(
      "topics_count_invalid",
      `${unique.length} topics named; a connection follows 1 to ${SELECTION_MAX}`,
    );
  }
  const patterns = unique.filter((text) => Pattern.isPattern(text));
  if (patterns.length > PATTERNS_MAX) {
    throw new SluiceError(
      "topics_count_invalid",
      `${patterns.length} patterns named; a connection follows at most ${PATTERNS_MAX}`,
    );
  }
  return {
    names: unique.filter((text) => !Pattern.isPattern(text)).map(checkTopicName),
    patterns: patterns.map((text) => Pattern.parse(text)),
    key: keyOf(unique),
  };
}

function keyOf(texts: readonly string[]): string | undefined {
  let length = texts.length;
  for (const text of texts) length += text.length;
  return length > KEY_LENGTH_MAX ? undefined : texts.toSorted().join("\n");
}
