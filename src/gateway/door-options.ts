import type { BlockList } from "node:net";
import type { AdmissionOptions } from "../core/admission.ts";
import { SluiceError } from "../core/errors.ts";
import { trustedList } from "./client-address.ts";
import { checkChoice, checkNumbers } from "./hub-options.ts";
import type { Bounds } from "./hub-options.ts";
import { OVERLOAD_RESPONSES } from "./overload.ts";
import type { OverloadOptions } from "./overload.ts";

/** Whom a gateway lets in. See docs/operations.md for what to set. */
export interface DoorOptions extends AdmissionOptions, OverloadOptions {
  /**
   * Connections at most; 0 is as many as there are file descriptors for. It lowers what the descriptors
   * allow, and never raises it. @defaultValue 0
   */
  readonly maxConnections: number;
  /** Connections from one address (IPv6: one /64) at most; 0 is no bound. @defaultValue 0 */
  readonly perIpMax: number;
  /**
   * Proxies in front whose `X-Forwarded-For` is believed, as addresses or ranges. Their own connections
   * are not counted by address; each stream counts for the client that they name. @defaultValue none
   */
  readonly trustedProxies: readonly string[];
  /** File descriptors that this process may have open. @defaultValue the system's hard limit */
  readonly descriptorsMax?: number;
}

const MINUTE_MS = 60_000;
const COUNT_MAX = 10_000_000;

const BOUNDS = {
  maxConnections: [0, COUNT_MAX],
  openPercent: [1, 100],
  closePercent: [0, 99],
  loopDelayMs: [10, 5 * MINUTE_MS],
  residentBytesMax: [0, 1024 ** 4],
  perSecond: [1, 1_000_000],
  burst: [1, 1_000_000],
  waitMs: [0, MINUTE_MS],
  waitingMax: [0, 1_000_000],
  retryAfterMs: [1_000, 60 * MINUTE_MS],
  retryAfterJitter: [0, 10],
  perIpMax: [0, COUNT_MAX],
  descriptorsMax: [1, 1024 ** 3],
} satisfies Partial<Record<keyof DoorOptions, Bounds>>;

/** Throws `parameter_invalid` for a value that is out of its bounds, with its name, bounds and value. */
export function checkDoorOptions(options: Partial<DoorOptions>): void {
  checkNumbers("admission.", options, BOUNDS);
  checkChoice("admission.response", options.response, OVERLOAD_RESPONSES);
}

/** The list of the proxies that are believed. Throws `parameter_invalid` for what is no address. */
export function readTrusted(addresses: readonly string[]): BlockList {
  try {
    return trustedList(addresses);
  } catch (error) {
    const message = `admission.trustedProxies must be addresses or ranges, is ${addresses.join(", ").slice(0, 80)}`;
    throw new SluiceError("parameter_invalid", message, { cause: error });
  }
}
