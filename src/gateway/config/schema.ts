import * as z from "zod";
import { EVENT_BYTES_MAX_DEFAULT } from "../../core/event.ts";
import { HEARTBEAT_DEFAULTS } from "../../core/heartbeat.ts";
import { IDEMPOTENCY_DEFAULTS } from "../../core/idempotency.ts";
import { parseHost, parseOrigin } from "./host.ts";
import { bytes, choice, count, duration, flag, leafSchema, quotesHint, section } from "./leaf.ts";
import { shown } from "./problem.ts";
import { topicRuleSchema } from "./topic-settings.ts";
import { formatBytes, formatDuration } from "./units.ts";

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** Of pino, and `silent`. */
export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

/**
 * Every option of the gateway. Flags, variables, configuration files, the JSON Schema and the docs are
 * made from it: a new option is one entry here, and one use of its value.
 */
export const configSchema = section({
  $schema: z.string().optional().meta({ description: "For editors; not read" }),
  host: host("The address that the public listener binds to").prefault("127.0.0.1"),
  port: port("The port of the public listener; 0 takes a free one").prefault(8080),
  adminHost: host("The address that /livez, /readyz and /metrics are served on").prefault(
    "127.0.0.1",
  ),
  adminPort: port("The port of the admin listener; 0 takes a free one").prefault(8081),
  insecure: flag(
    "Allows addresses that others can reach, although nobody is asked who they are",
  ).prefault(false),
  corsOrigins: origins().prefault([]),
  eventBytesMax: bytes("Data of one event", { min: 1, max: 64 * MIB }).prefault(
    formatBytes(EVENT_BYTES_MAX_DEFAULT),
  ),
  batchBytesMax: bytes("Body of one NDJSON batch", { min: 1, max: GIB }).prefault("8MiB"),
  memoryBytesMax: bytes("Memory for the retained events of all topics together", {
    min: 16 * MIB,
    max: 1024 * GIB,
  }).prefault("256MiB"),
  topicsMax: count("Topics at a time", { min: 1, max: 10_000_000 }).prefault(100_000),
  heartbeat: duration("A connection that is quiet for so long gets a comment", {
    min: SECOND_MS,
    max: 5 * MINUTE_MS,
  }).prefault(formatDuration(HEARTBEAT_DEFAULTS.heartbeatMs)),
  stall: duration("A connection on which nothing of what is pending leaves for so long is ended", {
    min: SECOND_MS,
    max: 10 * MINUTE_MS,
  }).prefault(formatDuration(HEARTBEAT_DEFAULTS.stallMs)),
  retry: duration("Clients are told to wait about so long before they reconnect, +-50 %", {
    min: 100,
    max: 5 * MINUTE_MS,
  }).prefault("2s"),
  bookmark: section({
    events: count("A quiet connection is told its place when its last id is so many events old", {
      min: 1,
      max: 1_000_000_000,
    }).prefault(HEARTBEAT_DEFAULTS.bookmarkEvents),
    age: duration("The same by age", { min: SECOND_MS, max: DAY_MS }).prefault(
      formatDuration(HEARTBEAT_DEFAULTS.bookmarkMs),
    ),
  }).prefault({}),
  idempotency: section({
    countMax: count("Idempotency keys remembered", { min: 1, max: 10_000_000 }).prefault(
      IDEMPOTENCY_DEFAULTS.countMax,
    ),
    age: duration("An idempotency key is remembered for so long", {
      min: SECOND_MS,
      max: 7 * DAY_MS,
    }).prefault(formatDuration(IDEMPOTENCY_DEFAULTS.ageMsMax)),
  }).prefault({}),
  topics: z
    .array(topicRuleSchema, { error: "must be a list of rules, each with match: <pattern>" })
    .max(1_000, { error: "must have at most 1,000 rules" })
    .meta({ description: "Settings of topics by pattern; the first rule that matches counts" })
    .prefault([]),
  logLevel: choice("What is logged: this and what is graver", LOG_LEVELS).prefault("info"),
});

/** The resolved configuration: durations in milliseconds, sizes in bytes. Frozen. */
export type Config = Readonly<Omit<z.output<typeof configSchema>, "$schema">>;

/** The JSON Schema (draft 2020-12) of a configuration file. */
export function configJsonSchema(): Record<string, unknown> {
  const { $schema, ...schema } = z.toJSONSchema(configSchema, {
    io: "input",
    target: "draft-2020-12",
  });
  return { $schema, title: "Configuration of Sluice", ...schema };
}

function host(description: string): ReturnType<typeof leafSchema<string>> {
  return leafSchema({
    description,
    expects: "an IP address or a host name",
    placeholder: "host",
    said: "text",
    jsonSchema: { type: "string", minLength: 1, maxLength: 255 },
    read: (value) => (typeof value === "string" ? parseHost(value) : undefined),
    fromText: (text) => text,
    format: (value) => value,
    hint: (value) =>
      typeof value === "string" && /[:/]/.test(value)
        ? "the port is an option of its own"
        : undefined,
  });
}

function port(description: string): ReturnType<typeof leafSchema<number>> {
  return leafSchema({
    description,
    expects: "a port from 0 to 65535",
    placeholder: "port",
    said: "text",
    jsonSchema: { type: "integer", minimum: 0, maximum: 65_535 },
    read: (value) =>
      Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 65_535
        ? Number(value)
        : undefined,
    fromText: (text) => (/^[0-9]{1,5}$/.test(text) ? Number(text) : text),
    format: (value) => value,
    // Kubernetes sets SLUICE_PORT in every pod of a namespace that has a service called "sluice".
    hint: (value) =>
      typeof value === "string" && value.startsWith("tcp://")
        ? "Kubernetes sets this for a service called sluice; set enableServiceLinks: false in the pod"
        : quotesHint(value),
  });
}

function origins(): ReturnType<typeof leafSchema<readonly string[]>> {
  const items = (value: unknown): (string | undefined)[] =>
    (Array.isArray(value) ? value : [undefined]).map((item) =>
      typeof item === "string" ? parseOrigin(item) : undefined,
    );
  return leafSchema({
    description: "Pages of these origins may call Sluice; * is every origin",
    expects: "a list of origins such as https://app.example.com (no path), or *",
    placeholder: "origin",
    said: "list",
    jsonSchema: { type: "array", items: { type: "string" }, maxItems: 1_000 },
    read(value) {
      const read = items(value);
      return read.includes(undefined) ? undefined : (read as string[]);
    },
    fromText: (text) =>
      text
        .split(",")
        .map((item) => item.trim())
        .filter((item) => item !== ""),
    format: (value) => value,
    hint(value) {
      if (!Array.isArray(value)) return undefined;
      return `${shown(value[items(value).indexOf(undefined)])} is none`;
    },
  });
}
