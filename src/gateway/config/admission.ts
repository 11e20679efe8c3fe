import type { DoorOptions } from "../door-options.ts";
import type { Config } from "./schema.ts";

/** The options of the door, as the configuration says them. */
export function admissionOf(config: Config): DoorOptions {
  const { overload, accept, maxConnections, perIpMax, trustedProxies } = config;
  return {
    maxConnections,
    perIpMax,
    trustedProxies,
    openPercent: overload.openPercent,
    closePercent: overload.closePercent,
    response: overload.response,
    retryAfterMs: overload.retryAfter,
    retryAfterJitter: overload.retryAfterJitterPercent / 100,
    loopDelayMs: overload.loopDelay,
    residentBytesMax: overload.residentBytesMax,
    perSecond: accept.perSecond,
    burst: accept.burst,
    waitMs: accept.wait,
    waitingMax: accept.waitingMax,
  };
}
