import { X509Certificate, constants, createPrivateKey } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import type { RequestListener, Server, ServerOptions } from "node:http";
import { createServer } from "node:https";
import type { TLSSocket } from "node:tls";
import { Server as TlsServer } from "node:tls";
import type { Metrics } from "../core/metrics.ts";
import type { Logger } from "./logger.ts";

/** A certificate chain and its key, PEM: both could be read, and they belong together. */
export interface TlsIdentity {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** Paths, from the folder that the process was started in. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

/** `ca` is of another option: who signs for origins. */
export type TlsPart = keyof TlsFiles | "ca";

/** One of the files is not what it should be; the message fits behind its option's name. */
export class TlsError extends Error {
  override readonly name = "TlsError";
  readonly part: TlsPart;

  constructor(part: TlsPart, message: string, options?: ErrorOptions) {
    super(message, options);
    this.part = part;
  }
}

/** No chain of certificates comes near it, in bytes. */
const FILE_BYTES_MAX = 1024 * 1024;

const TLS_OPTIONS = {
  // Nothing else is spoken; whoever offers others only is told so in the handshake (RFC 7301, 3.2).
  // `curl --http1.0` offers that alone.
  ALPNProtocols: ["http/1.1", "http/1.0"],
  // RFC 8996: TLS 1.0 and 1.1 must not be used.
  minVersion: "TLSv1.2",
  // TLS 1.3 has none; in 1.2 it lets a client make the server compute at will (CVE-2011-1473).
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
} as const;

/** A client that begins a handshake and does not end it is cut after so long, in milliseconds. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** Reads both files. Throws `TlsError` for what cannot be used. */
export function readTlsIdentity(files: TlsFiles): TlsIdentity {
  const cert = read("cert", files.cert);
  const key = read("key", files.key);
  const certificate = parse("cert", files.cert, "has no certificate in PEM", () => {
    return new X509Certificate(cert);
  });
  const privateKey = parse("key", files.key, "has no private key in PEM without passphrase", () => {
    return createPrivateKey(key);
  });
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new TlsError(
      "key",
      `is ${shown(files.key)}, which is not the key of ${shown(files.cert)}`,
    );
  }
  return { cert, key };
}

/** Certificates of who signs for origins, PEM. Throws `TlsError` for what cannot be used. */
export function readAuthorities(file: string): Buffer {
  const ca = read("ca", file);
  parse("ca", file, "has no certificate in PEM", () => new X509Certificate(ca));
  return ca;
}

/** An HTTPS server of that identity. Failed handshakes are counted, and logged at debug. */
export function createTlsServer(
  options: ServerOptions,
  identity: TlsIdentity,
  handler: RequestListener,
  metrics: Metrics,
  logger: Logger,
): Server {
  const tls = { handshakeTimeout: HANDSHAKE_TIMEOUT_MS, ...TLS_OPTIONS, ...identity };
  const server = createServer({ ...options, ...tls }, handler);
  // Node would pass these on to 'clientError', which answers in HTTP: nobody could read it.
  server.removeAllListeners("tlsClientError");
  server.on("tlsClientError", (error: NodeJS.ErrnoException, socket: TLSSocket) => {
    metrics.plain.sluice_tls_errors_total += 1;
    logger.debug({ code: error.code, peer: socket.remoteAddress }, "TLS handshake failed");
    socket.destroy();
  });
  server.on("secureConnection", (socket) => socket.on("error", ignore));
  return server;
}

/** New connections get this identity; those that are open keep theirs. */
export function setTlsIdentity(server: Server, identity: TlsIdentity): void {
  if (server instanceof TlsServer) server.setSecureContext({ ...TLS_OPTIONS, ...identity });
}

function read(part: TlsPart, file: string): Buffer {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(file, "r");
    // Not by its size: a pipe, as of `<(command)`, has none.
    const bytes = Buffer.alloc(FILE_BYTES_MAX + 1);
    let length = 0;
    for (let got = -1; got !== 0 && length < bytes.length; length += got) {
      got = readSync(descriptor, bytes, length, bytes.length - length, null);
    }
    if (length <= FILE_BYTES_MAX) return Buffer.from(bytes.subarray(0, length));
    throw new TlsError(part, `is ${shown(file)}, which has more than 1 MiB`);
  } catch (error) {
    if (error instanceof TlsError) throw error;
    const { code = "" } = error as NodeJS.ErrnoException;
    const why = READ_ERRORS[code] ?? code;
    throw new TlsError(part, `is ${shown(file)}, which cannot be read: ${why}`, { cause: error });
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

const READ_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "this user may not read it",
  EISDIR: "it is a folder",
};

function parse<T>(part: TlsPart, file: string, what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new TlsError(part, `is ${shown(file)}, which ${what}`, { cause: error });
  }
}

function shown(file: string): string {
  return JSON.stringify(file);
}

function ignore(): void {}
