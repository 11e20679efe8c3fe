import type { ClientHttp2Stream } from "node:http2";
import { SluiceError } from "../../core/errors.ts";
import { withoutHopByHop } from "../message.ts";
import type { HeaderList, UpstreamRequest, UpstreamResponse } from "../message.ts";
import { shownOrigin } from "../origin.ts";
import type { Origin } from "../origin.ts";
import { StreamRefused } from "./channel.ts";
import type { Turns } from "./channel.ts";
import { ResponseBody } from "./response-body.ts";
import { sendBody } from "./send-body.ts";

/** 100, 102 and 103 before the real one; RFC 9113 sets no limit, so a hostile origin has none. */
const INFORMATIONAL_MAX = 16;
/** As SETTINGS_MAX_HEADER_LIST_SIZE counts: 32 bytes a header beside its name and value (RFC 9113, 6.5.2). */
export const HEADER_BYTES_MAX = 32 * 1024;
const NGHTTP2_NO_ERROR = 0;
const NGHTTP2_REFUSED_STREAM = 7;

/** Resets a stream that is wanted no more, now or when the session may. */
export type Cancel = (stream: ClientHttp2Stream) => void;

/** True if the origin has said that it never looked at the stream (GOAWAY; RFC 9113, 6.8). */
export type IsRefused = (stream: ClientHttp2Stream) => boolean;

/** Waits for the head of the response; see `Http2Channel.request`. */
export function responseOf(
  stream: ClientHttp2Stream,
  request: UpstreamRequest,
  signal: AbortSignal | undefined,
  cancel: Cancel,
  isRefused: IsRefused,
  turns: Turns | undefined,
): Promise<UpstreamResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<UpstreamResponse>();
  let informational = 0;
  const inlet = inletOf(stream);
  let body: Http2Body | undefined;
  const fail = (error: unknown): void => {
    cancel(stream);
    if (body === undefined) reject(error);
    else body.destroy(error as Error);
  };
  const onAbort = (): void => fail(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  // Cut off without an error there is only 'close'; 'error' comes before it, if at all.
  let cause: Error | undefined;
  stream.on("error", (error) => {
    cause = error;
  });
  stream.once("close", () => {
    signal?.removeEventListener("abort", onAbort);
    if (body === undefined) reject(lost(stream, request.origin, cause, isRefused(stream)));
    else body.onClose(cause);
  });
  stream.on("headers", () => {
    informational += 1;
    if (informational > INFORMATIONAL_MAX) {
      fail(broken(request.origin, `more than ${INFORMATIONAL_MAX} informational responses`));
    }
  });
  stream.once("response", (head, _flags, rawHeaders) => {
    // What SETTINGS say binds nobody who does not acknowledge them: 105 KB came through (measured).
    if (bytesOf(rawHeaders) > HEADER_BYTES_MAX) {
      return fail(broken(request.origin, `more than ${HEADER_BYTES_MAX} bytes of headers`));
    }
    const status = Number(head[":status"]);
    // RFC 9110, 8.6: these state a length and have no body.
    const isBodiless = request.method === "HEAD" || status === 204 || status === 304;
    const length = isBodiless ? Number.NaN : Number(head["content-length"] ?? Number.NaN);
    body = new Http2Body(stream, request.origin, length, cancel, inlet);
    resolve({ status, headers: withoutHopByHop(listOf(rawHeaders)), httpVersion: "2", body });
  });
  if (signal?.aborted === true) onAbort();
  else {
    const stop = sendBody(stream, request, {
      onOriginsTurn: () => turns?.onOriginsTurn(),
      onBodysTurn: () => turns?.onBodysTurn(),
      onBroken: fail,
    });
    stream.once("close", stop);
  }
  return promise;
}

/** What has come of a response; read at the pace of its reader, which closes the stream's window. */
class Http2Body extends ResponseBody {
  readonly #stream: ClientHttp2Stream;
  readonly #origin: Origin;
  readonly #cancel: Cancel;
  /** NaN: unknown. */
  readonly #bytesMax: number;
  readonly #inlet: Inlet;
  #bytesNow = 0;
  #isWhole = false;

  constructor(
    stream: ClientHttp2Stream,
    origin: Origin,
    bytesMax: number,
    cancel: Cancel,
    inlet: Inlet,
  ) {
    super();
    this.#stream = stream;
    this.#origin = origin;
    this.#cancel = cancel;
    this.#bytesMax = bytesMax;
    this.#inlet = inlet;
    inlet.take = (chunk) => this.#take(chunk);
    stream.on("data", (chunk: Buffer) => {
      if (!this.#take(chunk) && !this.#keep(chunk)) stream.pause();
    });
    stream.once("end", () => this.#onEnd());
    stream.pause();
  }

  override _read(): void {
    this.#stream.resume();
  }

  /** What `push` would do with it, without a look around and a tick; false if somebody has to wait for it. */
  #take(chunk: Buffer): boolean {
    if (this.readableFlowing !== true || this.readableLength > 0) return false;
    this.#bytesNow += chunk.length;
    this.emit("data", chunk);
    return true;
  }

  #keep(chunk: Buffer): boolean {
    this.#bytesNow += chunk.length;
    return this.push(chunk);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#cancel(this.#stream);
    callback(error);
  }

  /** The stream is over: if the end has not come, it never will. */
  onClose(cause: Error | undefined): void {
    if (this.#isWhole || this.destroyed) return;
    // What Node has read and not given us yet: it says no 'data' any more.
    for (let chunk = this.#stream.read(); chunk !== null; chunk = this.#stream.read()) {
      this.push(chunk);
    }
    this.breakOff(lost(this.#stream, this.#origin, cause, false));
  }

  /** Node ends a stream that was cut off as well; the code tells. */
  #onEnd(): void {
    if (this.#stream.rstCode !== NGHTTP2_NO_ERROR) return this.onClose(undefined);
    if (this.#bytesNow < this.#bytesMax) {
      const text = `${this.#bytesNow} of ${this.#bytesMax} announced bytes`;
      return this.breakOff(broken(this.#origin, `the response ended after ${text}`));
    }
    // What is as long as announced is whole, however it ended.
    if (!this.#inlet.wasEnded && !(this.#bytesNow >= this.#bytesMax)) {
      return this.breakOff(broken(this.#origin, "the response was cut off without an end"));
    }
    this.#isWhole = true;
    this.push(null);
  }
}

/** Where Node gives what it has read of a stream. */
interface Inlet {
  /**
   * The origin has said END_STREAM. A Node server that is closed resets its streams with NO_ERROR (measured),
   * which Node's client gives as an end like any other; but the stream is closed then before its end is
   * pushed, and not after.
   */
  wasEnded: boolean;
  /** Takes what has come, if it can at once. */
  take?: (chunk: Buffer) => boolean;
}

/**
 * What can be taken at once passes by the stream's own queue, which looks around and asks for more behind each
 * chunk: with it, and a second one, an event cost a fifth more (measured). While the stream flows and its queue
 * is empty the two are the same. It is never paused behind a chunk that passed by: its queue would not know that
 * it has to ask again.
 */
function inletOf(stream: ClientHttp2Stream): Inlet {
  const inlet: Inlet = { wasEnded: false };
  const push = stream.push.bind(stream);
  stream.push = (chunk: Buffer | null, encoding) => {
    if (chunk === null) inlet.wasEnded ||= !stream.closed;
    else if (stream.readableFlowing === true && stream.readableLength === 0) {
      if (inlet.take?.(chunk) === true) return true;
    }
    return push(chunk, encoding);
  };
  return inlet;
}

/** Without pseudo-headers. Node has put the names in lower case, as HTTP/2 does. */
function listOf(rawHeaders: readonly string[]): HeaderList {
  const list: [string, string][] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    if (!name.startsWith(":")) list.push([name, rawHeaders[at + 1] ?? ""]);
  }
  return list;
}

function bytesOf(rawHeaders: readonly string[]): number {
  let bytes = rawHeaders.length * 16;
  for (const text of rawHeaders) bytes += text.length;
  return bytes;
}

function lost(
  stream: ClientHttp2Stream,
  origin: Origin,
  cause: Error | undefined,
  isRefused: boolean,
): SluiceError {
  if (isRefused || stream.rstCode === NGHTTP2_REFUSED_STREAM) {
    return refused(origin, cause);
  }
  return broken(origin, cause?.message ?? "the stream was cut off", cause);
}

export function refused(origin: Origin, cause?: unknown): SluiceError {
  return new SluiceError("upstream_unavailable", `${shownOrigin(origin)} refused the stream`, {
    cause: new StreamRefused("not processed by the origin", { cause }),
  });
}

export function broken(origin: Origin, what: string, cause?: unknown): SluiceError {
  const options = cause === undefined ? {} : { cause };
  return new SluiceError("upstream_protocol", `${shownOrigin(origin)}: ${what}`, options);
}
