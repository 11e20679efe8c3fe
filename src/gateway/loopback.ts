import { isIPv4 } from "node:net";

// host, or [v6], and a port. What is not of this shape is no Host at all.
const HOST = /^(\[[0-9a-f:.]+\]|[^\s:/?#@[\]]+)(?::([0-9]{1,5}))?$/;
const LOCALHOST = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*localhost$/;

/**
 * True for a `Host` value, any port, whose name always means this machine: localhost, *.localhost
 * (RFC 6761, 6.3), 127.0.0.0/8 in four decimal parts, [::1]. A name that merely resolves to it is
 * exactly what DNS rebinding uses.
 */
export function isLoopbackHost(host: string): boolean {
  const name = HOST.exec(host.toLowerCase())?.[1];
  if (name === undefined) return false;
  return name === "[::1]" || LOCALHOST.test(name) || (isIPv4(name) && name.startsWith("127."));
}

/** True when `origin` (as in `Origin:`) is that of a page that this very host served. */
export function isSameOrigin(origin: string, host: string): boolean {
  const authority = /^https?:\/\/(.+)$/.exec(origin.toLowerCase())?.[1];
  return authority !== undefined && authority === host.toLowerCase();
}
