import { expect, test } from "vitest";
import { openStream, rawClient, send, startWorld } from "./support.ts";

const TOPIC = "/v1/topics/a";
const ALLOWED = "https://app.example.org";

// Host is localhost:8080 in every row. Allowed origins: the one above.
const ORIGINS: [string, boolean, boolean][] = [
  // origin, may it call, may its pages read the answer across origins
  [ALLOWED, true, true],
  ["http://localhost:8080", true, false],
  ["http://LOCALHOST:8080", true, false],
  ["null", false, false],
  ["", false, false],
  ["https://app.example.org.evil.example", false, false],
  ["https://evil-app.example.org", false, false],
  ["https://evil.example/https://app.example.org", false, false],
  ["https://app.example.org:8443", false, false],
  ["http://app.example.org", false, false],
  ["https://APP.example.org", false, false],
  ["https://sub.app.example.org", false, false],
  ["https://example.org", false, false],
  ["https://app.example.org/", false, false],
  ["https://appXexample.org", false, false],
  ["http://localhost", false, false],
  ["http://localhost:3000", false, false],
  ["http://127.0.0.1:8080", false, false],
  ["http://localhost:8080.evil.example", false, false],
  ["http://localhost:8080@evil.example", false, false],
  ["file://", false, false],
];

test.each(ORIGINS)("S22 a page of origin %j: may call is %s, may read is %s", async (...row) => {
  const [origin, mayCall, mayRead] = row;
  const world = await startWorld({ gateway: { corsOrigins: [ALLOWED] } });
  const headers = { origin, host: "localhost:8080" };
  const stream = await send(world, TOPIC, { method: "HEAD", headers });
  const publish = await send(world, TOPIC, { method: "POST", headers, body: "x" });
  const preflight = await send(world, TOPIC, {
    method: "OPTIONS",
    headers: { ...headers, "access-control-request-method": "POST" },
  });
  const statuses = [stream.status, publish.status, preflight.status];
  expect(statuses).toEqual(mayCall ? [200, 201, 204] : [403, 403, 403]);
  if (!mayCall) expect(publish.json["code"]).toBe("origin_forbidden");
  for (const reply of [stream, publish, preflight]) {
    expect(reply.headers["access-control-allow-origin"]).toBe(mayRead ? origin : undefined);
    expect(reply.headers["access-control-allow-credentials"]).toBeUndefined();
    expect(reply.headers["vary"]).toMatch(/\bOrigin\b/);
  }
});

test("S22 a preflight of an allowed origin allows Last-Event-ID, Content-Type and Idempotency-Key", async () => {
  const world = await startWorld({ gateway: { corsOrigins: [ALLOWED] } });
  const { status, headers } = await send(world, TOPIC, {
    method: "OPTIONS",
    headers: {
      origin: ALLOWED,
      "access-control-request-method": "PUT",
      "access-control-request-headers": "last-event-id",
    },
  });
  expect(status).toBe(204);
  expect(headers["access-control-allow-methods"]).toBe("GET, HEAD, POST, PUT, DELETE, OPTIONS");
  expect(headers["access-control-allow-headers"]).toBe(
    "Last-Event-ID, Content-Type, Idempotency-Key",
  );
  expect(Number(headers["access-control-max-age"])).toBeGreaterThan(0);
});

test("a page of an allowed origin can read the stream, its connection id and every refusal", async () => {
  const world = await startWorld({ gateway: { corsOrigins: [ALLOWED] } });
  const stream = await openStream(world, TOPIC, { origin: ALLOWED });
  expect(stream.headers["access-control-allow-origin"]).toBe(ALLOWED);
  expect(stream.headers["access-control-expose-headers"]).toContain("Sluice-Connection");
  const refused = await send(world, "/v1/topics/a//b", { headers: { origin: ALLOWED } });
  expect(refused.headers["access-control-allow-origin"]).toBe(ALLOWED);
});

test("* allows every origin, without credentials", async () => {
  const world = await startWorld({ gateway: { corsOrigins: ["*"] } });
  for (const origin of ["null", "https://anything.example"]) {
    const { status, headers } = await send(world, TOPIC, { method: "HEAD", headers: { origin } });
    expect([status, headers["access-control-allow-origin"]]).toEqual([200, "*"]);
  }
});

const HOSTS: [string, boolean][] = [
  ["localhost", true],
  ["LocalHost:1", true],
  ["tenant.localhost:8080", true],
  ["127.0.0.1:8080", true],
  ["127.9.8.7", true],
  ["[::1]:8080", true],
  ["example.org", false],
  ["localhost.example.org", false],
  ["127.0.0.1.example.org", false],
  ["127.0.0.1@example.org", false],
  ["127.1", false],
  ["2130706433", false],
  ["0177.0.0.1", false],
  ["0.0.0.0", false],
  ["10.0.0.1", false],
  ["notlocalhost", false],
  ["a..localhost", false],
  ["[::2]", false],
  ["[::ffff:127.0.0.1]", false],
  ["localhost:port", false],
];

test.each(HOSTS)("S23 in open mode the Host %j is served: %s", async (host, isServed) => {
  const world = await startWorld();
  const reply = await send(world, TOPIC, { method: "HEAD", headers: { host } });
  expect(reply.status).toBe(isServed ? 200 : 403);
  const elsewhere = await startWorld({ gateway: { isOpen: false } });
  expect((await send(elsewhere, TOPIC, { method: "HEAD", headers: { host } })).status).toBe(200);
});

const AMBIGUOUS: [string, string, string][] = [
  [
    "two Hosts",
    "GET /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n",
    "header_duplicate",
  ],
  [
    "two Hosts of other case",
    "GET /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nhost: evil.example\r\n",
    "header_duplicate",
  ],
  [
    "two Authorizations",
    "GET /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: a\r\nAuthorization: b\r\n",
    "header_duplicate",
  ],
  [
    "two Last-Event-IDs",
    "GET /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: a\r\nLast-Event-ID: a\r\n",
    "header_duplicate",
  ],
  [
    "two Idempotency-Keys",
    "POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 0\r\n",
    "header_duplicate",
  ],
  ["no Host", "GET /v1/topics/a HTTP/1.1\r\n", "request_malformed"],
  [
    "a foreign absolute target",
    "GET http://evil.example/v1/topics/a HTTP/1.1\r\nHost: localhost\r\n",
    "request_target_invalid",
  ],
  [
    "an absolute target of its own",
    "GET http://localhost/v1/topics/a HTTP/1.1\r\nHost: localhost\r\n",
    "request_target_invalid",
  ],
  ["* as a target", "GET * HTTP/1.1\r\nHost: localhost\r\n", "request_target_invalid"],
  ["a fragment", "GET /v1/topics/a#b HTTP/1.1\r\nHost: localhost\r\n", "request_target_invalid"],
  [
    "two lengths",
    "POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
    "request_malformed",
  ],
  [
    "a length and chunks",
    "POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
    "request_malformed",
  ],
  [
    "a folded header",
    "GET /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n",
    "request_malformed",
  ],
  [
    "a bare LF in a header",
    "GET /v1/topics/a HTTP/1.1\r\nHost: localhost\nX: a\r\n",
    "request_malformed",
  ],
];

test.each(AMBIGUOUS)("S16 %s: 400", async (_, head, code) => {
  const world = await startWorld();
  const client = rawClient(world.port);
  client.send(`${head}\r\n`);
  const text = await client.until("}\n");
  expect(text).toMatch(/^HTTP\/1\.1 400 /);
  expect(text).toContain(`"code":"${code}"`);
  expect(text.match(/HTTP\/1\.1 [0-9]/g)).toHaveLength(1);
  expect(world.hub.metrics.plain.sluice_publications_total).toBe(0);
});

test("S23 an empty Host is no loopback name", async () => {
  const world = await startWorld();
  const client = rawClient(world.port);
  client.send(`GET ${TOPIC} HTTP/1.1\r\nHost:\r\n\r\n`);
  expect(await client.until("}\n")).toMatch(/^HTTP\/1\.1 403 [^]*"code":"host_forbidden"/);
});

test("OPTIONS * is answered without naming any resource", async () => {
  const world = await startWorld();
  const reply = await send(world, "*", { method: "OPTIONS" });
  expect([reply.status, reply.headers["allow"]]).toEqual([
    204,
    "GET, HEAD, POST, PUT, DELETE, OPTIONS",
  ]);
});

test("a refusal quotes at most 80 characters of what was sent", async () => {
  const world = await startWorld();
  const reply = await send(world, TOPIC, { headers: { host: "x".repeat(4_000) } });
  expect(reply.status).toBe(403);
  expect(String(reply.json["detail"]).length).toBeLessThan(120);
});
