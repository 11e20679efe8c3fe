import { expect, test, vi } from "vitest";
import {
  addressKey,
  forwardedAddress,
  isTrusted,
  trustedList,
} from "../../src/gateway/client-address.ts";
import { isAdmitted, isAnswered, openMany, settled } from "./many.ts";
import type { Client } from "./many.ts";
import { openStream, post, rawClient, send, startWorld } from "./support.ts";

const TOPIC = "/v1/topics/a";
const PROXIES = trustedList(["10.0.0.0/8", "127.0.0.1", "2001:db8:1::/48"]);
const isShed = ({ text }: Client): boolean => text.includes("too_many_connections");

test.runIf(process.platform === "linux")(
  "F20 500 connections from one address: 429 after perIpMax, and other addresses are unaffected",
  async () => {
    const world = await startWorld({ gateway: { admission: { perIpMax: 50 } } });
    const flood = openMany({ port: world.port, count: 500, from: () => "127.0.0.7" });
    const others = openMany({
      port: world.port,
      count: 40,
      from: (index) => `127.0.1.${index + 1}`,
    });
    await settled([...flood, ...others], (client) => isAnswered(client) || isShed(client));
    expect(flood.filter(isAdmitted)).toHaveLength(50);
    expect(flood.filter(isShed)).toHaveLength(450);
    expect(others.filter((client) => !isAdmitted(client))).toEqual([]);
    expect([...flood, ...others].filter(({ error }) => error !== undefined)).toEqual([]);
    expect(world.hub.metrics.get("sluice_rejected_total", "per_ip")).toBe(450);
    // Room for one is room for one.
    flood.find(isAdmitted)?.socket.destroy();
    await vi.waitFor(() => expect(world.hub.connectionsNow).toBe(89));
    const [again] = openMany({ port: world.port, count: 1, from: () => "127.0.0.7" });
    await settled(again === undefined ? [] : [again], isAdmitted);
    expect(again !== undefined && isAdmitted(again)).toBe(true);
    for (const { socket } of [...flood, ...others]) socket.destroy();
    again?.socket.destroy();
    await vi.waitFor(() => expect(world.hub.metrics.plain.sluice_connections).toBe(0));
  },
);

test("over perIpMax the answer is a problem document with Retry-After that closes; EventSource gets the soft form", async () => {
  const world = await startWorld({ gateway: { admission: { perIpMax: 1, retryAfterMs: 5_000 } } });
  await openStream(world, TOPIC);
  const status = await send(world, TOPIC);
  expect([status.status, status.json["code"], status.json["retryable"]]).toEqual([
    429,
    "too_many_connections",
    true,
  ]);
  expect([status.headers["retry-after"], status.headers["connection"]]).toEqual(["5", "close"]);
  // The cap is on connections: it holds for whatever they ask.
  expect((await post(world, TOPIC, "x")).status).toBe(429);
  const soft = await send(world, TOPIC, {
    headers: { accept: "text/event-stream", "sec-fetch-mode": "cors" },
  });
  expect(soft.status).toBe(200);
  expect(soft.text).toContain("event: close\ndata: overloaded\n\n");
  const declared = await send(world, `${TOPIC}?on_overload=status`, {
    headers: { accept: "text/event-stream", "sec-fetch-mode": "cors" },
  });
  expect(declared.status).toBe(429);
});

test("F20 X-Forwarded-For of a peer that is not trusted is ignored", async () => {
  const world = await startWorld({
    gateway: { admission: { perIpMax: 2, trustedProxies: ["10.0.0.0/8"] } },
  });
  await openStream(world, TOPIC, { "x-forwarded-for": "192.0.2.1" });
  await openStream(world, TOPIC, { "x-forwarded-for": "192.0.2.2" });
  const { status } = await send(world, TOPIC, { headers: { "x-forwarded-for": "192.0.2.3" } });
  expect(status).toBe(429);
});

test("F20 behind a trusted proxy streams are counted for the client that it names, and the proxy is not", async () => {
  const world = await startWorld({
    gateway: { admission: { perIpMax: 2, trustedProxies: ["127.0.0.1", "10.0.0.0/8"] } },
  });
  const from = (address: string) => openStream(world, TOPIC, { "x-forwarded-for": address });
  const [first, second] = [await from("192.0.2.1"), await from("6.6.6.6, 192.0.2.1, 10.1.2.3")];
  expect([first.status, second.status]).toEqual([200, 200]);
  // What the client put in front of the proxy's own entry does not make it somebody else.
  const third = await from("198.51.100.9, 192.0.2.1");
  expect([third.status, (await from("192.0.2.2")).status]).toEqual([429, 200]);
  // Publishes through the proxy are no connections of the client's own.
  const headers = { "x-forwarded-for": "192.0.2.1" };
  expect((await post(world, TOPIC, "x", headers)).status).toBe(201);
  first.cut();
  await vi.waitFor(() => expect(world.hub.connectionsNow).toBe(2));
  expect((await from("192.0.2.1")).status).toBe(200);
  // Without a client's name there is nobody to count.
  for (let index = 0; index < 4; index += 1)
    expect((await openStream(world, TOPIC)).status).toBe(200);
});

test("a client counted through a proxy is forgotten when its stream, its wait or its refusal ends", async () => {
  const world = await startWorld({
    gateway: {
      admission: { perIpMax: 1, trustedProxies: ["127.0.0.1"], perSecond: 1, burst: 1 },
    },
  });
  const headers = { "x-forwarded-for": "192.0.2.1" };
  (await openStream(world, TOPIC, headers)).cut();
  await vi.waitFor(() => expect(world.hub.metrics.plain.sluice_connections).toBe(0));
  const waiting = rawClient(world.port);
  waiting.send(`GET ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n`);
  await vi.waitFor(() => expect(world.hub.metrics.plain.sluice_admission_waiting).toBe(1));
  expect((await send(world, TOPIC, { headers })).status).toBe(429);
  waiting.socket.destroy();
  await vi.waitFor(() => expect(world.hub.metrics.plain.sluice_admission_waiting).toBe(0));
  expect((await openStream(world, TOPIC, headers)).status).toBe(200);
});

test.each([
  // peer, X-Forwarded-For, the client
  ["192.0.2.9", "198.51.100.1", "192.0.2.9"],
  ["10.0.0.1", undefined, "10.0.0.1"],
  ["10.0.0.1", "", "10.0.0.1"],
  ["10.0.0.1", "198.51.100.1", "198.51.100.1"],
  ["10.0.0.1", " 198.51.100.1 ", "198.51.100.1"],
  ["10.0.0.1", "198.51.100.1, 198.51.100.2", "198.51.100.2"],
  ["10.0.0.1", "198.51.100.1, 10.9.9.9", "198.51.100.1"],
  ["10.0.0.1", "10.1.1.1, 10.9.9.9", "10.1.1.1"],
  ["::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"],
  ["10.0.0.1", "::ffff:198.51.100.1", "::ffff:198.51.100.1"],
  ["2001:db8:1::9", "2001:db8:9::1", "2001:db8:9::1"],
  ["10.0.0.1", "198.51.100.1:4711", "198.51.100.1"],
  ["10.0.0.1", "[2001:db8:9::1]:4711", "2001:db8:9::1"],
  ["10.0.0.1", "unknown", "10.0.0.1"],
  ["10.0.0.1", "198.51.100.1, <script>, 10.2.2.2", "10.2.2.2"],
  ["10.0.0.1", ",,,,", "10.0.0.1"],
  ["10.0.0.1", "9".repeat(5_000), "10.0.0.1"],
  [
    "10.0.0.1",
    `198.51.100.1, ${Array.from({ length: 2_000 }, () => "10.0.0.2").join(",")}`,
    "10.0.0.2",
  ],
  ["not an address", "198.51.100.1", "not an address"],
])("a request of %s with %j is of %s", (peer, header, client) => {
  expect(forwardedAddress(PROXIES, peer, header)).toBe(client);
});

test("a list of proxies knows addresses, ranges, both families and IPv4 in IPv6", () => {
  const trusted = ["10.255.0.1", "127.0.0.1", "::ffff:10.0.0.1", "2001:db8:1:ffff::1"];
  const others = ["11.0.0.1", "127.0.0.2", "2001:db8:2::1", "::1", "", "x"];
  expect(trusted.filter((address) => !isTrusted(PROXIES, address))).toEqual([]);
  expect(others.filter((address) => isTrusted(PROXIES, address))).toEqual([]);
});

test.each([
  ["192.0.2.1", "192.0.2.1"],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:DB8:1:2::1", "2001:db8:1:2::/64"],
  ["2001:0db8:0001:0002::1", "2001:db8:1:2::/64"],
  ["2001:db8::1", "2001:db8:0:0::/64"],
  ["::1", "0:0:0:0::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
  ["64:ff9b::192.0.2.33", "64:ff9b:0:0::/64"],
])("%s is counted as %s", (address, key) => {
  expect(addressKey(address)).toBe(key);
});

test("an address of a proxy that is none is refused at start", async () => {
  await expect(
    startWorld({ gateway: { admission: { trustedProxies: ["10.0.0.0/99"] } } }),
  ).rejects.toMatchObject({ code: "parameter_invalid" });
  await expect(startWorld({ gateway: { admission: { perIpMax: -1 } } })).rejects.toMatchObject({
    code: "parameter_invalid",
  });
});
