import * as z from "zod";
import { EVENT_BYTES_MAX_DEFAULT } from "../../core/event.ts";
import { HEARTBEAT_DEFAULTS } from "../../core/heartbeat.ts";
import { IDEMPOTENCY_DEFAULTS } from "../../core/idempotency.ts";
import { bytes, choice, count, duration, flag, section } from "./leaf.ts";
import { addresses, host, origins, path, port } from "./leaf-net.ts";
import { topicRuleSchema } from "./topic-settings.ts";
import { upstreamShape } from "./upstream-schema.ts";
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
  ...upstreamShape,
  maxConnections: count(
    "Sockets of the public listener at most; 0 is as many as there are descriptors for",
    { min: 0, max: 10_000_000 },
  ).prefault(0),
  overload: section({
    response: choice(
      "How a subscription is refused: status is 503, soft is a 200 that closes and that EventSource survives, auto is soft for those that would not survive a status",
      ["auto", "status", "soft"],
    ).prefault("auto"),
    openPercent: count("New subscriptions are refused from this share of the capacity on, in %", {
      min: 1,
      max: 100,
    }).prefault(90),
    closePercent: count("They are admitted again below this share, in %", {
      min: 0,
      max: 99,
    }).prefault(85),
    retryAfter: duration("Whoever is refused is told to wait so long", {
      min: SECOND_MS,
      max: 60 * MINUTE_MS,
    }).prefault("30s"),
    retryAfterJitterPercent: count("The wait is longer by a random share of up to this, in %", {
      min: 0,
      max: 1_000,
    }).prefault(0),
    loopDelay: duration("New subscriptions are refused while the event loop is later than this", {
      min: 10,
      max: 5 * MINUTE_MS,
    }).prefault("1s"),
    residentBytesMax: bytes(
      "New subscriptions are refused while the process has more resident memory; 0 is 85 % of the memory that its control group allows",
      { min: 0, max: 1024 * GIB },
    ).prefault(0),
  }).prefault({}),
  accept: section({
    perSecond: count("Subscriptions opened in one second; further ones wait in order", {
      min: 1,
      max: 1_000_000,
    }).prefault(2_500),
    burst: count("Subscriptions opened at once after a quiet time", {
      min: 1,
      max: 1_000_000,
    }).prefault(500),
    wait: duration("A subscription waits for its turn so long at most, then it is refused", {
      min: 0,
      max: 60 * SECOND_MS,
    }).prefault("5s"),
    waitingMax: count("Subscriptions that wait for their turn at most", {
      min: 0,
      max: 1_000_000,
    }).prefault(12_500),
  }).prefault({}),
  perIpMax: count("Connections from one address at most; 0 is no bound", {
    min: 0,
    max: 10_000_000,
  }).prefault(0),
  trustedProxies: addresses(
    "Proxies in front whose X-Forwarded-For is believed; addresses or ranges",
  ).prefault([]),
  keepAlive: section({
    timeout: duration(
      "A connection without a request is kept for so long; 0 is what keepAlive.front needs",
      { min: 0, max: 60 * MINUTE_MS },
    ).prefault(0),
    front: choice(
      "What stands in front: its idle connections must end before ours. none is 50 s, nginx and alb 75 s, gcp 620 s",
      ["none", "nginx", "alb", "gcp"],
    ).prefault("none"),
  }).prefault({}),
  unacked: duration("A client that acknowledges nothing of what was sent for so long is evicted", {
    min: SECOND_MS,
    max: 10 * MINUTE_MS,
  }).prefault("6s"),
  pendingBytesMax: bytes("Bytes that wait in this process for slow connections, all together", {
    min: MIB,
    max: 1024 * GIB,
  }).prefault(formatBytes(HEARTBEAT_DEFAULTS.pendingBytesMax)),
  maxAge: duration("A connection is told to reconnect after so long; 0 is never", {
    min: 0,
    max: 7 * DAY_MS,
  }).prefault(formatDuration(HEARTBEAT_DEFAULTS.maxAgeMs)),
  maxAgeJitterPercent: count("Its maximum age is longer or shorter by up to this share, in %", {
    min: 0,
    max: 90,
  }).prefault(HEARTBEAT_DEFAULTS.maxAgeJitter * 100),
  drain: section({
    wait: duration("Between failing readiness and saying goodbye: for load balancers to notice", {
      min: 0,
      max: 10 * MINUTE_MS,
    }).prefault("0s"),
    perSecond: count("Connections told goodbye in one second", {
      min: 1,
      max: 1_000_000,
    }).prefault(1_000),
    ackWait: duration("A client has so long to acknowledge the goodbye", {
      min: 0,
      max: 10 * MINUTE_MS,
    }).prefault("5s"),
    deadline: duration("What is left so long after the drain began is closed, and counted", {
      min: 100,
      max: 60 * MINUTE_MS,
    }).prefault("25s"),
  }).prefault({}),
  tls: section({
    cert: path(
      "The certificate chain, PEM; with tls.key the public listener speaks HTTPS",
    ).prefault(""),
    key: path("The private key of tls.cert, PEM").prefault(""),
  }).prefault({}),
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
