import { isIP } from "node:net";

/** A name of DNS (RFC 1123, 2.1), as `listen` resolves it. */
const HOST_NAME = /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,62}\.?)*$/;

/** `text` as an address or name to listen on; brackets around an IPv6 address are taken off. */
export function parseHost(text: string): string | undefined {
  const host = /^\[(.+)\]$/.exec(text)?.[1] ?? text;
  if (isIP(host) !== 0) return host;
  // A name of digits and dots is a mistyped address, and a colon belongs to a port or a URL.
  return !/^[0-9.]+$/.test(host) && HOST_NAME.test(host) ? host.toLowerCase() : undefined;
}

/** True for `localhost`, names below it (RFC 6761, 6.3), 127.0.0.0/8 and ::1: nobody else can call it. */
export function isLoopbackHost(host: string): boolean {
  if (isIP(host) === 4) return host.startsWith("127.");
  return host === "::1" || host === "localhost" || host.endsWith(".localhost");
}

/**
 * `text` as the serialized origin that browsers send (WHATWG URL, origin): scheme, host and a port that
 * is not the scheme's own. `*` is every origin.
 */
export function parseOrigin(text: string): string | undefined {
  if (text === "*") return text;
  if (!/^https?:\/\/[^/?#@]+\/?$/i.test(text) || !URL.canParse(text)) return undefined;
  return new URL(text).origin;
}
