import * as z from "zod";
import { SluiceError } from "../../core/errors.ts";
import { Pattern } from "../../core/pattern.ts";
import { LANES, POLICIES } from "../../core/settings.ts";
import type { TopicRule, TopicSettingsInput } from "../../core/settings.ts";
import { bytes, choice, count, duration, leafSchema, section } from "./leaf.ts";
import { shown } from "./problem.ts";

const GIB = 1024 ** 3;
const DAY_MS = 86_400_000;
const TEN_YEARS_MS = 3_650 * DAY_MS;

/** What may be stated about a topic, by `PUT` or by a rule. What is not stated keeps its default. */
const shape = {
  retention: section({
    count: count("Events kept", { min: 1, max: 1_000_000_000 }).optional(),
    bytes: bytes("Memory kept; the newest event is kept even if it alone is larger", {
      min: 1,
      max: 1024 * GIB,
    }).optional(),
    age: duration("Age kept", { min: 1, max: TEN_YEARS_MS }).optional(),
  })
    .meta({ description: "What is kept of a topic; all three limits hold at once" })
    .optional(),
  lane: choice("Which subscribers are written first", LANES).optional(),
  policy: choice("What happens to readers that fall behind", POLICIES).optional(),
  ttl: duration("The topic is forgotten when nothing was published for so long", {
    min: 1,
    max: TEN_YEARS_MS,
  }).optional(),
};

const statedSchema = z.object(shape);

/** The settings of one topic, as `PUT /v1/topics/{topic}` takes them. */
export const topicSettingsSchema = section(shape).transform(toSettings);

const matchSchema = leafSchema<Pattern>({
  description:
    "The topics that the rule is for: a name, or a pattern such as orders/*/status or orders/**",
  expects: "a topic name or pattern",
  placeholder: "pattern",
  said: "file",
  jsonSchema: { type: "string", minLength: 1, maxLength: 255 },
  read: (value) => (typeof value === "string" ? tryParse(value).pattern : undefined),
  fromText: (text) => text,
  format: (pattern) => pattern.text,
  hint: (value) => (typeof value === "string" ? tryParse(value).why : undefined),
});

/** One rule of `topics`: settings for the topics that `match`. The first rule that matches counts. */
export const topicRuleSchema = section({ match: matchSchema, ...shape }).transform(
  ({ match, ...stated }): TopicRule => ({ match, settings: toSettings(stated) }),
);

/** Reads the body of a `PUT`. Throws `settings_invalid`, whose message names everything that is wrong. */
export function readTopicSettings(json: unknown): TopicSettingsInput {
  const result = topicSettingsSchema.safeParse(json);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) =>
    [path.join("."), message.replaceAll("\n", "; ")].join(" ").trim(),
  );
  throw new SluiceError("settings_invalid", problems.join("; "));
}

function toSettings(stated: z.output<typeof statedSchema>): TopicSettingsInput {
  const { retention, lane, policy, ttl } = stated;
  return {
    ...(retention !== undefined && { retention: toRetention(retention) }),
    ...(lane !== undefined && { lane }),
    ...(policy !== undefined && { policy }),
    ...(ttl !== undefined && { ttlMs: ttl }),
  };
}

function toRetention({
  count,
  bytes,
  age,
}: NonNullable<z.output<typeof statedSchema>["retention"]>): NonNullable<
  TopicSettingsInput["retention"]
> {
  return {
    ...(count !== undefined && { countMax: count }),
    ...(bytes !== undefined && { bytesMax: bytes }),
    ...(age !== undefined && { ageMsMax: age }),
  };
}

function tryParse(text: string): { pattern?: Pattern; why?: string } {
  try {
    return { pattern: Pattern.parse(text) };
  } catch (error) {
    return { why: error instanceof SluiceError ? error.message : shown(text) };
  }
}
