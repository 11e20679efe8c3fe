import { expect, test } from "vitest";
import { renderConfig } from "../../src/gateway/config/print.ts";
import { routesOf, upstreamsOf } from "../../src/gateway/config/upstream.ts";
import { ROUTE_DEFAULTS } from "../../src/gateway/proxy/route.ts";
import { POOL_DEFAULTS, poolOptions } from "../../src/upstreams/pool/pool-options.ts";
import { load } from "./support.ts";

test("--upstream is one route for everything, with the defaults", () => {
  const { config } = load({ flags: { upstream: "HTTP://App:3000/" } });
  expect(config.upstream).toBe("http://app:3000");
  const routes = routesOf(config);
  expect(routes).toMatchObject([{ ...ROUTE_DEFAULTS, match: "/**" }]);
  // Named in the configuration: loopback and private addresses are allowed.
  expect(routes[0]?.origin).toMatchObject({ key: "http://app:3000", isNamed: true });
  expect(routesOf(load({}).config)).toEqual([]);
  expect(routesOf(load({ env: { SLUICE_UPSTREAM: "" } }).config)).toEqual([]);
});

test("the pool's defaults are those of the configuration, and what is said reaches it", () => {
  const upstream = "http://app";
  const stated = upstreamsOf(load({ flags: { upstream } }).config, undefined);
  expect(poolOptions(stated?.pool ?? {})).toEqual(POOL_DEFAULTS);
  expect(upstreamsOf(load({}).config, undefined)).toBeUndefined();
  const yaml = [
    "upstream: http://app",
    "pool:",
    "  socketsMax: 7",
    "  streamsPerSession: 8",
    "  tenantPercentMax: 50",
    "  queueMax: 0",
    "  acquireWait: 1s",
    "  connect: 2s",
    "  headers: 3s",
    "  idle: 4s",
    "  maxAge: 5s",
    "  probe: 6s",
    "  breaker: { failures: 1, within: 7s, open: 8s }",
    "  health: { path: /up, interval: 9s }",
    "  http2: off",
  ].join("\n");
  const ca = Buffer.from("pem");
  expect(upstreamsOf(load({ yaml }).config, ca)?.pool).toEqual({
    socketsMax: 7,
    streamsPerSession: 8,
    tenantPercentMax: 50,
    queueMax: 0,
    acquireMsMax: 1_000,
    connectMsMax: 2_000,
    headersMsMax: 3_000,
    idleMs: 4_000,
    ageMsMax: 5_000,
    probeMs: 6_000,
    breaker: { failures: 1, withinMs: 7_000, openMs: 8_000 },
    health: { path: "/up", intervalMs: 9_000 },
    http2: "off",
    ca,
  });
});

test("rules come before upstream, in their order, and take its origin where they say none", () => {
  const yaml = [
    "upstream: http://app:3000",
    "runs: { ttl: 2h }",
    "routes:",
    "  - match: /v1/chat/*",
    "    to: https://api.example.com",
    "    headers: { allow: [Authorization, Content-Type] }",
    "    share: never",
    "    linger: 0",
    "    window: 64MiB",
    "    control: events",
    "    onEnd: reconnect",
    "    onReadersGone: detach",
    "    runTtl: 1d",
    "    firstByte: 2m",
    "    idle: 5m",
    "  - match: /jobs/**",
    "    onReadersGone: grace(1.5s)",
  ].join("\n");
  const routes = routesOf(load({ yaml }).config);
  expect(routes.map(({ match, origin }) => [match, origin.key])).toEqual([
    ["/v1/chat/*", "https://api.example.com:443"],
    ["/jobs/**", "http://app:3000"],
    ["/**", "http://app:3000"],
  ]);
  expect(routes[0]).toMatchObject({
    headersAllow: ["authorization", "content-type"],
    share: "never",
    lingerMs: 0,
    windowBytes: 64 * 1024 * 1024,
    control: "events",
    onEnd: "reconnect",
    onReadersGone: { kind: "detach" },
    runTtlMs: 86_400_000,
    headersMsMax: 120_000,
    idleMsMax: 300_000,
  });
  expect(routes[1]).toMatchObject({
    headersAllow: undefined,
    onReadersGone: { kind: "grace", ms: 1_500 },
    runTtlMs: 7_200_000,
  });
});

test("a rule for everything else stands in for upstream's own", () => {
  const yaml = "upstream: http://app\nroutes:\n  - match: /**\n    share: never";
  expect(routesOf(load({ yaml }).config)).toMatchObject([{ match: "/**", share: "never" }]);
});

test.each(["http://[::1]:3000", "https://api.example.com", "http://127.0.0.1:9"])(
  "%s is an origin",
  (upstream) => {
    expect(load({ flags: { upstream } }).config.upstream).toBe(upstream);
  },
);

test.each(["/", "/a", "/a/", "/a/*", "/*/b", "/**", "/a/b/**", "/a%20b", "/~u/@x:y"])(
  "%s is a path pattern",
  (match) => {
    const routes = [{ match, to: "http://app" }];
    const files = { "sluice.config.json": JSON.stringify({ routes }) };
    expect(load({ files }).config.routes[0]?.match).toBe(match);
  },
);

test("an origin on this machine is no conflict, unless one of our listeners is there", () => {
  const at = (upstream: string, port: string): unknown =>
    load({ flags: { upstream, port } }).config.upstream;
  expect(at("http://127.0.0.1:8080", "0")).toBe("http://127.0.0.1:8080");
  expect(at("http://localhost:3000", "8080")).toBe("http://localhost:3000");
  expect(at("http://app:8080", "8080")).toBe("http://app:8080");
});

test("routes that are printed load again to the same", () => {
  const yaml =
    "upstream: http://app\nroutes:\n  - match: /a/*\n    headers: { allow: [X-A] }\n    onReadersGone: grace(5s)\n  - match: /b\n    to: https://b\n    runTtl: 5m\npool: { http2: prior, health: { path: /up } }";
  const loaded = load({ yaml });
  const printed = renderConfig(loaded);
  expect(load({ yaml: printed }).config).toEqual(loaded.config);
  expect(printed).toContain("onReadersGone: grace(5s)\n");
  expect(printed).toContain("http2: prior # sluice.config.yaml:9:16\n");
});
