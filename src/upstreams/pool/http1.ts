import { request as httpRequest } from "node:http";
import type { Agent, ClientRequest, IncomingMessage, RequestOptions } from "node:http";
import type { Socket } from "node:net";
import { SluiceError } from "../../core/errors.ts";
import type { Runtime, Timer } from "../../internal/clock.ts";
import { withoutHopByHop } from "../message.ts";
import type { HeaderList, UpstreamRequest, UpstreamResponse } from "../message.ts";
import { authorityOf, shownOrigin } from "../origin.ts";
import { Http1Body } from "./http1-body.ts";
import type { Lease } from "./lease.ts";
import { lengthOf, sendBody } from "./send-body.ts";

/** A head of more bytes is an attack or a mistake; Node's own bound for clients is 16 KiB. */
const HEADER_BYTES_MAX = 32 * 1024;
/** Node counts the bytes of names and values only, so that very many of nearly none would pass. */
const HEADERS_MAX = 1_000;
/** 100, 102 and 103 before the real one; RFC 9110 sets no limit, so a hostile origin has none. */
const INFORMATIONAL_MAX = 16;
/** Off the time-out that an origin states: the packet that closes it is on its way earlier. */
const KEEP_ALIVE_MARGIN_MS = 1_000;

/**
 * The origin has closed a connection that was idle, and not one byte of an answer had come: the two
 * have crossed, and the request may be sent again if it is idempotent (RFC 9110, 9.2.2; U16).
 */
export class ClosedUnanswered extends Error {
  override readonly name = "ClosedUnanswered";
}

export interface ExchangeOptions {
  readonly runtime: Runtime;
  readonly headersMsMax: number;
  /** The socket was idle before. */
  readonly isReused: boolean;
  /**
   * Called once, when the socket is needed no more. `isReusable`: request and response are whole, and
   * the origin keeps the connection, for `idleMsMax` at most.
   */
  readonly onOver: (isReusable: boolean, idleMsMax: number) => void;
}

type Leased = RequestOptions & { readonly leased: Socket };

/**
 * What `node:http` calls an agent, and is none: it gives the request the socket that we chose. Queues,
 * time-outs and reuse are ours, because Node's queue has no deadline and its pool knows no tenants.
 */
const AGENT = {
  keepAlive: true,
  defaultPort: 80,
  addRequest(request: ClientRequest, options: Leased): void {
    request.onSocket(options.leased);
  },
} as unknown as Agent;

/** One request and its response on one HTTP/1.1 socket. The framing is Node's, all else is here. */
export class Http1Exchange {
  readonly response: Promise<UpstreamResponse>;
  /** A byte of an answer has come. */
  #hasBytes = false;
  readonly #socket: Socket;
  readonly #shown: string;
  readonly #options: ExchangeOptions;
  readonly #signal: AbortSignal | undefined;
  readonly #resolve: (response: UpstreamResponse) => void;
  readonly #reject: (error: unknown) => void;
  #request: ClientRequest | undefined;
  #incoming: IncomingMessage | undefined;
  #body: Http1Body | undefined;
  #stopSending: (() => void) | undefined;
  #timer: Timer | undefined;
  #informational = 0;
  #idleMsMax = Infinity;
  #isOver = false;

  constructor(socket: Socket, lease: Lease, options: ExchangeOptions) {
    const request = lease.context.request as UpstreamRequest;
    const { promise, resolve, reject } = Promise.withResolvers<UpstreamResponse>();
    this.response = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#socket = socket;
    this.#shown = shownOrigin(request.origin);
    this.#options = options;
    this.#signal = request.signal;
    try {
      this.#request = begin(socket, request);
    } catch (error) {
      // Nothing was sent. Node refuses what would break the framing: CR or LF in a value, say.
      const text = `The request cannot be sent over HTTP/1.1: ${(error as Error).message}`;
      reject(new SluiceError("request_malformed", text, { cause: error }));
      queueMicrotask(() => this.#over(true));
      return;
    }
    this.#listen(this.#request);
    this.#stopSending = sendBody(this.#request, request, {
      onOriginsTurn: () => this.#armTimer(),
      onBodysTurn: () => this.#timer?.cancel(),
      onBroken: (error) => this.#fail(error),
    });
  }

  /** The whole response has come off the socket. */
  get isComplete(): boolean {
    return this.#incoming?.complete === true;
  }

  /** Called before Node sees the bytes. */
  onBytes(): void {
    this.#hasBytes = true;
  }

  /** Ends it now; with an error, unless the response is whole. */
  destroy(): void {
    if (this.isComplete) this.#end();
    else this.#fail(this.#broken("the connection was closed"));
  }

  /** Its socket is closed. */
  onClose(): void {
    if (this.isComplete) return this.#over(false);
    const isAnswered = this.#incoming !== undefined;
    this.#fail(
      isAnswered ? this.#broken("the response was cut short") : this.#unanswered(undefined),
    );
  }

  #listen(request: ClientRequest): void {
    request.once("response", (incoming) => this.#onHead(incoming));
    request.on("information", () => {
      this.#informational += 1;
      if (this.#informational <= INFORMATIONAL_MAX) return;
      this.#fail(this.#broken(`more than ${INFORMATIONAL_MAX} informational responses`));
    });
    // Stays for good: Node may tell of an error after we have given up.
    request.on("error", (error: NodeJS.ErrnoException) => {
      // A response that is whole stays so, though not all of it was read.
      if (this.isComplete) this.#end();
      else this.#fail(this.#errorOf(error));
    });
    this.#socket.once("free", this.#onFree);
    this.#signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  #onHead(incoming: IncomingMessage): void {
    this.#timer?.cancel();
    if (this.#isOver) return;
    this.#incoming = incoming;
    const { rawHeaders, statusCode = 0 } = incoming;
    const fault = faultOf(statusCode, rawHeaders.length / 2);
    if (fault !== undefined) return this.#fail(this.#broken(fault));
    // Its socket has gone: `onClose` tells of it.
    incoming.on("error", ignore);
    const listed = listOf(rawHeaders);
    this.#idleMsMax = keepAliveOf(listed);
    this.#body = new Http1Body(incoming, () => this.#onBodyGone());
    incoming.once("end", () => {
      // It has answered before it had the whole request: it may read the rest as another one.
      if (this.#request?.writableFinished === false) this.#end();
    });
    this.#resolve({
      status: statusCode,
      headers: withoutHopByHop(listed),
      httpVersion: "1.1",
      body: this.#body,
    });
  }

  /** Nobody reads on. What has come whole is read into the void, all else ends with its socket. */
  #onBodyGone(): void {
    if (this.#isOver) return;
    if (this.isComplete) this.#incoming?.resume();
    else this.#end();
  }

  /** Node: response read, request written. */
  readonly #onFree = (): void => {
    this.#over(this.#request?.shouldKeepAlive === true && this.isComplete);
  };

  readonly #onAbort = (): void => {
    const body = this.#body;
    this.#fail(this.#signal?.reason);
    // Nobody wants what has come.
    body?.abort(this.#signal?.reason);
  };

  #armTimer(): void {
    this.#timer?.cancel();
    if (this.#isOver || this.#incoming !== undefined) return;
    const { runtime, headersMsMax } = this.#options;
    this.#timer = runtime.after(headersMsMax, () => {
      const text = `${this.#shown} did not answer within ${headersMsMax} ms`;
      this.#fail(new SluiceError("upstream_timeout", text));
    });
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    // First over: destroying the body would end the exchange without a reason.
    const body = this.#body;
    this.#end();
    if (body === undefined) this.#reject(error);
    else body.fail(error);
  }

  #end(): void {
    this.#socket.destroy();
    this.#over(false);
  }

  #over(isReusable: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timer?.cancel();
    this.#stopSending?.();
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#socket.off("free", this.#onFree);
    // As Node's own agent does: otherwise the next error of the socket would be that of this request.
    if (isReusable) (this.#socket as { _httpMessage?: unknown })._httpMessage = null;
    this.#request = undefined;
    this.#body = undefined;
    this.#options.onOver(isReusable, this.#idleMsMax);
  }

  #errorOf(error: NodeJS.ErrnoException): SluiceError {
    const { code = "" } = error;
    if (code === "ETIMEDOUT") {
      const text = `${this.#shown} does not answer the probes of its connection`;
      return new SluiceError("upstream_timeout", text, { cause: error });
    }
    if (this.#hasBytes || code.startsWith("HPE_")) return this.#broken(error.message, error);
    return this.#unanswered(error);
  }

  #unanswered(cause: Error | undefined): SluiceError {
    if (this.#hasBytes) return this.#broken("the connection was closed within the head");
    const what = "the connection was closed before an answer";
    if (!this.#options.isReused) return this.#broken(what, cause);
    return this.#broken(what, new ClosedUnanswered("no byte had come", { cause }));
  }

  #broken(what: string, cause?: Error): SluiceError {
    const options = cause === undefined ? {} : { cause };
    return new SluiceError("upstream_protocol", `${this.#shown}: ${what}`, options);
  }
}

function begin(socket: Socket, request: UpstreamRequest): ClientRequest {
  const { method, path } = request;
  // The answer to CONNECT is a tunnel, which is nothing to pool.
  if (method.toUpperCase() === "CONNECT") throw new TypeError("CONNECT is not sent to an origin");
  const options = { agent: AGENT, leased: socket, method, path, maxHeaderSize: HEADER_BYTES_MAX };
  const headers = requestHeaders(request);
  const sent = httpRequest({ ...options, headers } as unknown as Leased);
  // Node would leave away what is beyond its bound without a word; ours is an error.
  sent.maxHeadersCount = 0;
  return sent;
}

/** The framing is stated here, whatever the caller says: two ideas of it are request smuggling. */
function requestHeaders(request: UpstreamRequest): [string, string][] {
  const { body, method, origin } = request;
  const kept = withoutHopByHop(request.headers).filter(([name]) => !STATED_HERE.has(name));
  const host = valueOf(request.headers, "host") ?? authorityOf(origin);
  kept.unshift(["host", host]);
  const length = lengthOf(request);
  if (length !== undefined) kept.push(["content-length", String(length)]);
  else if (body !== undefined) kept.push(["transfer-encoding", "chunked"]);
  else if (WITH_BODY.has(method.toUpperCase())) kept.push(["content-length", "0"]);
  return kept;
}

const STATED_HERE: ReadonlySet<string> = new Set(["host", "content-length", "expect"]);
const WITH_BODY: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH"]);

function valueOf(headers: HeaderList, wanted: string): string | undefined {
  return headers.find(([name]) => name === wanted)?.[1];
}

function listOf(rawHeaders: readonly string[]): [string, string][] {
  const list: [string, string][] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    list.push([(rawHeaders[at] ?? "").toLowerCase(), rawHeaders[at + 1] ?? ""]);
  }
  return list;
}

/** What Node lets through. */
function faultOf(status: number, headers: number): string | undefined {
  if (status < 200) return `an answer of ${status}, which nobody has asked for`;
  if (headers > HEADERS_MAX) return `${headers} headers; ${HEADERS_MAX} are read at most`;
  return undefined;
}

/** `Keep-Alive: timeout=5`: so long, in seconds, the origin keeps a connection that is idle. */
function keepAliveOf(headers: HeaderList): number {
  const timeout = /(?:^|[,\s])timeout=(\d{1,9})/i.exec(valueOf(headers, "keep-alive") ?? "")?.[1];
  if (timeout === undefined) return Infinity;
  return Math.max(0, Number(timeout) * 1_000 - KEEP_ALIVE_MARGIN_MS);
}

function ignore(): void {}
