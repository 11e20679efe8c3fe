import type { Said } from "./support.ts";

const yaml = (text: string): Said => ({ yaml: text });
const env = (name: string, value: string): Said => ({ env: { [name]: value } });
const flag = (key: string, value: string | boolean | string[]): Said => ({
  flags: { [key]: value },
});
const json = (text: string): Said => ({ files: { "sluice.config.json": text } });

const range = (file: string, key: string): string => `sluice.config.yaml:${file}: ${key} must be`;

/** Each is wrong in one way; the second part is how its one line begins, `...` stands for anything. */
export const BAD_CONFIGS: readonly (readonly [name: string, said: Said, line: string])[] = [
  // Types.
  [
    "a port that is text",
    yaml("port: web"),
    `${range("1:7", "port")} a port from 0 to 65535, not "web"`,
  ],
  ["a port in quotes", yaml('port: "80"'), `${range("1:7", "port")}...; write it without quotes`],
  ["a port that is empty", yaml("port:"), `${range("1:6", "port")}..., not empty`],
  ["a port that is a list", yaml("port: [80]"), `${range("1:7", "port")}..., not a list`],
  ["a port that is a mapping", yaml("port: {a: 1}"), `${range("1:7", "port")}..., not a mapping`],
  ["a port with a fraction", yaml("port: 80.5"), `${range("1:7", "port")}..., not 80.5`],
  [
    "a host that is a number",
    yaml("host: 5"),
    `${range("1:7", "host")} an IP address or a host name, not 5`,
  ],
  [
    "a host with a port",
    yaml("host: localhost:80"),
    `${range("1:7", "host")}...; the port is an option of its own`,
  ],
  ["a host that is a URL", yaml("host: http://localhost"), `${range("1:7", "host")}...`],
  ["a host that is no address", yaml("host: 127.0.0.256"), `${range("1:7", "host")}...`],
  [
    "a switch that is text",
    yaml("insecure: maybe"),
    `${range("1:11", "insecure")} true or false, not "maybe"`,
  ],
  [
    "a switch that is yes",
    yaml("insecure: yes"),
    `${range("1:11", "insecure")} true or false, not "yes"`,
  ],
  [
    "a bookmark that is a number",
    yaml("bookmark: 5"),
    `${range("1:11", "bookmark")} a mapping, not 5`,
  ],
  [
    "topics that are a mapping",
    yaml("topics: {a: 1}"),
    `${range("1:9", "topics")} a list of rules...`,
  ],
  ["a rule that is text", yaml("topics:\n  - a"), `${range("2:5", "topics.0")} a mapping, not "a"`],
  [
    "origins that are text",
    yaml("corsOrigins: https://a.b"),
    `${range("1:14", "corsOrigins")} a list of origins...`,
  ],
  [
    "an origin with a path",
    yaml("corsOrigins: [https://a.b/c]"),
    `${range("1:14", "corsOrigins")}...; "https://a.b/c" is none`,
  ],
  [
    "an origin without a scheme",
    flag("corsOrigins", ["a.b"]),
    `--cors-origin: corsOrigins must be...; "a.b" is none`,
  ],
  // Ranges and units.
  [
    "a port that is too high",
    yaml("port: 65536"),
    `${range("1:7", "port")} a port from 0 to 65535, not 65536`,
  ],
  ["a port below zero", yaml("port: -1"), `${range("1:7", "port")}..., not -1`],
  [
    "a duration of no unit that there is",
    yaml("heartbeat: 20x"),
    `${range("1:12", "heartbeat")}...; units are ms, s, m, h or d...`,
  ],
  [
    "a duration that is too short",
    yaml("heartbeat: 1ms"),
    `${range("1:12", "heartbeat")} a duration from 1s to 5m, such as 20s or 250ms, not "1ms"...`,
  ],
  [
    "a duration that is too long",
    yaml("heartbeat: 1h"),
    `${range("1:12", "heartbeat")}..., not "1h"...`,
  ],
  ["a duration in words", yaml("stall: soon"), `${range("1:8", "stall")}..., not "soon"`],
  ["a duration that is true", yaml("retry: true"), `${range("1:8", "retry")}..., not true`],
  ["a duration below zero", yaml("retry: -5s"), `${range("1:8", "retry")}..., not "-5s"`],
  [
    "an ambiguous size",
    yaml("eventBytesMax: 1M"),
    `${range("1:16", "eventBytesMax")} a size from 1B to 64MiB, such as 64KiB or 1MB, not "1M"; units are...`,
  ],
  [
    "a size that is too large",
    yaml("eventBytesMax: 65MiB"),
    `${range("1:16", "eventBytesMax")}...`,
  ],
  [
    "memory that is too small",
    yaml("memoryBytesMax: 1MiB"),
    `${range("1:17", "memoryBytesMax")} a size from 16MiB...`,
  ],
  [
    "no topics at all",
    yaml("topicsMax: 0"),
    `${range("1:12", "topicsMax")} a whole number from 1 to 10,000,000, not 0`,
  ],
  ["a number with a letter", yaml("topicsMax: 10k"), `${range("1:12", "topicsMax")}..., not "10k"`],
  [
    "a bookmark age that is too long",
    yaml("bookmark:\n  age: 2d"),
    `${range("2:8", "bookmark.age")}...`,
  ],
  [
    "no idempotency keys",
    yaml("idempotency: {countMax: 0}"),
    `${range("1:25", "idempotency.countMax")}...`,
  ],
  [
    "a misspelt level",
    yaml("logLevel: inof"),
    `${range("1:11", "logLevel")} one of ...; did you mean "info"?`,
  ],
  [
    "a level in capitals",
    yaml("logLevel: DEBUG"),
    `${range("1:11", "logLevel")}...; did you mean "debug"?`,
  ],
  // Keys that are none, with the nearest.
  [
    "a misspelt key",
    yaml("prot: 80"),
    'sluice.config.yaml:1:1: there is no option "prot"; did you mean "port"?',
  ],
  [
    "a key of another case",
    yaml("adminport: 80"),
    'sluice.config.yaml:1:1: there is no option "adminport"; did you mean "adminPort"?',
  ],
  [
    "a key with dashes",
    yaml("admin-port: 80"),
    'sluice.config.yaml:1:1: there is no option "admin-port"; did you mean "adminPort"?',
  ],
  [
    "a key that is nowhere near",
    yaml("workers: 80"),
    'sluice.config.yaml:1:1: there is no option "workers"; known: host, port...',
  ],
  [
    "a misspelt key inside",
    yaml("bookmark:\n  evnets: 5"),
    'sluice.config.yaml:2:3: there is no option "evnets" in bookmark; did you mean "events"?',
  ],
  [
    "a misspelt key of a rule",
    yaml("topics:\n  - match: a\n    retension: {}"),
    'sluice.config.yaml:3:5: there is no option "retension" in topics.0; did you mean "retention"?',
  ],
  [
    "__proto__ in JSON",
    json('{"__proto__": {"polluted": 1}}'),
    'sluice.config.json:1:2: there is no option "__proto__"; known: ...',
  ],
  // Rules.
  [
    "a rule without match",
    yaml("topics:\n  - lane: high"),
    `${range("2:5", "topics.0.match")} a topic name or pattern, not empty`,
  ],
  [
    "a rule with a bad pattern",
    yaml("topics:\n  - match: a/**/b"),
    `${range("2:12", "topics.0.match")} a topic name or pattern, not "a/**/b"; ...`,
  ],
  [
    "a rule with a bad lane",
    yaml("topics:\n  - match: a\n    lane: hihg"),
    `${range("3:11", "topics.0.lane")} one of high, normal, bulk, not "hihg"; did you mean "high"?`,
  ],
  [
    "a rule with a bad policy",
    yaml("topics:\n  - match: a\n    policy: drop"),
    `${range("3:13", "topics.0.policy")} one of disconnect, drop-oldest, conflate, not "drop"`,
  ],
  [
    "a rule that keeps nothing",
    yaml("topics:\n  - match: a\n    retention: {count: 0}"),
    `${range("3:24", "topics.0.retention.count")}...`,
  ],
  [
    "two rules of one pattern",
    yaml("topics:\n  - match: a\n  - match: a"),
    "sluice.config.yaml:3:12: topics.1.match is that of rule 1 too...",
  ],
  // Between options.
  [
    "an address that others reach",
    yaml("host: 0.0.0.0"),
    "sluice.config.yaml:1:7: host is 0.0.0.0, which others can reach...; listen on 127.0.0.1 behind a proxy that asks, or allow it by --insecure",
  ],
  [
    "an admin address that others reach",
    flag("adminHost", "::"),
    "--admin-host: adminHost is ::, which others can reach...or allow it by --insecure",
  ],
  [
    "one port for both listeners",
    env("SLUICE_PORT", "8081"),
    "default: adminPort is 8081, as the public listener's is...",
  ],
  [
    "an event larger than memory",
    { yaml: "eventBytesMax: 32MiB\nbatchBytesMax: 32MiB\nmemoryBytesMax: 16MiB" },
    "sluice.config.yaml:1:16: eventBytesMax is 32MiB, more than the 16MiB of memoryBytesMax",
  ],
  [
    "a batch smaller than an event",
    yaml("batchBytesMax: 1KiB"),
    "sluice.config.yaml:1:16: batchBytesMax is 1KiB, less than the 1MiB of eventBytesMax",
  ],
  [
    "a topic that keeps more than memory",
    yaml("topics: [{match: a, retention: {bytes: 1GiB}}]"),
    "sluice.config.yaml:1:40: topics.0.retention.bytes is 1GiB, more than the 256MiB of memoryBytesMax",
  ],
  [
    "a drain whose wait is as long as it may take",
    yaml("drain:\n  wait: 25s"),
    "sluice.config.yaml:2:9: drain.wait is 25s, not less than the 25s of drain.deadline: nobody would be told goodbye",
  ],
  [
    "a drain whose deadline comes before its wait is over",
    { env: { SLUICE_DRAIN_WAIT: "10s", SLUICE_DRAIN_DEADLINE: "5s" } },
    "SLUICE_DRAIN_WAIT: drain.wait is 10s, not less than the 5s of drain.deadline...",
  ],
  // Origins and routes.
  [
    "an upstream without its scheme",
    flag("upstream", "app:3000"),
    '--upstream: upstream must be an origin such as http://app:3000 or https://api.example.com, not "app:3000"; the scheme is missing; did you mean "http://app:3000"?',
  ],
  [
    "an upstream that is a port",
    flag("upstream", "3000"),
    '--upstream: upstream must be...; the scheme and host are missing; did you mean "http://127.0.0.1:3000"?',
  ],
  [
    "an upstream that is a number",
    yaml("upstream: 3000"),
    `${range("1:11", "upstream")}...not 3000; ...did you mean "http://127.0.0.1:3000"?`,
  ],
  [
    "an upstream with a path",
    env("SLUICE_UPSTREAM", "http://app:3000/api"),
    'SLUICE_UPSTREAM: upstream must be..., not "http://app:3000/api"; an origin has no path, because paths are passed on as they are; did you mean "http://app:3000"?',
  ],
  [
    "an upstream with a query",
    yaml("upstream: 'http://app/?a'"),
    `${range("1:11", "upstream")}...; did you mean "http://app"?`,
  ],
  [
    "an upstream of another scheme",
    flag("upstream", "ws://app:3000"),
    '--upstream: upstream must be..., not "ws://app:3000"; the scheme must be http or https',
  ],
  [
    "an upstream with a password",
    flag("upstream", "http://user:hunter2@app"),
    '--upstream: upstream must be..., not "http://***@app"; an origin has no user and no password',
  ],
  [
    "an upstream that is no URL",
    flag("upstream", "http://a b"),
    '--upstream: upstream must be..., not "http://a b"; it is no URL',
  ],
  [
    "an upstream of port 0",
    flag("upstream", "http://app:0"),
    '--upstream: upstream must be..., not "http://app:0"',
  ],
  [
    "an upstream that is the gateway",
    flag("upstream", "http://localhost:8080"),
    "--upstream: upstream is http://localhost:8080, this gateway itself, and requests would go round...",
  ],
  [
    "an upstream that is the admin listener",
    flag("upstream", "http://127.0.0.1:8081"),
    "--upstream: upstream is http://127.0.0.1:8081, this gateway's admin listener, which must not be public...",
  ],
  [
    "routes that are a mapping",
    yaml("routes: {match: /a}"),
    `${range("1:9", "routes")} a list of rules, each with match: <path pattern>`,
  ],
  [
    "a route without match",
    yaml("routes:\n  - to: http://app"),
    `${range("2:5", "routes.0.match")} a path pattern such as /chat/* or /api/**, not empty`,
  ],
  [
    "a route that leads nowhere",
    yaml("routes:\n  - match: /chat/*"),
    "sluice.config.yaml:2:5: routes.0 leads nowhere: say to: <origin>, or upstream for all rules without it",
  ],
  [
    "a route to a path",
    yaml("routes:\n  - { match: /a, to: 'http://app/b' }"),
    `${range("2:22", "routes.0.to")}...; did you mean "http://app"?`,
  ],
  [
    "a route to the gateway",
    yaml("routes:\n  - { match: /a, to: 'http://127.0.0.1:8080' }"),
    "sluice.config.yaml:2:22: routes.0.to is http://127.0.0.1:8080, this gateway itself...",
  ],
  [
    "a path pattern without its slash",
    yaml("routes:\n  - match: chat/*"),
    `${range("2:12", "routes.0.match")}..., not "chat/*"; it must begin with /`,
  ],
  [
    "a path pattern that is a URL",
    yaml("routes:\n  - match: http://app/chat"),
    `${range("2:12", "routes.0.match")}...; where requests go is said by \`to\``,
  ],
  [
    "a path pattern with ** inside",
    yaml("routes:\n  - match: /a/**/b"),
    `${range("2:12", "routes.0.match")}...; ** must be the last segment`,
  ],
  [
    "a path pattern with a part of a segment",
    yaml("routes:\n  - match: /a*"),
    `${range("2:12", "routes.0.match")}...; * is a whole segment`,
  ],
  [
    "a path pattern with a query",
    yaml("routes:\n  - match: /a?b=c"),
    `${range("2:12", "routes.0.match")}...; queries are passed on, and no part of a pattern`,
  ],
  [
    "a path pattern that goes up",
    yaml("routes:\n  - match: /a/../b"),
    `${range("2:12", "routes.0.match")}...; no segment may be . or ..`,
  ],
  [
    "a path pattern with an empty segment",
    yaml("routes:\n  - match: /a//b"),
    `${range("2:12", "routes.0.match")}...; it has an empty segment`,
  ],
  [
    "a route for Sluice's own paths",
    yaml("upstream: http://app\nroutes:\n  - match: /v1/topics/**"),
    "sluice.config.yaml:3:12: routes.0.match is below /v1/topics, which Sluice answers itself",
  ],
  [
    "two routes of one pattern",
    yaml("upstream: http://app\nroutes:\n  - match: /a\n  - match: /a"),
    "sluice.config.yaml:4:12: routes.1.match is that of rule 1 too, which always comes first",
  ],
  [
    "a route that keeps more than memory",
    yaml("upstream: http://app\nroutes:\n  - { match: /a, window: 512MiB }"),
    "sluice.config.yaml:3:26: routes.0.window is 512MiB, more than the 256MiB of memoryBytesMax",
  ],
  [
    "a misspelt key of a route",
    yaml("routes:\n  - match: /a\n    lingre: 5s"),
    'sluice.config.yaml:3:5: there is no option "lingre" in routes.0; did you mean "linger"?',
  ],
  [
    "header names that are none",
    yaml("routes:\n  - match: /a\n    headers: { allow: ['x y'] }"),
    `${range("3:23", "routes.0.headers.allow")} a list of header names...; "x y" is none`,
  ],
  [
    "a grace without its time",
    yaml("routes:\n  - match: /a\n    onReadersGone: grace"),
    `${range("3:20", "routes.0.onReadersGone")} cancel, detach or grace(<duration>)..., not "grace"; grace takes a duration from 1ms to 1d...`,
  ],
  [
    "a grace of no time that there is",
    yaml("routes:\n  - match: /a\n    onReadersGone: grace(soon)"),
    `${range("3:20", "routes.0.onReadersGone")}...; grace takes a duration...`,
  ],
  [
    "a misspelt end of readers",
    yaml("routes:\n  - match: /a\n    onReadersGone: cancle"),
    `${range("3:20", "routes.0.onReadersGone")}...; did you mean "cancel"?`,
  ],
  [
    "control by what is none",
    yaml("routes:\n  - match: /a\n    control: comment"),
    `${range("3:14", "routes.0.control")} one of comments, events, not "comment"; did you mean "comments"?`,
  ],
  [
    "a pool without sockets",
    flag("pool.socketsMax", "0"),
    "--pool-sockets-max: pool.socketsMax must be a whole number from 1 to 100,000, not 0",
  ],
  [
    "an HTTP version that is none",
    env("SLUICE_POOL_HTTP2", "on"),
    'SLUICE_POOL_HTTP2: pool.http2 must be one of auto, off, prior, not "on"',
  ],
  [
    "a health check of a URL",
    flag("pool.health.path", "http://app/health"),
    "--pool-health-path: pool.health.path must be a path such as /healthz...; the path alone, each origin is asked for it",
  ],
  // Flags and variables.
  [
    "a flag that is no number",
    flag("port", "0x50"),
    '--port: port must be a port from 0 to 65535, not "0x50"',
  ],
  ["an empty flag", flag("heartbeat", ""), '--heartbeat: heartbeat must be a duration..., not ""'],
  ["an empty variable", env("SLUICE_PORT", ""), 'SLUICE_PORT: port must be..., not ""'],
  [
    "a variable with a space",
    env("SLUICE_TOPICS_MAX", " 5"),
    'SLUICE_TOPICS_MAX: topicsMax must be..., not " 5"',
  ],
  [
    "a switch variable that is no switch",
    env("SLUICE_INSECURE", "on"),
    'SLUICE_INSECURE: insecure must be true or false, not "on"',
  ],
  [
    "a misspelt variable",
    env("SLUICE_MEMORY_BYTE_MAX", "1"),
    'SLUICE_MEMORY_BYTE_MAX: is no option; did you mean "SLUICE_MEMORY_BYTES_MAX"?',
  ],
  [
    "a variable that is nowhere near",
    env("SLUICE_XYZZY", "1"),
    "SLUICE_XYZZY: is no option; `sluice serve --help` lists all",
  ],
  [
    "the port variable of a Kubernetes service",
    env("SLUICE_PORT", "tcp://10.0.0.1:80"),
    "SLUICE_PORT: port must be...; set enableServiceLinks: false in the pod",
  ],
  // Files.
  [
    "YAML with a tab",
    yaml("bookmark:\n\tage: 5"),
    "sluice.config.yaml:2:1: is not YAML: Tabs are not allowed as indentation",
  ],
  [
    "YAML that does not end",
    yaml("topics: [1"),
    "sluice.config.yaml:1:11: is not YAML: Flow sequence...",
  ],
  [
    "YAML with a key said twice",
    yaml("port: 1\nport: 2"),
    "sluice.config.yaml:2:1: is not YAML: Map keys must be unique",
  ],
  [
    "YAML of two documents",
    yaml("port: 1\n---\nport: 2"),
    "sluice.config.yaml:...: is not YAML: Source contains multiple documents...",
  ],
  [
    "YAML with a tag of its own",
    yaml("port: !secret x"),
    "sluice.config.yaml:1:7: is not YAML: Unresolved tag",
  ],
  [
    "YAML that is a list",
    yaml("- port: 1"),
    "sluice.config.yaml:1:1: must be a mapping, not a list",
  ],
  [
    "JSON with a comment",
    json('{\n  // five\n  "port": 5\n}'),
    "sluice.config.json:2:3: is not JSON: invalid comment token",
  ],
  [
    "JSON with a key said twice",
    json('{"port": 1,\n "port": 2}'),
    "sluice.config.json:2:2: is not JSON: the key is said twice",
  ],
  [
    "JSON with a wrong value",
    json('{\n  "port": "x"\n}'),
    "sluice.config.json:2:11: port must be...",
  ],
  ["JSON that is empty", json(""), "sluice.config.json:1:1: is not JSON: ..."],
  [
    "a file that is not UTF-8",
    { files: { "sluice.config.yaml": new Uint8Array([0x61, 0xff]) } },
    "sluice.config.yaml: cannot be read: it is not UTF-8",
  ],
  [
    "a file that is not there",
    { file: "sluice.confg.yaml" },
    'sluice.confg.yaml: cannot be read: there is no such file; did you mean "sluice.config.yaml"?',
  ],
  [
    "a file of another kind",
    { file: "sluice.toml", files: { "sluice.toml": "" } },
    "sluice.toml: must end in .yaml, .json or .jsonc, which says how to read it",
  ],
  [
    "a file of a name that is not read",
    { files: { "sluice.config.yml": "" } },
    "sluice.config.yml: is not read; rename it to sluice.config.yaml...",
  ],
  [
    "two files",
    { files: { "sluice.config.yaml": "", "sluice.config.json": "{}" } },
    "sluice.config.yaml: and sluice.config.json are both here; keep one...",
  ],
  [
    "a file that is too large",
    yaml(`# ${"x".repeat(1024 * 1024)}`),
    "sluice.config.yaml: has more than 1MiB",
  ],
];
