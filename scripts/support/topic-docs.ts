import type { TopicSettings } from "../../src/core/settings.ts";
import { leafOf } from "../../src/gateway/config/leaf.ts";
import { topicRuleSchema } from "../../src/gateway/config/topic-settings.ts";
import { formatBytes, formatDuration } from "../../src/gateway/config/units.ts";
import { table } from "./generated.ts";

type Schema = Parameters<typeof leafOf>[0];

/** The settings of a topic, from the schema that rules and `PUT` are read by. */
export function topicDocs(defaults: TopicSettings): string {
  const { retention, lane, policy, ttlMs } = defaults;
  const shown: Readonly<Record<string, string>> = {
    match: "required in a rule, absent in a `PUT`",
    "retention.count": `\`${retention.countMax}\``,
    "retention.bytes": `\`${formatBytes(retention.bytesMax)}\``,
    "retention.age": `\`${formatDuration(retention.ageMsMax)}\``,
    lane: `\`${lane}\``,
    policy: `\`${policy}\``,
    ttl: `\`${formatDuration(ttlMs)}\``,
  };
  const rows = leavesOf(topicRuleSchema.in, []).map(({ key, accepted, meaning }) => {
    const value = shown[key];
    if (value === undefined) throw new Error(`no default is known for the topic setting ${key}`);
    return [`\`${key}\``, value, accepted, meaning];
  });
  return table(["setting", "default", "accepted", "meaning"], rows);
}

export interface LeafRow {
  readonly key: string;
  readonly accepted: string;
  readonly meaning: string;
  /** As a file would say it; undefined where there is none. */
  readonly defaultValue: unknown;
}

/** Every value of `schema`, by the key that a file says. */
export function leavesOf(schema: Schema, path: readonly string[]): LeafRow[] {
  const leaf = leafOf(schema);
  if (leaf !== undefined) {
    const defaultValue =
      "defaultValue" in schema._zod.def ? schema._zod.def.defaultValue : undefined;
    const { expects: accepted, description: meaning } = leaf;
    return [{ key: path.join("."), accepted, meaning, defaultValue }];
  }
  const inner = "innerType" in schema._zod.def ? (schema._zod.def.innerType as Schema) : schema;
  const shape = "shape" in inner._zod.def ? inner._zod.def.shape : {};
  return Object.entries(shape as Readonly<Record<string, Schema>>).flatMap(([name, member]) =>
    leavesOf(member, [...path, name]),
  );
}
