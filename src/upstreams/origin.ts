import { isIPv6 } from "node:net";
import { SluiceError } from "../core/errors.ts";

/** Where upstream requests go: scheme, host and port, and who has said so. Made by `parseOrigin` only. */
export interface Origin {
  /**
   * What sockets are kept under: `http://host:port`, normalised, the port always written. One that
   * comes from a request ends in `#request`: it must never be given a socket that was opened because
   * the same host is named in the configuration.
   */
  readonly key: string;
  readonly protocol: "http:" | "https:";
  /** Lower-case and in ASCII (punycode), an IPv6 address without brackets, no trailing dot. */
  readonly hostname: string;
  readonly port: number;
  /** Named in the configuration: may be loopback and private. Anything else is checked when it is dialled. */
  readonly isNamed: boolean;
}

/** A name has 253 characters at most (RFC 1035, 2.3.4); schemes, ports and other spellings are shorter. */
const TEXT_CHARACTERS_MAX = 1_024;

/**
 * Reads `http://host:port` or `https://host`. The WHATWG URL parser decides what the host is, so that
 * `0x7f.1`, `2130706433` and `127.1` are the address that they stand for before anybody checks it.
 * Throws `parameter_invalid` for another scheme, for credentials, for a path, query or fragment, and for port 0.
 */
export function parseOrigin(text: string, options: { readonly isNamed: boolean }): Origin {
  const { isNamed } = options;
  if (text.length > TEXT_CHARACTERS_MAX) {
    throw new SluiceError(
      "parameter_invalid",
      `An origin has at most ${TEXT_CHARACTERS_MAX} characters; this one has ${text.length}`,
    );
  }
  const url = URL.parse(text);
  const protocol = url?.protocol;
  if (url === null || (protocol !== "http:" && protocol !== "https:")) {
    throw invalid(text, "is no http:// or https:// URL");
  }
  if (url.username !== "" || url.password !== "") {
    // Not shown: it may be a real password.
    throw new SluiceError("parameter_invalid", "An origin has no user name and no password");
  }
  if (url.pathname !== "/" || url.search !== "" || url.hash !== "") {
    throw invalid(
      text,
      "has a path, a query or a fragment; an origin is scheme, host and port only",
    );
  }
  const hostname = bareHost(url.hostname);
  if (hostname === "" || hostname.endsWith(".")) throw invalid(text, "has no host");
  const port = url.port === "" ? defaultPort(protocol) : Number(url.port);
  if (port === 0) throw invalid(text, "has port 0, on which nothing can listen");
  const key = `${protocol}//${bracketed(hostname)}:${port}${isNamed ? "" : "#request"}`;
  return Object.freeze({ key, protocol, hostname, port, isNamed });
}

/** What `Host` and `:authority` say: the port only where it is not the scheme's own (RFC 9110, 4.2). */
export function authorityOf(origin: Origin): string {
  const host = bracketed(origin.hostname);
  return origin.port === defaultPort(origin.protocol) ? host : `${host}:${origin.port}`;
}

/** As people write it, for messages and logs. */
export function shownOrigin(origin: Origin): string {
  return `${origin.protocol}//${authorityOf(origin)}`;
}

/** `example.org.` is the same host as `example.org`, but not for certificates nor for SNI (RFC 6066, 3). */
function bareHost(hostname: string): string {
  if (hostname.startsWith("[")) return hostname.slice(1, -1);
  return hostname.endsWith(".") ? hostname.slice(0, -1) : hostname;
}

function bracketed(hostname: string): string {
  return isIPv6(hostname) ? `[${hostname}]` : hostname;
}

function defaultPort(protocol: Origin["protocol"]): number {
  return protocol === "https:" ? 443 : 80;
}

function invalid(text: string, why: string): SluiceError {
  return new SluiceError("parameter_invalid", `The origin ${JSON.stringify(text)} ${why}`);
}
