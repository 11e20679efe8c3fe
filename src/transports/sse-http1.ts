import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Batch } from "../core/batch.ts";
import type { Connection, ConnectionOwner } from "../core/connection.ts";
import type { DisconnectReason } from "../core/disconnect.ts";
import { streamHeaders } from "../wire/headers.ts";

export interface SseHttp1Options {
  /** At least 128 random bits; sent as `Sluice-Connection`. */
  readonly id: string;
  /** Added to the headers of every stream: CORS, say. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Finds the connection that a socket carries, so that no closure is made per connection. */
const kConnection = Symbol("sluice.connection");
type StreamSocket = Socket & { [kConnection]?: SseHttp1Connection };

const EMPTY = Buffer.alloc(0);
/** What the kernel says when probes or retransmissions went unanswered to the last (tcp(7)). */
const GIVEN_UP: ReadonlySet<string> = new Set(["ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH"]);
/**
 * A larger batch goes to the socket in pieces of this size, each when the one before has left. A
 * socket does not tell how much of a write has left, so this is how finely a slow client's progress
 * shows in `pendingBytes`. It is above what a batch usually has: those are written whole.
 */
const PIECE_BYTES_MAX = 128 * 1024;

/**
 * False for a request that was pipelined behind one that is not answered yet: its response has no
 * socket, and raw bytes would land before the earlier response. Wait with `whenSocketAssigned`.
 */
export function isReadyForStream(response: ServerResponse): boolean {
  return response.socket !== null;
}

/** Calls `task` when the response's turn on its connection has come. Never, if the connection ends first. */
export function whenSocketAssigned(response: ServerResponse, task: () => void): void {
  if (response.socket === null) response.once("socket", task);
  else task();
}

/**
 * True when a stream runs on this socket. A request that arrives there can never be answered in
 * order: whoever handles it calls `abortStream` and starts nothing (F22).
 */
export function carriesStream(socket: Socket): boolean {
  return (socket as StreamSocket)[kConnection] !== undefined;
}

/** Closes the stream that runs on this socket now. False if none does. */
export function abortStream(socket: Socket, reason: DisconnectReason): boolean {
  const connection = (socket as StreamSocket)[kConnection];
  connection?.abort(reason);
  return connection !== undefined;
}

/**
 * Starts an event stream on a response to which nothing was sent, whose socket is assigned. The head
 * stays corked until the first `write`, which must follow in the same turn, so that head and prelude
 * leave in one segment: some proxies hold a head back until the first byte of the body.
 */
export function openSseHttp1(
  request: IncomingMessage,
  response: ServerResponse,
  owner: ConnectionOwner,
  options: SseHttp1Options,
): Connection {
  return new SseHttp1Connection(request, response, owner, options);
}

/**
 * After the head everything goes to the socket as pre-framed chunks: one shared buffer and one write
 * per delivery, 7.1 us of CPU against 10.3 us for `response.write` (measured). The two must never be
 * mixed: on Node 26.10 `response.write` followed by `socket.write` puts the frame before the status line.
 */
class SseHttp1Connection implements Connection {
  readonly #socket: StreamSocket;
  /** HTTP/1.0 knows no chunks: the body ends with the connection (RFC 9112, 6.3). */
  readonly #isChunked: boolean;
  #isCorked = true;
  /**
   * False when nothing was pending after the last write. It is asked right then, while the socket's
   * memory is at hand; to ask at the next write would cost a cache miss per delivery.
   */
  #mayPend = false;
  /** What of a large batch waits for the piece before it to leave. */
  #rest: Buffer | undefined;
  readonly id: string;
  readonly #response: ServerResponse;
  readonly #owner: ConnectionOwner;
  readonly isLocal = false;
  #isWakeWanted = false;
  #reason: DisconnectReason | undefined;
  #isClosed = false;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    owner: ConnectionOwner,
    options: SseHttp1Options,
  ) {
    const version = request.httpVersionMinor === 0 ? "1.0" : "1.1";
    this.id = options.id;
    this.#response = response;
    this.#socket = response.socket as StreamSocket;
    this.#owner = owner;
    this.#isChunked = version === "1.1";
    this.#socket[kConnection] = this;
    this.#socket.on("error", onError);
    this.#socket.on("close", onClose);
    this.#socket.setNoDelay(true);
    // The stream lives as long as its client; who has gone is found by other means than a timeout.
    this.#socket.setTimeout(0);
    response.writeHead(200, {
      ...streamHeaders(version),
      ...options.headers,
      "Sluice-Connection": options.id,
    });
    this.#socket.cork();
    response.flushHeaders();
  }

  get pendingBytes(): number {
    if (!this.#mayPend) return 0;
    const pending = this.#socket.writableLength + (this.#rest?.length ?? 0);
    this.#mayPend = pending > 0;
    return pending;
  }

  get bytesWritten(): number {
    return this.#socket.bytesWritten;
  }

  get peer(): string {
    const { remoteAddress = "gone", remotePort = 0 } = this.#socket;
    return remoteAddress.includes(":")
      ? `[${remoteAddress}]:${remotePort}`
      : `${remoteAddress}:${remotePort}`;
  }

  write(batch: Batch): boolean {
    if (this.#rest !== undefined) this.#writeRest();
    if (!this.#isChunked) this.#writePiece(batch.frames);
    else if (batch.chunk.length === 1) this.#writePiece(batch.chunk[0] as Buffer);
    else this.#writeAll(batch.chunk);
    if (this.#isCorked) this.#uncork();
    this.#mayPend = this.#socket.writableLength > 0 || this.#rest !== undefined;
    return this.#mayPend;
  }

  /**
   * An empty write queues behind what is pending, so its callback comes when that has left. The
   * `'drain'` event would not do: below the high-water mark it never comes (measured).
   */
  wakeWhenDrained(): void {
    this.#isWakeWanted = this.#rest !== undefined;
    if (this.#isWakeWanted) return;
    this.#socket.write(EMPTY, (error) => {
      if (!error && !this.#isClosed) this.#owner.onDrained();
    });
  }

  end(reason: DisconnectReason, last?: Batch): void {
    if (this.#reason !== undefined || this.#isClosed) return;
    this.#reason = reason;
    if (this.#rest !== undefined) this.#writeRest();
    if (last !== undefined) this.#writeAll(this.#isChunked ? last.chunk : [last.frames]);
    if (this.#isCorked) this.#uncork();
    // Without destroySoon the socket would stay in keep-alive and hold up a drain (measured).
    this.#response.end(() => this.#socket.destroySoon());
    this.#mayPend = true;
  }

  abort(reason: DisconnectReason): void {
    this.#reason ??= reason;
    this.#socket.destroy();
  }

  /** The socket failed; `'close'` follows. */
  failed(error: NodeJS.ErrnoException): void {
    this.#reason ??= GIVEN_UP.has(error.code ?? "") ? "keepalive" : "reset";
  }

  closed(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#owner.onClosed(this.#reason ?? "client_closed");
  }

  /** Hot: a batch of one piece, which is small nearly always. */
  #writePiece(bytes: Buffer): void {
    if (bytes.length > PIECE_BYTES_MAX) this.#writeLarge(bytes);
    else this.#socket.write(bytes);
  }

  #writeLarge(bytes: Buffer): void {
    if (bytes.length <= PIECE_BYTES_MAX) {
      this.#rest = bytes;
      return this.#writeRest();
    }
    this.#rest = bytes.subarray(PIECE_BYTES_MAX);
    this.#socket.write(bytes.subarray(0, PIECE_BYTES_MAX), (error) => {
      if (!error && this.#rest !== undefined) this.#writeLarge(this.#rest);
    });
  }

  /** With one system call. */
  #writeAll(pieces: readonly Buffer[]): void {
    this.#socket.cork();
    for (const piece of pieces) this.#socket.write(piece);
    this.#socket.uncork();
  }

  /** Hands over all that is left at once: it is the last piece, or something must follow it. */
  #writeRest(): void {
    const rest = this.#rest;
    this.#rest = undefined;
    if (rest !== undefined) this.#socket.write(rest);
    if (this.#isWakeWanted) this.wakeWhenDrained();
  }

  #uncork(): void {
    this.#isCorked = false;
    this.#socket.uncork();
  }
}

function onError(this: StreamSocket, error: NodeJS.ErrnoException): void {
  this[kConnection]?.failed(error);
}

function onClose(this: StreamSocket): void {
  this[kConnection]?.closed();
}
