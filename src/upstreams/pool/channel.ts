import type { Socket } from "node:net";
import type { UpstreamRequest, UpstreamResponse } from "../message.ts";
import type { Origin } from "../origin.ts";

/** What a connection to an origin has turned out to be: ALPN decides, or the configuration. */
export type Dialed =
  | { readonly kind: "http1"; readonly socket: Socket }
  | { readonly kind: "http2"; readonly session: Http2Channel };

/** How to connect; all of it comes from the pool's options. */
export interface DialOptions {
  /** For everything until requests can be sent: DNS, TCP, TLS, HTTP/2 SETTINGS. Milliseconds. */
  readonly connectMsMax: number;
  /** `auto`: ALPN over TLS, HTTP/1.1 without; `prior`: HTTP/2 without asking. */
  readonly http2: "auto" | "off" | "prior";
  readonly streamsPerSession: number;
  readonly probeMs: number;
  readonly probeMsMax: number;
  /** PEM of authorities that are trusted instead of the system's. */
  readonly ca?: string | Buffer | undefined;
  /** Gives up, and leaves nothing open. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Connects to an origin. Rejects with `upstream_unreachable`, `upstream_timeout`, `upstream_tls`,
 * `upstream_protocol` or `upstream_forbidden`. The socket has an `'error'` handler already.
 */
export type Dial = (origin: Origin, options: DialOptions) => Promise<Dialed>;

/** `draining`: running streams go on, no new one begins. `dead`: nothing is left. */
export type Http2State = "open" | "draining" | "dead";

/** Why a session takes no more streams: the label of `sluice_upstream_evicted_total`. */
export type Http2Reason =
  | "goaway"
  | "probe"
  | "cancels"
  | "error"
  | "closed"
  | "drained"
  | "destroyed";

/** Whose turn it is until the head of a response has come. */
export interface Turns {
  /** From now on the origin has to do something: take what was sent, or answer. */
  onOriginsTurn(): void;
  /** The body is still coming: whether the origin is slow cannot be said. */
  onBodysTurn(): void;
}

/** One HTTP/2 session. */
export interface Http2Channel {
  readonly state: Http2State;
  /** Streams that the origin still counts, cancelled ones that wait for their turn included. */
  readonly streamsNow: number;
  /** `streamsPerSession`, or less if the origin says so. */
  readonly streamsMax: number;
  /** Open, and not full. */
  readonly isOpenForStreams: boolean;
  /**
   * Resolves with the head of the response. Rejects `upstream_protocol` or with the reason of
   * `signal`; where the origin has certainly not processed the request the cause is a `StreamRefused`.
   */
  request(request: UpstreamRequest, signal?: AbortSignal, turns?: Turns): Promise<UpstreamResponse>;
  /** Called once, when it is draining: time to open another one. If it is already, in the next turn. */
  onDraining(callback: (reason: Http2Reason) => void): void;
  /** Called once, when it is dead; all streams have ended by then. If it is already, in the next turn. */
  onGone(callback: (reason: Http2Reason) => void): void;
  /** Called whenever a stream has ended, so that whoever waits may have its place. */
  onFree(callback: () => void): void;
  /** Takes no new streams, and closes when the last one has ended. */
  drain(): void;
  /** Ends all streams with `upstream_protocol`, now. */
  destroy(): void;
}

/** The origin has not processed the request (RFC 9113, 8.7): it may be sent again, whatever its method. */
export class StreamRefused extends Error {
  override readonly name = "StreamRefused";
}
