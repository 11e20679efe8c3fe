import type { Pattern } from "./pattern.ts";

export const LANES = ["high", "normal", "bulk"] as const;
/** Priority class of a topic: which subscribers are written first, never the order within a connection. */
export type Lane = (typeof LANES)[number];

export const POLICIES = ["disconnect", "drop-oldest", "conflate"] as const;
/**
 * What happens to readers that fall behind on a topic. `disconnect`: they get everything that is
 * retained, however late; only one that takes nothing is cut off. `drop-oldest`: once they read on,
 * they get what is newest, behind a gap. `conflate`: of each key they get the newest, behind a gap.
 */
export type Policy = (typeof POLICIES)[number];

/** All three limits hold at once: an event is trimmed as soon as it exceeds one of them. */
export interface Retention {
  /** Events kept. @defaultValue 10,000 */
  readonly countMax: number;
  /** Memory kept, in bytes of frames. The newest event is kept even if it alone is larger. @defaultValue 16 MiB */
  readonly bytesMax: number;
  /** Age kept, in milliseconds. @defaultValue 24 h */
  readonly ageMsMax: number;
}

export interface TopicSettings {
  readonly retention: Retention;
  readonly lane: Lane;
  readonly policy: Policy;
  /** The topic is forgotten when nothing was published for so many milliseconds. @defaultValue 7 days */
  readonly ttlMs: number;
}

/** What a rule or a `PUT` states; the rest comes from the rule below it, last from the defaults. */
export interface TopicSettingsInput {
  readonly retention?: Partial<Retention>;
  readonly lane?: Lane;
  readonly policy?: Policy;
  readonly ttlMs?: number;
}

export interface TopicRule {
  readonly match: Pattern;
  readonly settings: TopicSettingsInput;
}

export const TOPIC_DEFAULTS: TopicSettings = Object.freeze({
  retention: Object.freeze({
    countMax: 10_000,
    bytesMax: 16 * 1024 * 1024,
    ageMsMax: 24 * 3_600_000,
  }),
  lane: "normal",
  policy: "disconnect",
  ttlMs: 7 * 24 * 3_600_000,
});

/** The settings of `topic`: the first rule that matches, over the defaults. */
export function settingsFor(topic: string, rules: readonly TopicRule[]): TopicSettings {
  const rule = rules.find((candidate) => candidate.match.matches(topic));
  return rule === undefined ? TOPIC_DEFAULTS : overlay(TOPIC_DEFAULTS, rule.settings);
}

export function overlay(base: TopicSettings, input: TopicSettingsInput): TopicSettings {
  return Object.freeze({
    retention: Object.freeze({ ...base.retention, ...input.retention }),
    lane: input.lane ?? base.lane,
    policy: input.policy ?? base.policy,
    ttlMs: input.ttlMs ?? base.ttlMs,
  });
}
