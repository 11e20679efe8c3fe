import { expect, test } from "vitest";
import { TOPIC_DEFAULTS } from "../../src/core/settings.ts";
import { configOptions } from "../../src/gateway/config/options.ts";
import { renderConfig } from "../../src/gateway/config/print.ts";
import { configJsonSchema } from "../../src/gateway/config/schema.ts";
import { readTopicSettings } from "../../src/gateway/config/topic-settings.ts";
import { load } from "./support.ts";

test("flags win over variables, variables over the file, the file over defaults; each value knows its source", () => {
  const { config, sources, file } = load({
    flags: { port: "1" },
    env: { SLUICE_PORT: "2", SLUICE_RETRY: "1s" },
    yaml: "port: 3\nretry: 3s\nstall: 40s",
  });
  expect([config.port, config.retry, config.stall, config.heartbeat]).toEqual([
    1, 1_000, 40_000, 20_000,
  ]);
  expect(["port", "retry", "stall", "heartbeat"].map((key) => sources.get(key))).toEqual([
    "--port",
    "SLUICE_RETRY",
    "sluice.config.yaml:3:8",
    "default",
  ]);
  expect(file).toBe("sluice.config.yaml");
});

test("without anything said there are the documented defaults, all of them", () => {
  const { config, sources, file } = load({});
  expect(config).toEqual({
    host: "127.0.0.1",
    port: 8080,
    adminHost: "127.0.0.1",
    adminPort: 8081,
    insecure: false,
    corsOrigins: [],
    eventBytesMax: 1_048_576,
    batchBytesMax: 8_388_608,
    memoryBytesMax: 268_435_456,
    topicsMax: 100_000,
    heartbeat: 20_000,
    stall: 25_000,
    retry: 2_000,
    bookmark: { events: 1_000, age: 60_000 },
    idempotency: { countMax: 100_000, age: 600_000 },
    topics: [],
    upstream: "",
    routes: [],
    pool: {
      socketsMax: 128,
      streamsPerSession: 64,
      tenantPercentMax: 60,
      queueMax: 1_024,
      acquireWait: 5_000,
      connect: 5_000,
      headers: 10_000,
      idle: 30_000,
      maxAge: 600_000,
      probe: 20_000,
      breaker: { failures: 5, within: 10_000, open: 5_000 },
      health: { path: "", interval: 10_000 },
      http2: "auto",
      ca: "",
    },
    runs: { max: 10_000, perTenantMax: 10_000, ttl: 3_600_000 },
    maxConnections: 0,
    overload: {
      response: "auto",
      openPercent: 90,
      closePercent: 85,
      retryAfter: 30_000,
      retryAfterJitterPercent: 0,
      loopDelay: 1_000,
      residentBytesMax: 0,
    },
    accept: { perSecond: 2_500, burst: 500, wait: 5_000, waitingMax: 12_500 },
    perIpMax: 0,
    trustedProxies: [],
    keepAlive: { timeout: 0, front: "none" },
    unacked: 6_000,
    pendingBytesMax: 268_435_456,
    maxAge: 720_000,
    maxAgeJitterPercent: 20,
    drain: { wait: 0, perSecond: 1_000, ackWait: 5_000, deadline: 25_000 },
    tls: { cert: "", key: "" },
    logLevel: "info",
  });
  expect(new Set(sources.values())).toEqual(new Set(["default"]));
  expect(file).toBeUndefined();
});

test("the resolved configuration is frozen all the way down", () => {
  const { config } = load({ yaml: "topics: [{match: a, retention: {count: 5}}]" });
  expect(Object.isFrozen(config) && Object.isFrozen(config.bookmark)).toBe(true);
  expect(Object.isFrozen(config.topics[0]?.settings.retention)).toBe(true);
});

test.each([
  ["sluice.config.yaml", "# five\nport: 5\nbookmark: {events: 7}\n"],
  ["sluice.config.yaml", "\uFEFFport: 5\r\nbookmark:\r\n  events: 7\r\n"],
  ["sluice.config.json", '{"port": 5, "bookmark": {"events": 7}}'],
  ["sluice.config.jsonc", '{\n  // five\n  "port": 5,\n  "bookmark": {"events": 7,},\n}'],
])("%s is found and read", (name, text) => {
  const { config, file } = load({ files: { [name]: text } });
  expect([config.port, config.bookmark.events, file]).toEqual([5, 7, name]);
});

test.each([
  ["", 8080],
  ["# nothing\n", 8080],
])("an empty file says nothing", (yaml, port) => {
  expect(load({ yaml }).config.port).toBe(port);
});

test("--config and SLUICE_CONFIG name another file, the flag first", () => {
  const files = { "a.yaml": "port: 1", "b.json": '{"port": 2}', "sluice.config.yaml": "port: 3" };
  expect(load({ files, file: "a.yaml" }).config.port).toBe(1);
  expect(load({ files, env: { SLUICE_CONFIG: "b.json" } }).config.port).toBe(2);
  expect(load({ files, file: "a.yaml", env: { SLUICE_CONFIG: "b.json" } }).config.port).toBe(1);
});

test("variables and flags say numbers, switches and lists as text", () => {
  const { config } = load({
    flags: { corsOrigins: ["https://A.example:443", "http://b:81"], insecure: true },
    env: {
      SLUICE_PORT: "0",
      SLUICE_MEMORY_BYTES_MAX: "32MiB",
      SLUICE_BOOKMARK_AGE: "90s",
      SLUICE_TOPICS_MAX: "7",
      SLUICE_HOST: "[::]",
    },
  });
  expect(config.corsOrigins).toEqual(["https://a.example", "http://b:81"]);
  expect([config.port, config.memoryBytesMax, config.bookmark.age, config.topicsMax]).toEqual([
    0, 33_554_432, 90_000, 7,
  ]);
  expect(config.host).toBe("::");
  const listed = load({ env: { SLUICE_CORS_ORIGINS: "https://a.b, http://c" } });
  expect(listed.config.corsOrigins).toEqual(["https://a.b", "http://c"]);
});

test("with --insecure an address that others reach is allowed, with a warning", () => {
  const { warnings } = load({ flags: { host: "0.0.0.0", insecure: true } });
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toContain("INSECURE: listening on 0.0.0.0 without authentication");
  expect(load({ flags: { insecure: true } }).warnings).toEqual([]);
});

test.each(["127.0.0.1", "127.9.9.9", "localhost", "a.localhost", "::1", "[::1]"])(
  "%s is this machine's own, and needs no --insecure",
  (host) => {
    expect(load({ flags: { host } }).warnings).toEqual([]);
  },
);

test("variables that Kubernetes sets for a service called sluice are passed over", () => {
  const env = {
    SLUICE_SERVICE_HOST: "10.0.0.1",
    SLUICE_SERVICE_PORT: "80",
    SLUICE_SERVICE_PORT_HTTP: "80",
    SLUICE_PORT_8080_TCP: "tcp://10.0.0.1:8080",
    SLUICE_PORT_8080_TCP_ADDR: "10.0.0.1",
    SLUICE_URL: "http://127.0.0.1:8080",
  };
  expect(load({ env }).config.port).toBe(8080);
});

test("rules become what the broker takes", () => {
  const { config } = load({
    yaml: "topics:\n  - match: a/**\n    retention: {count: 5, bytes: 1MiB, age: 1h}\n    lane: high\n    policy: conflate\n    ttl: 1d\n  - match: '*'",
  });
  expect(config.topics.map(({ match, settings }) => [match.text, settings])).toEqual([
    [
      "a/**",
      {
        retention: { countMax: 5, bytesMax: 1_048_576, ageMsMax: 3_600_000 },
        lane: "high",
        policy: "conflate",
        ttlMs: 86_400_000,
      },
    ],
    ["*", {}],
  ]);
});

test("what is printed loads again to the same configuration, with the source of each value", () => {
  const yaml =
    "port: 5\nstall: 1500ms\ncorsOrigins: ['*']\neventBytesMax: 1000\ntopics:\n  - match: a/*\n    retention: {age: 90s}\n  - match: '**'\n    lane: bulk\n";
  const loaded = load({ yaml, env: { SLUICE_LOG_LEVEL: "warn" } });
  const printed = renderConfig(loaded);
  expect(load({ yaml: printed }).config).toEqual(loaded.config);
  expect(printed).toContain("port: 5 # sluice.config.yaml:1:7\n");
  expect(printed).toContain("logLevel: warn # SLUICE_LOG_LEVEL\n");
  expect(printed).toContain("heartbeat: 20s # default\n");
  expect(renderConfig(load({}))).toContain("topics: [] # default\n");
});

test("every option has a flag and a variable of one shape, a description and a default that it accepts", () => {
  const options = configOptions();
  expect(options).toHaveLength(67);
  for (const option of options) {
    const { key, flag, env, description, defaultValue } = option;
    expect(description.length, key).toBeGreaterThan(5);
    expect(option.parse(defaultValue).success, key).toBe(true);
    if (key === "topics" || key === "routes") continue;
    expect(flag, key).toMatch(/^--[a-z]+(-[a-z0-9]+)*$/);
    expect(env, key).toMatch(/^SLUICE_[A-Z]+(_[A-Z0-9]+)*$/);
  }
  // The two lists of rules have none.
  expect(new Set(options.map(({ flag }) => flag)).size).toBe(66);
});

test("the flag of a list is its singular, and is said once for each", () => {
  const flags = new Map(configOptions().map(({ key, flag, env }) => [key, [flag, env]]));
  expect(flags.get("trustedProxies")).toEqual(["--trusted-proxy", "SLUICE_TRUSTED_PROXIES"]);
  expect(flags.get("corsOrigins")).toEqual(["--cors-origin", "SLUICE_CORS_ORIGINS"]);
  const proxies = ["10.0.0.0/8", "::1"];
  const { config, sources } = load({ flags: { trustedProxies: proxies } });
  expect(config.trustedProxies).toEqual(proxies);
  expect(sources.get("trustedProxies")).toBe("--trusted-proxy");
});

test("the JSON Schema is of draft 2020-12, closed, and knows units, bounds and defaults", () => {
  const schema = configJsonSchema() as {
    readonly $schema: string;
    readonly additionalProperties: boolean;
    readonly required?: string[];
    readonly properties: Record<string, Record<string, unknown>>;
  };
  expect(schema.$schema).toBe("https://json-schema.org/draft/2020-12/schema");
  expect(schema.additionalProperties).toBe(false);
  expect(schema.required).toBeUndefined();
  expect(schema.properties["heartbeat"]).toMatchObject({
    type: ["string", "integer"],
    minimum: 1_000,
    maximum: 300_000,
    default: "20s",
  });
  const { pattern } = schema.properties["heartbeat"] as { pattern: string };
  expect(new RegExp(pattern).test("20s") && !new RegExp(pattern).test("20x")).toBe(true);
  const { items } = schema.properties["topics"] as { items: Record<string, unknown> };
  expect(items).toMatchObject({ required: ["match"], additionalProperties: false });
});

test("a PUT's settings are read by the same schema, and refused with all that is wrong", () => {
  expect(readTopicSettings({})).toEqual({});
  expect(readTopicSettings({ retention: { age: 5 }, ttl: "7d" })).toEqual({
    retention: { ageMsMax: 5 },
    ttlMs: TOPIC_DEFAULTS.ttlMs,
  });
  expect(() => readTopicSettings({ retention: { cuont: 1 }, lane: "hihg" })).toThrow(
    'there is no option "cuont" here; did you mean "count"?; lane must be one of high, normal, bulk, not "hihg"; did you mean "high"?',
  );
  expect(() => readTopicSettings([])).toThrow("must be a mapping, not a list");
});
