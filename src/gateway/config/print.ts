import { Document } from "yaml";
import type { TopicRule } from "../../core/settings.ts";
import type { LoadedConfig } from "./load.ts";
import { configOptions } from "./options.ts";
import { renderRoute } from "./route-rule.ts";
import type { RouteRule } from "./route-rule.ts";
import { formatBytes, formatDuration } from "./units.ts";

/** The resolved configuration as YAML that loads again to the same, each value with where it comes from. */
export function renderConfig({ config, sources }: LoadedConfig): string {
  const document = new Document({});
  for (const { key, path, leaf } of configOptions()) {
    const value: unknown = path.reduce<unknown>(
      (tree, name) => (tree as Record<string, unknown>)[name],
      config,
    );
    const said = leaf === undefined ? renderRules(key, value) : leaf.format(value);
    const isBlock = leaf === undefined && (value as readonly unknown[]).length > 0;
    const node = document.createNode(said, { flow: Array.isArray(said) && !isBlock });
    // Behind a list of rules it would stand at the end of the last rule.
    node[isBlock ? "commentBefore" : "comment"] = ` ${sources.get(key)}`;
    document.setIn(path, node);
  }
  return document.toString({ lineWidth: 0, flowCollectionPadding: false });
}

/** The two lists of rules, which are no leaves. */
function renderRules(key: string, value: unknown): Record<string, unknown>[] {
  return key === "routes"
    ? (value as RouteRule[]).map(renderRoute)
    : (value as TopicRule[]).map(renderRule);
}

function renderRule({ match, settings }: TopicRule): Record<string, unknown> {
  const { retention, lane, policy, ttlMs } = settings;
  const kept = {
    ...(retention?.countMax !== undefined && { count: retention.countMax }),
    ...(retention?.bytesMax !== undefined && { bytes: formatBytes(retention.bytesMax) }),
    ...(retention?.ageMsMax !== undefined && { age: formatDuration(retention.ageMsMax) }),
  };
  return {
    match: match.text,
    ...(retention !== undefined && { retention: kept }),
    ...(lane !== undefined && { lane }),
    ...(policy !== undefined && { policy }),
    ...(ttlMs !== undefined && { ttl: formatDuration(ttlMs) }),
  };
}
