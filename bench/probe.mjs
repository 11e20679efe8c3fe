// Loaded into a server under test (`node --import`): measures what only its own process can see, and
// answers the harness over the channel between them. Costs 100 timers a second, 0.2 to 0.5 % of a core.
import {
  constants,
  createHistogram,
  monitorEventLoopDelay,
  PerformanceObserver,
} from "node:perf_hooks";
import { queryObjects } from "node:v8";

const EVERY_NANOS = 10_000_000n;
const RESOLUTION_MS = 10;
const sampled = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
sampled.enable();
const delay = createHistogram();
let pauses = [];

// Stricter than perf_hooks' monitorEventLoopDelay, which records a blocked loop once, however long it
// was blocked: a look is due each 10 ms on an ideal schedule, and each one that was missed counts with
// what it would have waited. So a quantile of it is what arrivals at any moment had to wait.
let due = process.hrtime.bigint() + EVERY_NANOS;
const look = () => {
  const now = process.hrtime.bigint();
  for (; due <= now; due += EVERY_NANOS) delay.record((now - due) / 1000n || 1n);
  setTimeout(look, Math.ceil(Number(due - process.hrtime.bigint()) / 1e6)).unref();
};
look();

new PerformanceObserver((list) => {
  for (const { duration, detail } of list.getEntries())
    pauses.push({ duration, kind: detail.kind });
}).observe({ entryTypes: ["gc"] });

const Timeout = setTimeout(() => {}, 0).constructor;

// It includes its own resolution, which is no delay.
const sampledMs = (quantile) =>
  sampled.count === 0 ? 0 : Math.max(0, sampled.percentile(quantile) / 1e6 - RESOLUTION_MS);

const longest = (kind) =>
  pauses.reduce((max, each) => (each.kind === kind ? Math.max(max, each.duration) : max), 0);
const count = (kind) => pauses.filter((each) => each.kind === kind).length;

const ANSWERS = {
  mark() {
    delay.reset();
    sampled.reset();
    pauses = [];
    return {};
  },
  read: () => ({
    loopDelayMsP50: sampledMs(50),
    loopDelayMsP99: sampledMs(99),
    loopDelayMsMax: sampledMs(100),
    loopWaitMsP50: delay.percentile(50) / 1e3,
    loopWaitMsP99: delay.percentile(99) / 1e3,
    gcMajorCount: count(constants.NODE_PERFORMANCE_GC_MAJOR),
    gcMajorMsMax: longest(constants.NODE_PERFORMANCE_GC_MAJOR),
    gcMinorMsMax: longest(constants.NODE_PERFORMANCE_GC_MINOR),
    gcIncrementalMsMax: longest(constants.NODE_PERFORMANCE_GC_INCREMENTAL),
  }),
  // Counts the objects on the heap, so those that do not keep the process alive as well, which
  // process.getActiveResourcesInfo leaves out. Collects all garbage first.
  timers: () => ({
    timers: queryObjects(Timeout, { format: "count" }),
    sockets: process.getActiveResourcesInfo().filter((kind) => kind === "TCPSocketWrap").length,
  }),
};

process.on("message", (name) => {
  // Entries of GC reach their observer in a task of their own: let it come first.
  setImmediate(() => process.send(ANSWERS[name]()));
});
process.channel?.unref();
