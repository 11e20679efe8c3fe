import { Counter, Gauge, Registry } from "@prometheus-io/client";
import { METRICS } from "../core/metrics.ts";
import type { MetricName, MetricRow, Metrics } from "../core/metrics.ts";
import { registerProcessMetrics } from "./process-metrics.ts";

/** Renders the process's numbers as Prometheus text. */
export interface PrometheusExporter {
  readonly contentType: string;
  render(): Promise<string>;
  /** Stops measuring the event loop. */
  close(): void;
}

/**
 * Registers every row of the metrics table. `measure` is called before each rendering. The hot paths
 * keep plain numbers; they are copied here when somebody asks.
 */
export function createPrometheusExporter(
  metrics: Metrics,
  measure: () => void,
): PrometheusExporter {
  const registry = new Registry(Registry.PROMETHEUS_CONTENT_TYPE);
  const series = new Map<MetricName, Counter<string> | Gauge<string>>();
  for (const [name, row] of Object.entries(METRICS) as [MetricName, MetricRow][]) {
    const labelNames = row.label === undefined ? [] : [row.label];
    const configuration = { name, help: row.help, labelNames, registers: [registry] };
    series.set(
      name,
      row.type === "counter" ? new Counter(configuration) : new Gauge(configuration),
    );
  }
  const process = registerProcessMetrics(registry);
  return {
    contentType: registry.contentType,
    async render() {
      measure();
      process.measure();
      for (const metric of series.values()) metric.reset();
      for (const { name, label, value } of metrics.samples()) {
        const labelName = (METRICS[name] as MetricRow).label;
        const labels = labelName === undefined || label === undefined ? {} : { [labelName]: label };
        series.get(name)?.inc(labels, value);
      }
      return registry.metrics();
    },
    close: () => process.close(),
  };
}
