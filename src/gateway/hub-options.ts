import { SluiceError } from "../core/errors.ts";
import type { HeartbeatOptions } from "../core/heartbeat.ts";
import type { IdempotencyOptions } from "../core/idempotency.ts";
import { LANES, POLICIES } from "../core/settings.ts";
import type { Retention, TopicSettingsInput } from "../core/settings.ts";
import type { CreateHubOptions } from "./hub.ts";

type Bounds = readonly [min: number, max: number];

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

/** Without what is `undefined`, which would replace a default. */
export function stated<Group extends object>(group: Group): Group {
  const entries = Object.entries(group).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Group;
}

function checkChoice(name: string, value: unknown, choices: readonly unknown[]): void {
  if (value === undefined || choices.includes(value)) return;
  throw new SluiceError(
    "parameter_invalid",
    `${name} must be ${choices.join(" or ")}, is ${shown(value)}`,
  );
}

function checkNumbers<Name extends string>(
  prefix: string,
  values: Readonly<Partial<Record<Name, unknown>>>,
  bounds: Readonly<Record<Name, Bounds>>,
): void {
  for (const [name, [min, max]] of Object.entries(bounds) as [Name, Bounds][]) {
    const value = values[name];
    if (value === undefined) continue;
    // Milliseconds may have a fraction; counts and bytes may not.
    const isNumber = typeof value === "number" && (name.includes("Ms") || Number.isInteger(value));
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
