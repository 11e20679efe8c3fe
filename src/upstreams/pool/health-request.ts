import { SluiceError } from "../../core/errors.ts";
import type { UpstreamRequest, UpstreamResponse } from "../message.ts";
import type { Origin } from "../origin.ts";
import type { Finding } from "./health.ts";
import type { PoolOptions } from "./pool-options.ts";
import { HEALTH_TENANT } from "./tenant-shares.ts";

/** More than any health check says; an endless stream there must not be read for ever. */
const BODY_BYTES_MAX = 64 * 1024;
/** They say nothing of the origin: we had no socket to ask with. */
const OURS: ReadonlySet<string> = new Set(["upstream_exhausted", "shutting_down"]);

/**
 * Asks once. The origin has `health.intervalMs`; to wait for a socket takes `acquireMsMax` at most, and
 * is told apart. Never rejects.
 */
export async function askHealth(
  origin: Origin,
  path: string,
  { health, acquireMsMax }: PoolOptions,
  send: (request: UpstreamRequest) => Promise<UpstreamResponse>,
): Promise<Finding> {
  const { intervalMs } = health;
  // Later than the pool gives up: what ends while it waits says nothing of the origin.
  const signal = AbortSignal.timeout(acquireMsMax + intervalMs);
  try {
    const { status, body } = await send({
      origin,
      method: "GET",
      path,
      headers: [["accept", "*/*"]],
      tenant: HEALTH_TENANT,
      lane: "high",
      headersMsMax: intervalMs,
      signal,
    });
    if (status < 200 || status > 299) {
      body.destroy();
      return "ill";
    }
    let length = 0;
    for await (const chunk of body) {
      length += (chunk as Buffer).length;
      if (length > BODY_BYTES_MAX) break;
    }
    return "well";
  } catch (error) {
    return error instanceof SluiceError && OURS.has(error.code) ? "unknown" : "ill";
  }
}
