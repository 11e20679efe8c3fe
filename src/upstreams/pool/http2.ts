import { validateHeaderName, validateHeaderValue } from "node:http";
import { connect } from "node:http2";
import type {
  ClientHttp2Session,
  ClientHttp2Stream,
  OutgoingHttpHeaders,
  SecureClientSessionOptions,
} from "node:http2";
import type { Socket } from "node:net";
import { SluiceError } from "../../core/errors.ts";
import type { Runtime, Timer } from "../../internal/clock.ts";
import { withoutHopByHop } from "../message.ts";
import type { UpstreamRequest, UpstreamResponse } from "../message.ts";
import { authorityOf, shownOrigin } from "../origin.ts";
import type { Origin } from "../origin.ts";
import { CancelBudget } from "./cancel-budget.ts";
import type { DialOptions, Http2Channel, Http2Reason, Http2State, Turns } from "./channel.ts";
import { HEADER_BYTES_MAX, broken, refused, responseOf } from "./http2-stream.ts";
import { holdNative } from "./hold-native.ts";
import type { Limit } from "./limit.ts";
import { Probe } from "./probe.ts";
import { lengthOf } from "./send-body.ts";

/** What an origin may send on one stream before somebody reads it. */
const STREAM_WINDOW_BYTES = 128 * 1024;
/** For all streams together; Node frees it as bytes arrive, so it bounds the pace and no memory. */
const SESSION_WINDOW_BYTES = 1024 * 1024;
const NGHTTP2_CANCEL = 8;
/**
 * Streams of a session that takes no more, because too many were cancelled, may be cancelled beyond that:
 * all that it has left by default, so that whoever stops one does not wait. 164 in 10 s are still
 * fewer than any guard counts (see `CancelBudget`).
 */
const LAST_CANCELS_MAX = 64;

const SESSION_OPTIONS: SecureClientSessionOptions = {
  settings: {
    enablePush: false,
    initialWindowSize: STREAM_WINDOW_BYTES,
    maxHeaderListSize: HEADER_BYTES_MAX,
  },
  maxReservedRemoteStreams: 0,
};

/** Resolves when the origin has said its SETTINGS, so that nothing is sent to what speaks no HTTP/2. */
export async function openHttp2(
  origin: Origin,
  socket: Socket,
  options: DialOptions,
  limit: Limit,
): Promise<Http2Channel> {
  return limit.run((resolve, reject) => {
    const session = connect(shownOrigin(origin), {
      ...SESSION_OPTIONS,
      createConnection: () => socket,
    });
    session.on("error", (error) => reject(broken(origin, error.message, error)));
    session.once("close", () => reject(broken(origin, "it speaks no HTTP/2")));
    session.once("remoteSettings", () => {
      holdNative(session, limit.runtime);
      session.setLocalWindowSize(SESSION_WINDOW_BYTES);
      resolve(new Http2Session(origin, session, socket, options, limit.runtime));
    });
    return () => session.destroy();
  });
}

/** See `Http2Channel`; on `node:http2`. */
class Http2Session implements Http2Channel {
  readonly #origin: Origin;
  readonly #session: ClientHttp2Session;
  /** The session knows it no more when it is destroyed, and may wait for its end then. */
  readonly #socket: Socket;
  readonly #endMsMax: number;
  readonly #streamsMax: number;
  readonly #runtime: Runtime;
  readonly #probe: Probe;
  readonly #cancels: CancelBudget;
  readonly #streams = new Set<ClientHttp2Stream>();
  /** Wanted no more, but the budget for cancels is spent; paused, so that their windows are closed. */
  readonly #parked = new Set<ClientHttp2Stream>();
  #unparking: Timer | undefined;
  #hangingUp: Timer | undefined;
  #lastCancels = LAST_CANCELS_MAX;
  #state: Http2State = "open";
  #reason: Http2Reason = "closed";
  /** Streams behind it were never looked at (RFC 9113, 6.8). */
  #lastStreamId = Infinity;
  #onDraining: ((reason: Http2Reason) => void) | undefined;
  #onGone: ((reason: Http2Reason) => void) | undefined;
  #onFree: (() => void) | undefined;

  constructor(
    origin: Origin,
    session: ClientHttp2Session,
    socket: Socket,
    options: DialOptions,
    runtime: Runtime,
  ) {
    this.#origin = origin;
    this.#session = session;
    this.#socket = socket;
    this.#endMsMax = options.probeMsMax;
    this.#streamsMax = options.streamsPerSession;
    this.#runtime = runtime;
    this.#cancels = new CancelBudget(runtime);
    this.#probe = new Probe(session, options, runtime, () => {
      this.#end("probe", new Error(`a PING was not answered within ${options.probeMsMax} ms`));
    });
    // What was wrong with it the streams tell; 'close' follows.
    session.on("error", () => this.#retire("error"));
    session.on("goaway", (_code, lastStreamId) => {
      this.#lastStreamId = lastStreamId;
      this.#retire("goaway");
    });
    session.once("close", () => this.#onClose());
  }

  get state(): Http2State {
    return this.#state;
  }

  get streamsNow(): number {
    return this.#streams.size;
  }

  get streamsMax(): number {
    const remote = this.#session.destroyed ? 0 : this.#session.remoteSettings.maxConcurrentStreams;
    return Math.min(this.#streamsMax, remote ?? Infinity);
  }

  get isOpenForStreams(): boolean {
    return this.#state === "open" && this.streamsNow < this.streamsMax;
  }

  async request(
    request: UpstreamRequest,
    signal?: AbortSignal,
    turns?: Turns,
  ): Promise<UpstreamResponse> {
    signal?.throwIfAborted();
    if (!this.isOpenForStreams) throw refused(this.#origin);
    const stream = this.#begin(request);
    this.#streams.add(stream);
    stream.once("close", () => this.#onStreamClose(stream));
    return responseOf(
      stream,
      request,
      signal,
      (stream) => this.#cancel(stream),
      (stream) => stream.id === undefined || stream.id > this.#lastStreamId,
      turns,
    );
  }

  onDraining(callback: (reason: Http2Reason) => void): void {
    this.#onDraining = callback;
    if (this.#state !== "open") this.#runtime.defer(() => callback(this.#reason));
  }

  onGone(callback: (reason: Http2Reason) => void): void {
    this.#onGone = callback;
    if (this.#state === "dead") this.#runtime.defer(() => callback(this.#reason));
  }

  onFree(callback: () => void): void {
    this.#onFree = callback;
  }

  drain(): void {
    this.#retire("drained");
  }

  destroy(): void {
    this.#end("destroyed");
    this.#socket.destroy();
  }

  #begin(request: UpstreamRequest): ClientHttp2Stream {
    try {
      return this.#session.request(headersOf(this.#origin, request), {
        endStream: request.body === undefined,
      });
    } catch (error) {
      // The session's own state has changed under us; all else is about the headers.
      if (this.#session.closed || this.#session.destroyed) throw refused(this.#origin, error);
      const text = `The request cannot be sent over HTTP/2: ${(error as Error).message}`;
      throw new SluiceError("request_malformed", text, { cause: error });
    }
  }

  /** No new streams from now on; closes when the last one has ended. */
  #retire(reason: Http2Reason): void {
    if (this.#state !== "open") return;
    this.#state = "draining";
    this.#reason = reason;
    // Not before what was begun in this turn is sent: nghttp2 would refuse it, and a body that was a
    // stream cannot be sent again (measured).
    setImmediate(() => this.#session.close());
    this.#hangUpIfOver();
    this.#onDraining?.(reason);
  }

  /** Node waits until the origin has closed its side as well; some never do. */
  #hangUpIfOver(): void {
    if (this.#state !== "draining" || this.#streams.size > 0) return;
    this.#hangingUp ??= this.#runtime.after(this.#endMsMax, () => this.#socket.destroy());
  }

  /** Nothing from now on. */
  #end(reason: Http2Reason, error?: Error): void {
    if (this.#session.destroyed) return;
    this.#retire(reason);
    this.#reason = reason;
    this.#session.destroy(error);
  }

  #onClose(): void {
    this.#retire("closed");
    this.#state = "dead";
    this.#probe.stop();
    this.#unparking?.cancel();
    this.#hangingUp?.cancel();
    this.#onGone?.(this.#reason);
  }

  #onStreamClose(stream: ClientHttp2Stream): void {
    this.#streams.delete(stream);
    this.#parked.delete(stream);
    this.#endIfOnlyParked();
    this.#hangUpIfOver();
    this.#onFree?.();
  }

  #cancel(stream: ClientHttp2Stream): void {
    if (stream.destroyed || this.#parked.has(stream)) return;
    // Over at the origin: there is nothing to reset, but what was not read would keep it for good.
    if (stream.closed) return void stream.destroy();
    // Both sides have ended: it closes by itself.
    if (stream.readableEnded && stream.writableFinished) return;
    if (this.#cancels.take()) return reset(stream);
    this.#retire("cancels");
    if (this.#lastCancels > 0) {
      this.#lastCancels -= 1;
      return reset(stream);
    }
    stream.pause();
    this.#parked.add(stream);
    this.#endIfOnlyParked();
    this.#unparkLater();
  }

  /** Nobody wants anything that is left: to hang up is no reset, and is counted nowhere. */
  #endIfOnlyParked(): void {
    const { size } = this.#parked;
    if (size > 0 && size === this.#streams.size) this.#end(this.#reason);
  }

  #unparkLater(): void {
    if (this.#unparking !== undefined || this.#state === "dead") return;
    this.#unparking = this.#runtime.after(Math.ceil(this.#cancels.msUntilNext()), () => {
      this.#unparking = undefined;
      for (const stream of this.#parked) {
        if (!this.#cancels.take()) break;
        this.#parked.delete(stream);
        reset(stream);
      }
      if (this.#parked.size > 0) this.#unparkLater();
    });
  }
}

function reset(stream: ClientHttp2Stream): void {
  stream.close(NGHTTP2_CANCEL);
  // What was paused would wait for its reader before it closes.
  stream.destroy();
}

/** `:authority` says what Host does (RFC 9113, 8.3.1); the length is stated here, as over HTTP/1.1. */
const LEFT_OUT = new Set(["content-length", "expect", "host", "http2-settings"]);

function headersOf(origin: Origin, request: UpstreamRequest): OutgoingHttpHeaders {
  const { headers, method, path } = request;
  const host = headers.find(([name]) => name === "host")?.[1] ?? authorityOf(origin);
  // Node sends what it is given, and an origin that speaks HTTP/1.1 behind might read it as more headers.
  validateHeaderName(method);
  validateHeaderValue(":authority", host);
  const all: OutgoingHttpHeaders = Object.assign(Object.create(null), {
    ":method": method,
    ":scheme": origin.protocol.slice(0, -1),
    ":authority": host,
    ":path": path,
  });
  for (const [name, value] of withoutHopByHop(headers)) {
    if (LEFT_OUT.has(name)) continue;
    validateHeaderName(name);
    validateHeaderValue(name, value);
    const before = all[name];
    if (before === undefined) all[name] = value;
    else if (Array.isArray(before)) before.push(value);
    else all[name] = [String(before), value];
  }
  const length = lengthOf(request);
  if (length !== undefined) all["content-length"] = String(length);
  return all;
}
