import { readdirSync } from "node:fs";
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import { Counter, Gauge } from "@prometheus-io/client";
import type { Registry } from "@prometheus-io/client";

const RESOLUTION_MS = 10;
const QUANTILES = [50, 99, 99.9];

/**
 * The process's own numbers under their usual names. The package's default metrics are not used: they
 * list every open socket at each scrape, can not be closed, and report an event loop delay that
 * includes the resolution of its measurement (here it is taken off).
 */
export function registerProcessMetrics(registry: Registry): { measure(): void; close(): void } {
  const registers = [registry];
  const gauge = (name: string, help: string, labelNames: string[] = []): Gauge<string> =>
    new Gauge({ name, help, labelNames, registers });
  const cpu = new Counter<string>({
    name: "process_cpu_seconds_total",
    help: "CPU time of the process, user and system, in seconds",
    registers,
  });
  const started = gauge("process_start_time_seconds", "When the process started, Unix time");
  const resident = gauge("process_resident_memory_bytes", "Resident memory");
  const heap = gauge("nodejs_heap_size_used_bytes", "Heap in use");
  const external = gauge("nodejs_external_memory_bytes", "Memory of buffers, outside the heap");
  const descriptors = gauge("process_open_fds", "Open file descriptors");
  const delay = gauge("nodejs_eventloop_delay_seconds", "Event loop delay since the last scrape", [
    "quantile",
  ]);
  const utilization = gauge(
    "nodejs_eventloop_utilization",
    "Share of time that the event loop was busy since the last scrape",
  );
  gauge("nodejs_version_info", "The Node.js that runs", ["version"]).set(
    { version: process.version },
    1,
  );
  started.set(Math.round(Date.now() / 1000 - process.uptime()));

  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  let before = performance.eventLoopUtilization();
  return {
    measure() {
      const { user, system } = process.cpuUsage();
      cpu.reset();
      cpu.inc((user + system) / 1e6);
      const memory = process.memoryUsage();
      resident.set(memory.rss);
      heap.set(memory.heapUsed);
      external.set(memory.external);
      const open = openDescriptors();
      if (open !== undefined) descriptors.set(open);
      for (const quantile of QUANTILES) {
        const delayMs = histogram.count === 0 ? 0 : histogram.percentile(quantile) / 1e6;
        const seconds = Math.max(0, delayMs - RESOLUTION_MS) / 1000;
        delay.set({ quantile: String(quantile / 100) }, seconds);
      }
      histogram.reset();
      const now = performance.eventLoopUtilization();
      utilization.set(performance.eventLoopUtilization(now, before).utilization);
      before = now;
    },
    close: () => void histogram.disable(),
  };
}

/** Linux only; nothing elsewhere. */
function openDescriptors(): number | undefined {
  try {
    // One of them is the descriptor that lists them.
    return readdirSync("/proc/self/fd").length - 1;
  } catch {
    return undefined;
  }
}
