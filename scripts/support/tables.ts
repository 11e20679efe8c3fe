import { GAP_REASONS } from "../../src/core/control.ts";
import { DISCONNECTS } from "../../src/core/disconnect.ts";
import { ERRORS } from "../../src/core/errors.ts";
import type { ErrorRow } from "../../src/core/errors.ts";
import { METRICS, Metrics } from "../../src/core/metrics.ts";
import type { MetricRow } from "../../src/core/metrics.ts";
import { TOPIC_DEFAULTS } from "../../src/core/settings.ts";
import { createPrometheusExporter } from "../../src/exporters/prometheus.ts";
import { configOptions } from "../../src/gateway/config/options.ts";
import { routeDocs } from "./route-docs.ts";
import { topicDocs } from "./topic-docs.ts";
import { table } from "./generated.ts";
import type { GeneratedPart } from "./generated.ts";

/** Every generated part that comes from a table of the code. */
export async function tableParts(): Promise<GeneratedPart[]> {
  return [
    { file: "docs/configuration.md", name: "options", text: options() },
    { file: "docs/configuration.md", name: "topic settings", text: topicDocs(TOPIC_DEFAULTS) },
    { file: "docs/configuration.md", name: "route settings", text: routeDocs() },
    { file: "docs/errors.md", name: "errors", text: errors() },
    { file: "docs/errors.md", name: "disconnect reasons", text: disconnects() },
    { file: "docs/errors.md", name: "gap reasons", text: gapReasons() },
    { file: "docs/metrics.md", name: "metrics", text: metrics() },
    { file: "docs/metrics.md", name: "process metrics", text: await processMetrics() },
  ];
}

function options(): string {
  const rows = configOptions().map(({ key, flag, env, leaf, description, defaultValue }) => [
    `\`${key}\``,
    [flag, env]
      .filter((name) => name !== undefined)
      .map((name) => `\`${name}\``)
      .join("<br>"),
    shown(defaultValue),
    leaf?.expects ?? "a list of rules, in a file only",
    description,
  ]);
  return table(["in a file", "flag, variable", "default", "accepted", "meaning"], rows);
}

function shown(value: unknown): string {
  if (value === "" || (Array.isArray(value) && value.length === 0)) return "none";
  return typeof value === "string" ? `\`${value}\`` : `\`${JSON.stringify(value)}\``;
}

function errors(): string {
  const rows = (Object.entries(ERRORS) as [string, ErrorRow][])
    .toSorted(([a, one], [b, other]) => one.status - other.status || (a < b ? -1 : 1))
    .map(([code, { status, isRetryable, title, hint }]) => [
      `\`${code}\``,
      String(status),
      isRetryable ? "yes" : "no",
      title,
      hint,
    ]);
  return table(["code", "status", "retryable", "title", "hint"], rows);
}

function disconnects(): string {
  const rows = Object.entries(DISCONNECTS).map(([reason, { isAnnounced, meaning }]) => [
    `\`${reason}\``,
    isAnnounced ? "yes" : "no",
    meaning,
  ]);
  return table(["reason", "told by `event: close`", "meaning"], rows);
}

function gapReasons(): string {
  const rows = Object.entries(GAP_REASONS).map(([reason, meaning]) => [`\`${reason}\``, meaning]);
  return table(["reason", "meaning"], rows);
}

function metrics(): string {
  const rows = (Object.entries(METRICS) as [string, MetricRow][]).map(
    ([name, { type, label, help }]) => [
      `\`${name}\``,
      type,
      label === undefined ? "" : `\`${label}\``,
      help,
    ],
  );
  return table(["metric", "type", "label", "meaning"], rows);
}

/** Taken from a real rendering: whatever is no row of the metrics table is the process's own. */
async function processMetrics(): Promise<string> {
  const exporter = createPrometheusExporter(new Metrics(), () => {});
  const rendered = await exporter.render();
  exporter.close();
  const rows: string[][] = [];
  for (const [, name = "", help = ""] of rendered.matchAll(/^# HELP (\S+) (.*)$/gm)) {
    if (Object.hasOwn(METRICS, name)) continue;
    const type = new RegExp(`^# TYPE ${name} (\\w+)$`, "m").exec(rendered)?.[1] ?? "";
    rows.push([`\`${name}\``, type, help]);
  }
  return table(["metric", "type", "meaning"], rows);
}
