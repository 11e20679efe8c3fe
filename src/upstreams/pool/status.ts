import type { CircuitState } from "./circuit.ts";
import type { HealthState } from "./health.ts";
import type { SocketState } from "./socket-state.ts";

/** What `sluice pool` shows. */
export interface PoolStatus {
  readonly origins: readonly OriginStatus[];
}

/** One origin, as it is now; the totals are since its first request. */
export interface OriginStatus {
  readonly origin: string;
  readonly circuit: CircuitState;
  readonly health: HealthState;
  /** What the last connection has turned out to speak. */
  readonly http: "1.1" | "2" | "unknown";
  readonly socketsMax: number;
  /** Sockets and HTTP/2 sessions by state. `dead`: destroyed, and about to be gone. */
  readonly sockets: Readonly<Record<SocketState, number>>;
  /** Requests and responses under way. */
  readonly streamsNow: number;
  /** Requests that wait for a socket or stream. */
  readonly waiting: number;
  /** Tenants that hold something now. */
  readonly tenants: number;
  /** New streams are refused: it is over 90 % used, its circuit is open, or it is not healthy. */
  readonly isRefusing: boolean;
  readonly openedTotal: number;
  readonly acquiredTotal: number;
  readonly rejectedTotal: number;
  readonly evictedTotal: number;
  readonly errorsTotal: number;
}
