import type * as z from "zod";
import { CONTROLS, ON_ENDS, ROUTE_DEFAULTS, SHARES } from "../proxy/route.ts";
import { bytes, choice, duration, section } from "./leaf.ts";
import {
  formatReadersGone,
  headerNames,
  pathPattern,
  readersGone,
  upstream,
} from "./leaf-upstream.ts";
import { formatBytes, formatDuration } from "./units.ts";

const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
const KIB = 1024;
const GIB = 1024 ** 3;

/** One rule of `routes`: which paths go to which origin, and how. The first rule that matches counts. */
export const routeRuleSchema = section({
  match: pathPattern(
    "The paths that the rule is for: * is one segment, ** at the end is all that follow",
  ),
  to: upstream("Where they go; without it to upstream").prefault(""),
  headers: section({
    allow: headerNames(
      "The only request headers that are passed on; without it all but hop-by-hop ones",
    ).optional(),
  }).prefault({}),
  share: choice(
    "auto: readers of the same stream share one upstream request; never: each has its own",
    SHARES,
  ).prefault(ROUTE_DEFAULTS.share),
  linger: duration("A shared stream outlives its last reader so long", {
    min: 0,
    max: HOUR_MS,
  }).prefault(formatDuration(ROUTE_DEFAULTS.lingerMs)),
  window: bytes("What is kept of a stream for readers that come back, or come late", {
    min: 4 * KIB,
    max: GIB,
  }).prefault(formatBytes(ROUTE_DEFAULTS.windowBytes)),
  control: choice(
    "How Sluice speaks of itself in these streams: in comments that no client sees, or in events",
    CONTROLS,
  ).prefault(ROUTE_DEFAULTS.control),
  onEnd: choice(
    "What the end of an upstream stream means; auto: reconnect if its events had ids, else the end",
    ON_ENDS,
  ).prefault(ROUTE_DEFAULTS.onEnd),
  onReadersGone: readersGone("What becomes of a run that nobody reads any more").prefault(
    formatReadersGone(ROUTE_DEFAULTS.onReadersGone),
  ),
  runTtl: duration("A run can be read for so long after its end; without it runs.ttl", {
    min: SECOND_MS,
    max: 7 * DAY_MS,
  }).optional(),
  firstByte: duration("The origin has so long to begin its answer", {
    min: 100,
    max: HOUR_MS,
  }).prefault(formatDuration(ROUTE_DEFAULTS.headersMsMax)),
  idle: duration("An upstream stream that is silent for so long is given up, and asked for again", {
    min: SECOND_MS,
    max: DAY_MS,
  }).prefault(formatDuration(ROUTE_DEFAULTS.idleMsMax)),
});

/** One rule as resolved: durations in milliseconds, sizes in bytes. */
export type RouteRule = z.output<typeof routeRuleSchema>;

/** As a file would say it. */
export function renderRoute(rule: RouteRule): Record<string, unknown> {
  const { to, headers, linger, window, onReadersGone, runTtl, firstByte, idle, ...rest } = rule;
  const { match, share, control, onEnd } = rest;
  return {
    match,
    ...(to !== "" && { to }),
    ...(headers.allow !== undefined && { headers: { allow: [...headers.allow] } }),
    share,
    linger: formatDuration(linger),
    window: formatBytes(window),
    control,
    onEnd,
    onReadersGone: formatReadersGone(onReadersGone),
    ...(runTtl !== undefined && { runTtl: formatDuration(runTtl) }),
    firstByte: formatDuration(firstByte),
    idle: formatDuration(idle),
  };
}
