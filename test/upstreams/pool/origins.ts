// Origins of the tests: real servers, real TLS, and one that sends whichever frames it is told to.
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import { createServer as createHttp2Server } from "node:http2";
import { createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { onTestFinished } from "vitest";
import { systemRuntime } from "../../../src/internal/clock.ts";
import type { Runtime } from "../../../src/internal/clock.ts";
import { AddressBook } from "../../../src/upstreams/address.ts";
import type { AddressBookOptions } from "../../../src/upstreams/address.ts";
import type { UpstreamRequest } from "../../../src/upstreams/message.ts";
import { parseOrigin } from "../../../src/upstreams/origin.ts";
import type { Origin } from "../../../src/upstreams/origin.ts";
import type { DialOptions, Dialed, Http2Channel } from "../../../src/upstreams/pool/channel.ts";
import { dialWith } from "../../../src/upstreams/pool/dial.ts";

export const DIAL: DialOptions = {
  connectMsMax: 10_000,
  http2: "auto",
  streamsPerSession: 64,
  probeMs: 20_000,
  probeMsMax: 5_000,
};

/** A certificate and key, PEM, for localhost and 127.0.0.1, signed by itself. `days` -1: expired. */
export function makeIdentity(openssl: string, days = 2): { cert: string; key: string } {
  const folder = mkdtempSync(join(tmpdir(), "sluice-origin-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const [key, csr, cert] = ["key", "csr", "cert"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const extensions = join(folder, "extensions");
  writeFileSync(extensions, "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
  const run = (...args: string[]): unknown => execFileSync(openssl, args, { stdio: "ignore" });
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  run("req", "-new", ...kind, "-keyout", key, "-out", csr, "-subj", "/CN=localhost");
  const signed = ["-signkey", key, "-days", String(days), "-extfile", extensions];
  run("x509", "-req", "-in", csr, ...signed, "-out", cert);
  return { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
}

/** Listens on loopback; the end of the test closes it, with all its connections. */
export async function listen(server: Server, host = "127.0.0.1"): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => sockets.delete(socket));
  });
  server.listen(0, host);
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

export const named = (text: string): Origin => parseOrigin(text, { isNamed: true });

export interface DialWorld {
  readonly runtime?: Runtime;
  readonly options?: Partial<DialOptions>;
  readonly book?: AddressBookOptions;
}

/** Dials; the end of the test closes what came of it. */
export async function dial(origin: Origin, world: DialWorld = {}): Promise<Dialed> {
  const runtime = world.runtime ?? systemRuntime();
  const book = new AddressBook(runtime, world.book);
  const dialed = await dialWith(runtime, book)(origin, { ...DIAL, ...world.options });
  onTestFinished(() => {
    if (dialed.kind === "http1") dialed.socket.destroy();
    else dialed.session.destroy();
  });
  return dialed;
}

/** An HTTP/2 session without TLS. */
export async function dialHttp2(port: number, world: DialWorld = {}): Promise<Http2Channel> {
  const options = { ...world.options, http2: "prior" } as const;
  const dialed = await dial(named(`http://127.0.0.1:${port}`), { ...world, options });
  if (dialed.kind !== "http2") throw new Error("not HTTP/2");
  return dialed.session;
}

export function get(
  port: number,
  path = "/",
  more: Partial<UpstreamRequest> = {},
): UpstreamRequest {
  const origin = named(`http://127.0.0.1:${port}`);
  return { origin, method: "GET", path, headers: [], tenant: "default", ...more };
}

export interface H2Origin {
  readonly port: number;
  readonly sessions: Set<ServerHttp2Session>;
  readonly streams: Set<ServerHttp2Stream>;
}

/** A Node HTTP/2 server without TLS. */
export async function h2Origin(
  onStream: (stream: ServerHttp2Stream, path: string, headers: IncomingHttpHeaders) => void,
  settings: { maxConcurrentStreams?: number } = {},
): Promise<H2Origin> {
  const server = createHttp2Server({ settings });
  const sessions = new Set<ServerHttp2Session>();
  const streams = new Set<ServerHttp2Stream>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {});
    session.once("close", () => sessions.delete(session));
  });
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    streams.add(stream);
    stream.on("error", () => {});
    stream.once("close", () => streams.delete(stream));
    onStream(stream, String(headers[":path"]), headers);
  });
  return { port: await listen(server), sessions, streams };
}

export const HEADERS = 1;
export const END_STREAM = 1;
export const END_HEADERS = 4;

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = NO,
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const NO = Buffer.alloc(0);

export function u32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [at, value] of values.entries()) bytes.writeUInt32BE(value, at * 4);
  return bytes;
}

/** `:status: 200`, from the static table (RFC 7541, appendix A). */
export const OK_HEAD = Buffer.from([0x88]);

/**
 * Speaks HTTP/2 by hand: `onRequest` is called with each HEADERS that comes. PINGs are answered, unless
 * `onFrame` sees to it.
 */
export async function rawOrigin(
  onRequest: (socket: Socket, stream: number) => void,
  onFrame?: (type: number, payload: Buffer, socket: Socket) => void,
): Promise<number> {
  const server = createServer((socket) => {
    let bytes = Buffer.alloc(0);
    // What a client says first (RFC 9113, 3.4).
    let preface = 24;
    socket.write(frame(4, 0, 0));
    socket.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.length < preface) return;
      bytes = bytes.subarray(preface);
      preface = 0;
      while (bytes.length >= 9) {
        const length = bytes.readUIntBE(0, 3);
        if (bytes.length < 9 + length) return;
        const type = bytes[3] ?? 0;
        const stream = bytes.readUInt32BE(5);
        const payload = bytes.subarray(9, 9 + length);
        if (onFrame !== undefined) onFrame(type, payload, socket);
        else if (type === 6) socket.write(frame(6, 1, 0, payload));
        if (type === 4 && (bytes[4] ?? 0) === 0) socket.write(frame(4, 1, 0));
        bytes = bytes.subarray(9 + length);
        if (type === HEADERS) onRequest(socket, stream);
      }
    });
  });
  return listen(server);
}

/** All of a body; rejects with its error. */
export async function textOf(body: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
