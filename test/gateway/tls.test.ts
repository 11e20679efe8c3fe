import { readdirSync } from "node:fs";
import { once } from "node:events";
import { connect as connectTcp, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { connect } from "node:tls";
import type { ConnectionOptions, TLSSocket } from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import { readTlsIdentity } from "../../src/gateway/tls.ts";
import { makeCertificate, writeCertificate } from "../support/certificate.ts";
import { describeWith, needs } from "../support/programs.ts";
import { RawStream } from "../support/raw-stream.ts";
import { eventually, rawClient, startWorld } from "./support.ts";
import type { World, WorldOptions } from "./support.ts";

const TOPIC = "/v1/topics/a";
const TLS_1_1 = {
  minVersion: "TLSv1.1",
  maxVersion: "TLSv1.1",
  ciphers: "DEFAULT@SECLEVEL=0",
} as const;

/** A TLS connection whose handshake may yet fail; the end of the test destroys it. */
function open(port: number, options: ConnectionOptions = {}): TLSSocket {
  const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...options });
  socket.on("error", () => {});
  onTestFinished(() => void socket.destroy());
  return socket;
}

/** A stream of the topic on a TLS connection. */
function openStream(world: World, path: string, headers: Record<string, string> = {}): RawStream {
  return new RawStream(open(world.port)).send({ path, headers });
}

async function publish(world: World, events: readonly { data: string }[]): Promise<void> {
  await world.hub.publish({ tenant: "default", topic: "a", events: [...events] });
}

/** What a client says first: a real ClientHello. */
async function realClientHello(): Promise<Buffer> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const accepted = once(server, "connection") as Promise<[Socket]>;
  open((server.address() as AddressInfo).port, { ALPNProtocols: ["http/1.1"] });
  const [socket] = await accepted;
  onTestFinished(() => void socket.destroy());
  const [hello] = (await once(socket, "data")) as [Buffer];
  return hello;
}

/** A ClientHello of TLS 1.2 with a server name that no library would send. */
function helloFor(name: string): Buffer {
  const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);
  const sized = (bytes: Buffer): Buffer => Buffer.concat([u16(bytes.length), bytes]);
  const extension = (type: number, body: Buffer): Buffer => Buffer.concat([u16(type), sized(body)]);
  const sni = Buffer.concat([Buffer.from([0]), sized(Buffer.from(name))]);
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    Buffer.from([0]),
    sized(Buffer.from("c02bc02fc02cc030", "hex")),
    Buffer.from([1, 0]),
    sized(
      Buffer.concat([
        extension(0, sized(sni)),
        extension(10, sized(Buffer.from("00170018", "hex"))),
        extension(13, sized(Buffer.from("040308040401", "hex"))),
      ]),
    ),
  ]);
  const handshake = Buffer.concat([Buffer.from([1, 0]), sized(body)]);
  return Buffer.concat([Buffer.from([0x16, 3, 1]), sized(handshake)]);
}

/** Resolves when it has closed, whatever went wrong before. */
function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once("close", () => resolve());
  });
}

const descriptors = (): number => readdirSync("/proc/self/fd").length;

describeWith(
  { openssl: needs("openssl") },
  "the public listener with a certificate",
  (programs) => {
    const { openssl } = programs;

    async function startTls(options: WorldOptions = {}): Promise<World> {
      const tls = readTlsIdentity(makeCertificate(openssl));
      return startWorld({ ...options, server: { tls, ...options.server } });
    }

    test("R01 says https, speaks TLS 1.2 and 1.3, and no HTTP/2", async () => {
      const world = await startTls();
      expect(world.url).toBe(`https://127.0.0.1:${world.port}`);
      expect(world.adminUrl).toMatch(/^http:/);
      for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
        const offers = { maxVersion: version, ALPNProtocols: ["h2", "http/1.1"] };
        const socket = open(world.port, offers);
        await once(socket, "secureConnect");
        expect([socket.getProtocol(), socket.alpnProtocol]).toEqual([version, "http/1.1"]);
      }
    });

    test("R01 a client that offers HTTP/1.0 alone, as curl --http1.0 does, is served too", async () => {
      const world = await startTls();
      const socket = open(world.port, { ALPNProtocols: ["http/1.0"] });
      await once(socket, "secureConnect");
      expect(socket.alpnProtocol).toBe("http/1.0");
      socket.write(`GET ${TOPIC} HTTP/1.0\r\n\r\n`);
      const [head] = (await once(socket, "data")) as [Buffer];
      expect(head.toString("latin1")).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      socket.destroy();
    });

    test("R01 a client that comes back resumes its TLS session: no new key exchange", async () => {
      const world = await startTls();
      const first = open(world.port);
      const ticket = once(first, "session") as Promise<[Buffer]>;
      const stream = new RawStream(first).send({ path: TOPIC });
      await stream.until(() => stream.places.length === 1);
      const [session] = await ticket;
      first.destroy();
      const second = open(world.port, { session });
      await once(second, "secureConnect");
      expect(second.isSessionReused()).toBe(true);
    });

    test("law 11 a hundred streams over TLS get every event, once, in order and in whole frames, slow ones too", async () => {
      const world = await startTls();
      const all = Array.from({ length: 100 }, () => openStream(world, TOPIC));
      const [slow] = all as [RawStream];
      await Promise.all(all.map((stream) => stream.until(() => stream.places.length > 0)));
      slow.socket.pause();
      const data = Array.from({ length: 200 }, (_, index) =>
        `${index} `.padEnd(index % 50 === 49 ? 150_000 : 3_000, "x"),
      );
      for (let at = 0; at < data.length; at += 20) {
        await publish(
          world,
          data.slice(at, at + 20).map((text) => ({ data: text })),
        );
      }
      const isDone = (stream: RawStream) => (): boolean => stream.events.length === data.length;
      await Promise.all(all.slice(1).map((stream) => stream.until(isDone(stream), "all events")));
      expect(world.hub.metrics.plain.sluice_lagged_total).toBeGreaterThan(0);
      slow.socket.resume();
      await slow.until(isDone(slow), "what was waiting");
      for (const stream of all) {
        expect(stream.data).toEqual(data);
        expect([stream.reader.tornChunks, stream.error]).toEqual([0, undefined]);
      }
      expect([...world.hub.subscribers()].some(({ isPending }) => isPending)).toBe(false);
    });

    test("healthy readers over TLS, on whose sockets bytes wait right after each write, are not taken for slow", async () => {
      const world = await startTls();
      const all = Array.from({ length: 20 }, () => openStream(world, TOPIC));
      for (const stream of all) await stream.until(() => stream.places.length === 1);
      for (let count = 0; count < 200; count += 1) {
        await publish(world, [{ data: "x".repeat(500) }]);
        await new Promise((resolve) => setImmediate(resolve));
      }
      for (const stream of all) await stream.until(() => stream.events.length === 200);
      // Of 4,000 deliveries; none here when it was measured.
      expect(world.hub.metrics.plain.sluice_lagged_total).toBeLessThan(100);
    });

    test("a stream over TLS that is cut anywhere resumes at exactly the next event", async () => {
      const world = await startTls();
      await publish(
        world,
        Array.from({ length: 300 }, (_, index) => ({ data: `${index}`.padEnd(500, ".") })),
      );
      const seen: string[] = [];
      let headers: Record<string, string> = {};
      let path = `${TOPIC}?last_event_id=earliest`;
      for (let cuts = 1; seen.length < 300; cuts += 1) {
        const stream = openStream(world, path, headers);
        const enough = Math.min(cuts * 7, 300 - seen.length);
        await stream.until(() => stream.events.length >= enough);
        stream.socket.destroy();
        seen.push(...stream.data);
        headers = { "Last-Event-ID": stream.lastEventId };
        path = TOPIC;
      }
      expect(seen.map(Number.parseFloat)).toEqual(Array.from({ length: 300 }, (_, index) => index));
    });

    test("F22 a request behind a stream over TLS starts no second one", async () => {
      const world = await startTls();
      const stream = openStream(world, TOPIC);
      await stream.until(() => stream.places.length === 1);
      stream.send({ path: TOPIC });
      await stream.until(() => stream.isClosed);
      await eventually(() => world.hub.subscribersNow === 0);
      expect(stream.reader.rest.length).toBe(0);
      expect(world.hub.metrics.get("sluice_disconnects_total", "protocol_error")).toBe(1);
    });

    test("F23 broken handshakes are counted and closed, nothing is thrown, and others are served", async () => {
      const world = await startTls();
      const thrown: unknown[] = [];
      const onThrown = (error: unknown): void => void thrown.push(error);
      process.on("uncaughtException", onThrown);
      onTestFinished(() => void process.off("uncaughtException", onThrown));
      const stream = openStream(world, TOPIC);
      await stream.until(() => stream.places.length === 1);
      const errors = (): number => world.hub.metrics.plain.sluice_tls_errors_total;
      const failing = async (what: string, act: () => Socket): Promise<void> => {
        const before = errors();
        await closeOf(act());
        await eventually(() => errors() > before);
        expect(errors(), what).toBe(before + 1);
      };
      // Nothing at all, and half of a hello: cut after 10 s, meanwhile the rest of the test runs.
      const hello = await realClientHello();
      const [silent, half] = [rawClient(world.port), rawClient(world.port)];
      half.send(hello.subarray(0, 50));
      await failing("only protocols that are not spoken", () =>
        open(world.port, { ALPNProtocols: ["h2", "spdy/3"] }),
      );
      await failing("TLS 1.1", () => open(world.port, TLS_1_1));
      const say = (bytes: string | Buffer): Socket => {
        const { socket } = rawClient(world.port);
        socket.write(bytes);
        return socket;
      };
      await failing("plain HTTP", () => say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
      await failing("garbage", () => say(Buffer.alloc(600, 0xff)));
      await failing("a server name of 1 KB", () => say(helloFor("a".repeat(1_024))));
      const named = say(helloFor("localhost"));
      const [answer] = (await once(named, "data")) as [Buffer];
      // A ServerHello: it is the name that was refused above.
      expect([answer[0], answer[5]]).toEqual([0x16, 2]);
      named.destroy();
      const nameless = open(world.port, { servername: "" });
      await once(nameless, "secureConnect");
      const renegotiating = open(world.port, { maxVersion: "TLSv1.2" });
      await once(renegotiating, "secureConnect");
      let isRenegotiated = false;
      renegotiating.renegotiate({}, (error) => (isRenegotiated = error === null));
      // It is told no, and this client gives up over it.
      await closeOf(renegotiating);
      expect(isRenegotiated).toBe(false);
      await publish(world, [{ data: "still here" }]);
      await stream.until(() => stream.events.length === 1);
      await Promise.all([silent.closed, half.closed]);
      expect(thrown).toEqual([]);
      expect(world.hub.subscribersNow).toBe(1);
    }, 30_000);

    test("F23 two thousand clients that abort in the middle of their handshake leave no descriptor", async () => {
      const world = await startTls();
      const hello = await realClientHello();
      const base = descriptors();
      let left = 2_000;
      const abort = async (): Promise<void> => {
        while (left > 0) {
          left -= 1;
          const cut = (left * 7) % (hello.length + 1);
          const socket = connectTcp(world.port, "127.0.0.1");
          const closed = closeOf(socket);
          socket.on("error", () => {});
          // The whole hello: the answer is awaited, and its keys never come.
          if (cut === hello.length) socket.once("data", () => socket.resetAndDestroy());
          socket.write(hello.subarray(0, cut), () => {
            if (cut < hello.length) socket.destroy();
          });
          await closed;
        }
      };
      await Promise.all(Array.from({ length: 50 }, abort));
      await eventually(() => world.hub.metrics.plain.sluice_tls_errors_total >= 2_000);
      await eventually(() => descriptors() <= base);
      const stream = openStream(world, TOPIC);
      await stream.until(() => stream.places.length === 1);
    }, 60_000);

    test("a new certificate is for new connections; streams go on with the one they began with", async () => {
      const files = makeCertificate(openssl, "first");
      const world = await startWorld({ server: { tls: readTlsIdentity(files) } });
      const nameOf = async (): Promise<unknown> => {
        const socket = open(world.port);
        await once(socket, "secureConnect");
        return socket.getPeerCertificate().subject.CN;
      };
      const stream = openStream(world, TOPIC);
      await stream.until(() => stream.places.length === 1);
      expect(await nameOf()).toBe("first");
      writeCertificate(openssl, files, "second");
      world.setTls(readTlsIdentity(files));
      expect(await nameOf()).toBe("second");
      await publish(world, [{ data: "on the old one" }]);
      await stream.until(() => stream.events.length === 1);
      // What was set beside the certificate still holds.
      const before = world.hub.metrics.plain.sluice_tls_errors_total;
      await closeOf(open(world.port, TLS_1_1));
      await eventually(() => world.hub.metrics.plain.sluice_tls_errors_total === before + 1);
    });

    test("law 20 closing waits for no handshake that never ends", async () => {
      const world = await startTls();
      const silent = rawClient(world.port);
      await once(silent.socket, "connect");
      const stream = openStream(world, TOPIC);
      await stream.until(() => stream.places.length === 1);
      const startedAt = performance.now();
      stream.socket.destroy();
      await world.drain();
      await silent.closed;
      expect(performance.now() - startedAt).toBeLessThan(5_000);
    });
  },
);
