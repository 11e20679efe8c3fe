import { SluiceError } from "../../core/errors.ts";
import type { UpstreamRequest, UpstreamResponse } from "../message.ts";
import type { Origin } from "../origin.ts";
import type { Finding } from "./health.ts";
import { HEALTH_TENANT } from "./tenant-shares.ts";

/** More than any health check says; an endless stream there must not be read for ever. */
const BODY_BYTES_MAX = 64 * 1024;
/** They say nothing of the origin: we had no socket to ask with. */
const OURS: ReadonlySet<string> = new Set(["upstream_exhausted", "shutting_down"]);

/** Asks once, for `msMax` at most. Never rejects. */
export async function askHealth(
  origin: Origin,
  path: string,
  msMax: number,
  send: (request: UpstreamRequest) => Promise<UpstreamResponse>,
): Promise<Finding> {
  const signal = AbortSignal.timeout(msMax);
  try {
    const { status, body } = await send({
      origin,
      method: "GET",
      path,
      headers: [["accept", "*/*"]],
      tenant: HEALTH_TENANT,
      lane: "high",
      headersMsMax: msMax,
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
