import { connect } from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import { readTlsIdentity } from "../../src/gateway/tls.ts";
import { makeCertificate } from "../support/certificate.ts";
import { describeWith, needs } from "../support/programs.ts";
import { RawStream } from "../support/raw-stream.ts";
import { eventually, startWorld } from "./support.ts";
import type { World } from "./support.ts";

const TOPIC = "/v1/topics/a";
const HOST = "Host: localhost\r\n";
const UPGRADE =
  "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";

/** What is said, the status, and what becomes of the connection. */
type Row = [string, string, number, "goes on" | "closes" | "streams"];

const ROWS: Row[] = [
  ["a stream on HTTP/1.0", `GET ${TOPIC} HTTP/1.0\r\n\r\n`, 200, "streams"],
  ["HEAD", `HEAD ${TOPIC} HTTP/1.1\r\n${HOST}\r\n`, 200, "goes on"],
  ["HEAD on HTTP/1.0", `HEAD ${TOPIC} HTTP/1.0\r\n\r\n`, 200, "closes"],
  ["OPTIONS", `OPTIONS ${TOPIC} HTTP/1.1\r\n${HOST}\r\n`, 204, "goes on"],
  ["OPTIONS *", `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`, 204, "goes on"],
  ["TRACE", `TRACE ${TOPIC} HTTP/1.1\r\n${HOST}\r\n`, 405, "goes on"],
  ["CONNECT", `CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n`, 405, "closes"],
  ["an upgrade to h2c", `GET ${TOPIC} HTTP/1.1\r\n${HOST}${UPGRADE}\r\n`, 200, "streams"],
  [
    "an upgrade to h2c elsewhere",
    `HEAD ${TOPIC} HTTP/1.1\r\n${HOST}${UPGRADE}\r\n`,
    200,
    "goes on",
  ],
  [
    "an upgrade to WebSocket",
    `GET ${TOPIC} HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
    406,
    "goes on",
  ],
  [
    "Accept of JSON",
    `GET ${TOPIC} HTTP/1.1\r\n${HOST}Accept: application/json\r\n\r\n`,
    406,
    "goes on",
  ],
  [
    "Accept of nothing",
    `GET ${TOPIC} HTTP/1.1\r\n${HOST}Accept: text/event-stream;q=0\r\n\r\n`,
    406,
    "goes on",
  ],
  ["HTTP/2 by prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "closes"],
  ["HTTP/1.2", `GET ${TOPIC} HTTP/1.2\r\n${HOST}\r\n`, 400, "closes"],
  ["HTTP/0.9", `GET ${TOPIC}\r\n\r\n`, 400, "closes"],
];

async function ask(open: () => RawStream, [, bytes, status, then]: Row): Promise<void> {
  const client = open();
  client.socket.write(bytes);
  await client.until(() => client.reader.hasHead, "an answer");
  expect(client.reader.status).toBe(status);
  if (then === "streams") {
    await client.until(() => client.places.length === 1, "the primer");
  } else if (then === "goes on") {
    client.send({ path: `${TOPIC}?last_event_id=latest`, method: "HEAD" });
    await client.until(() => client.segments.join("").split("HTTP/1.1 ").length === 3);
  } else {
    // It does so by itself: this end says nothing more.
    await client.until(() => client.hasEnded || client.isClosed, "its end");
  }
  client.socket.destroy();
}

test.each(ROWS)("F21 %s: answered as documented, and no socket hangs", async (...row) => {
  const world = await startWorld();
  await ask(() => opened(new RawStream(world.port)), row);
  await eventually(() => world.hub.subscribersNow === 0);
});

function opened(stream: RawStream): RawStream {
  onTestFinished(() => void stream.socket.destroy());
  return stream;
}

describeWith({ openssl: needs("openssl") }, "over TLS", ({ openssl }) => {
  test("F21 all of them are answered the same", async () => {
    const tls = readTlsIdentity(makeCertificate(openssl));
    const world: World = await startWorld({ server: { tls } });
    const open = (): RawStream => {
      const socket = connect({ port: world.port, host: "127.0.0.1", rejectUnauthorized: false });
      return opened(new RawStream(socket));
    };
    for (const row of ROWS) await ask(open, row);
    await eventually(() => world.hub.subscribersNow === 0);
  });
});

test("F22 whatever is sent behind a running stream, no second one starts and nothing is published", async () => {
  const world = await startWorld();
  const second = [
    `GET ${TOPIC} HTTP/1.1\r\n${HOST}\r\n`,
    `GET ${TOPIC} HTTP/1.0\r\n\r\n`,
    `POST ${TOPIC} HTTP/1.1\r\n${HOST}Content-Length: 1\r\n\r\nx`,
    `CONNECT example.org:443 HTTP/1.1\r\n${HOST}\r\n`,
    `GET ${TOPIC} HTTP/1.1\r\n${HOST}${UPGRADE}\r\n`,
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "\0\u0001\u0002\u0003",
    // Not even whole: it has come behind a stream all the same.
    `GET ${TOPIC} HTTP/1.1\r\nHost: loc`,
    "x",
    "\r\n",
  ];
  for (const bytes of second) {
    const client = opened(new RawStream(world.port)).send({ path: TOPIC });
    await client.until(() => client.places.length === 1);
    client.socket.write(bytes);
    await world.hub.publish({ tenant: "default", topic: "a", events: [{ data: "probe" }] });
    // Closed, or nothing came of it; never a second head.
    const { promise, resolve } = Promise.withResolvers<void>();
    client.socket.once("close", () => resolve());
    void client
      .until(() => client.events.length === 1)
      .then(
        () => resolve(),
        () => resolve(),
      );
    await promise;
    expect(Buffer.concat(client.segments).toString("latin1").split("HTTP/1.1 ")).toHaveLength(2);
    expect(world.hub.subscribersNow).toBeLessThanOrEqual(1);
    client.socket.destroy();
    await eventually(() => world.hub.subscribersNow === 0);
  }
  expect(world.hub.metrics.plain.sluice_publications_total).toBe(second.length);
});
