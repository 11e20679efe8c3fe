import { createHash, randomBytes } from "node:crypto";

/** 128 random bits, for connections: whoever knows the id may act for the connection. */
export function randomId(): string {
  return randomBytes(16).toString("base64url");
}

/** A hash of `parts`, each behind its length, so that no two lists share one (law 21). */
export function fingerprintOf(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${Buffer.byteLength(part)}:`).update(part);
  return hash.digest("base64url");
}
