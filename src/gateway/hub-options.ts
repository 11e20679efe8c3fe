import type { Broker } from "../core/broker.ts";
import { SluiceError } from "../core/errors.ts";
import type { HeartbeatOptions } from "../core/heartbeat.ts";
import type { IdempotencyOptions } from "../core/idempotency.ts";
import { LANES, POLICIES } from "../core/settings.ts";
import type { Retention, TopicSettingsInput } from "../core/settings.ts";
import type { RunOptions } from "../upstreams/runs/run-options.ts";
import type { Runtime } from "../internal/clock.ts";

export interface CreateHubOptions {
  /** Memory for retained events, in bytes; 1 MiB to 1 TiB. @defaultValue 256 MiB */
  readonly memoryBytesMax?: number;
  /** Topics of one tenant; 1 to 10,000,000. @defaultValue 100,000 */
  readonly topicsMax?: number;
  /** Data of one event, in bytes; 1 to 64 MiB. @defaultValue 1 MiB */
  readonly eventBytesMax?: number;
  /**
   * Settings by topic pattern; the first match counts. The same as `topics` of a configuration file,
   * under names that carry their unit: `retention.countMax` is `count` there, `retention.bytesMax` is
   * `bytes`, `retention.ageMsMax` is `age` and `ttlMs` is `ttl`; `match`, `lane` and `policy` are called
   * the same. Here they are numbers only: no `"16MiB"`, no `"24h"`. @defaultValue none
   */
  readonly topics?: readonly ({ readonly match: string } & TopicSettingsInput)[];
  readonly heartbeat?: Partial<HeartbeatOptions>;
  readonly idempotency?: Partial<IdempotencyOptions>;
  /** Owns the log. @defaultValue the memory broker, to which the four limits above apply */
  readonly broker?: Broker;
  /** Clock, timers, turns and chance. @defaultValue the real ones */
  readonly runtime?: Runtime;
}

export type Bounds = readonly [min: number, max: number];

const MIB = 1024 ** 2;
const TIB = 1024 ** 4;
const DAY_MS = 86_400_000;
/** Longer timers fire at once (Node's `setTimeout`, 2^31-1 ms). */
const TIMER_MS_MAX = 24 * DAY_MS;
const TEN_YEARS_MS = 3_650 * DAY_MS;

const HUB = {
  memoryBytesMax: [MIB, TIB],
  topicsMax: [1, 10_000_000],
  eventBytesMax: [1, 64 * MIB],
} satisfies Partial<Record<keyof CreateHubOptions, Bounds>>;

const HEARTBEAT: Readonly<Record<keyof HeartbeatOptions, Bounds>> = {
  heartbeatMs: [10, TIMER_MS_MAX],
  stallMs: [10, TIMER_MS_MAX],
  bookmarkEvents: [1, 1_000_000_000],
  bookmarkMs: [1, TEN_YEARS_MS],
  pendingBytesMax: [MIB, TIB],
  maxAgeMs: [0, TIMER_MS_MAX],
  maxAgeJitter: [0, 0.9],
};

const IDEMPOTENCY: Readonly<Record<keyof IdempotencyOptions, Bounds>> = {
  countMax: [1, 10_000_000],
  ageMsMax: [1, TEN_YEARS_MS],
};

const RETENTION: Readonly<Record<keyof Retention, Bounds>> = {
  countMax: [1, 1_000_000_000],
  bytesMax: [1, TIB],
  ageMsMax: [1, TEN_YEARS_MS],
};

const RUN = {
  ttlMs: [0, TIMER_MS_MAX],
  ageMsMax: [1, TIMER_MS_MAX],
  bytesMax: [1, TIB],
} satisfies Partial<Record<keyof RunOptions, Bounds>>;

const TOPIC = { ttlMs: [1, TEN_YEARS_MS] } satisfies Partial<
  Record<keyof TopicSettingsInput, Bounds>
>;

/** Throws `parameter_invalid` for a value that is out of its bounds, with its name, bounds and value. */
export function checkHubOptions(options: CreateHubOptions): void {
  const { heartbeat = {}, idempotency = {}, topics = [] } = options;
  checkNumbers("", options, HUB);
  checkNumbers("heartbeat.", heartbeat, HEARTBEAT);
  checkNumbers("idempotency.", idempotency, IDEMPOTENCY);
  for (const [index, settings] of topics.entries()) checkSettings(settings, `topics.${index}.`);
}

/** The same for the settings of one topic; `prefix` begins the names. */
export function checkSettings(settings: TopicSettingsInput, prefix = ""): void {
  const { lane, policy, retention = {} } = settings;
  checkNumbers(prefix, settings, TOPIC);
  checkNumbers(`${prefix}retention.`, retention, RETENTION);
  checkChoice(`${prefix}lane`, lane, LANES);
  checkChoice(`${prefix}policy`, policy, POLICIES);
}

/** The same for the options of a run. */
export function checkRunOptions(options: Partial<RunOptions>): void {
  const { onReadersGone } = options;
  checkNumbers("", options, RUN);
  if (onReadersGone === undefined) return;
  checkChoice("onReadersGone.kind", onReadersGone.kind, ["cancel", "detach", "grace"]);
  if (onReadersGone.kind !== "grace") return;
  checkNumbers("onReadersGone.", onReadersGone, { ms: [0, TIMER_MS_MAX] });
}

/** Without what is `undefined`, which would replace a default. */
export function stated<Group extends object>(group: Group): Group {
  const entries = Object.entries(group).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Group;
}

/** The same for one of some words. */
export function checkChoice(name: string, value: unknown, choices: readonly unknown[]): void {
  if (value === undefined || choices.includes(value)) return;
  throw new SluiceError(
    "parameter_invalid",
    `${name} must be ${choices.join(" or ")}, is ${shown(value)}`,
  );
}

/** The same for each number that `bounds` names; `prefix` begins the names. */
export function checkNumbers(
  prefix: string,
  values: object,
  bounds: Readonly<Record<string, Bounds>>,
): void {
  for (const [name, [min, max]] of Object.entries(bounds)) {
    const value = (values as Record<string, unknown>)[name];
    if (value === undefined) continue;
    // Milliseconds and shares may have a fraction; counts and bytes may not.
    const isFraction = name.includes("Ms") || name.endsWith("Jitter");
    const isNumber = typeof value === "number" && (isFraction || Number.isInteger(value));
    if (isNumber && value >= min && value <= max) continue;
    throw new SluiceError(
      "parameter_invalid",
      `${prefix}${name} must be ${min} to ${max}, is ${shown(value)}`,
    );
  }
}

function shown(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value.slice(0, 80)) : String(value);
}
