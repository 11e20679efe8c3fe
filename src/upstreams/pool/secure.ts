import { isIP } from "node:net";
import type { Socket } from "node:net";
import { connect, createSecureContext } from "node:tls";
import type { SecureContext, TLSSocket } from "node:tls";
import { SluiceError } from "../../core/errors.ts";
import { shownOrigin } from "../origin.ts";
import type { Origin } from "../origin.ts";
import type { DialOptions } from "./channel.ts";
import type { Limit } from "./limit.ts";

const ALPN: Readonly<Record<DialOptions["http2"], string[]>> = {
  auto: ["h2", "http/1.1"],
  off: ["http/1.1"],
  prior: ["h2"],
};

/**
 * A TLS session on the socket, with the certificate verified, always: for the origin's host, by the
 * authorities of `ca`, or else those that Node knows. Rejects `upstream_tls` with a message that says what is wrong.
 */
export async function secure(
  origin: Origin,
  socket: Socket,
  options: DialOptions,
  limit: Limit,
): Promise<TLSSocket> {
  const { hostname } = origin;
  const secureContext = contextOf(options.ca);
  const secured = await limit.run<TLSSocket>((resolve, reject) => {
    const connection = connect({
      socket,
      host: hostname,
      // RFC 6066, 3: never an address.
      servername: isIP(hostname) === 0 ? hostname : "",
      secureContext,
      ALPNProtocols: ALPN[options.http2],
      // Said, because NODE_TLS_REJECT_UNAUTHORIZED=0 decides where nothing is said.
      rejectUnauthorized: true,
    });
    connection.on("error", (error) => reject(broken(origin, error)));
    connection.once("close", () => reject(broken(origin, undefined)));
    connection.once("secureConnect", () => resolve(connection));
    return () => connection.destroy();
  });
  if (options.http2 !== "prior" || secured.alpnProtocol === "h2") return secured;
  secured.destroy();
  throw new SluiceError("upstream_tls", `${shownOrigin(origin)}: it does not speak HTTP/2`);
}

let known:
  | { readonly ca: string | Buffer | undefined; readonly context: SecureContext }
  | undefined;

/** One for all connections: to read a hundred and fifty authorities takes milliseconds. */
function contextOf(ca: string | Buffer | undefined): SecureContext {
  if (known !== undefined && known.ca === ca) return known.context;
  // RFC 8996: TLS 1.0 and 1.1 must not be used.
  const minVersion = "TLSv1.2";
  const context = createSecureContext(ca === undefined ? { minVersion } : { minVersion, ca });
  known = { ca, context };
  return context;
}

const UNTRUSTED =
  "its certificate is signed by nobody who is trusted; name the authority in pool.ca";
const OLD = "it speaks no TLS 1.2 or newer";

const REASONS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "its certificate has expired",
  CERT_NOT_YET_VALID: "its certificate is not valid yet",
  CERT_REVOKED: "its certificate was revoked",
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  ERR_SSL_UNSUPPORTED_PROTOCOL: OLD,
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: OLD,
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS on this port",
  ERR_SSL_PACKET_LENGTH_TOO_LONG: "it does not speak TLS on this port",
  ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: "it speaks neither HTTP/1.1 nor HTTP/2",
  ECONNRESET: "it closed the connection during the handshake",
};

function broken(origin: Origin, error: NodeJS.ErrnoException | undefined): SluiceError {
  const code = error === undefined ? "ECONNRESET" : (error.code ?? "");
  const reason =
    code === "ERR_TLS_CERT_ALTNAME_INVALID"
      ? `its certificate is not for ${origin.hostname}`
      : (REASONS[code] ?? error?.message ?? code);
  const cause = error === undefined ? {} : { cause: error };
  return new SluiceError("upstream_tls", `${shownOrigin(origin)}: ${reason}`, cause);
}
