import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";

/** Between two looks for connections that have become idle, in milliseconds. */
const SWEEP_MS = 50;
/** A connection that has just come gets so long for its first request, in milliseconds. */
const FIRST_REQUEST_MS = 200;

const kFresh = Symbol("sluice.fresh");
type FreshSocket = Socket & { [kFresh]?: Set<Socket>; _parent?: Socket };

/**
 * Closes a server without waiting for anybody who has nothing under way. Node closes connections that
 * are idle between requests when `close` is called, but neither those that become so later nor those
 * that have not sent anything yet (browsers open some ahead), and it stops looking for slow headers.
 */
export class ServerCloser {
  readonly #server: Server;
  /** Accepted, without a request so far; the socket below TLS, so that open handshakes are known too. */
  readonly #fresh = new Set<Socket>();
  #isHastened = false;
  #limit: NodeJS.Timeout | undefined;
  #isClosed = false;
  #closing: Promise<void> | undefined;

  /** To be made before the server listens. */
  constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket: FreshSocket) => {
      this.#fresh.add(socket);
      socket[kFresh] = this.#fresh;
      socket.on("close", onSocketClose);
    });
    const onRequest = ({ socket }: IncomingMessage): void => {
      this.#fresh.delete((socket as FreshSocket)._parent ?? socket);
    };
    for (const event of ["request", "checkContinue", "checkExpectation"]) {
      server.prependListener(event, onRequest);
    }
  }

  /** Listens no more. Resolves when no connection is left; what is still there after `limitMs` is destroyed. */
  close(limitMs: number): Promise<void> {
    return (this.#closing ??= this.#close(limitMs));
  }

  /** What is still there `limitMs` from now is destroyed, if `close` was called or will be. */
  hasten(limitMs: number): void {
    if (this.#isClosed || this.#isHastened) return;
    this.#limitTo(limitMs);
    this.#isHastened = true;
  }

  async #close(limitMs: number): Promise<void> {
    const since = performance.now();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const sweeper = setInterval(() => {
      this.#server.closeIdleConnections();
      if (performance.now() - since >= FIRST_REQUEST_MS) this.#destroyFresh();
    }, SWEEP_MS);
    this.#limitTo(limitMs);
    await closed;
    this.#isClosed = true;
    clearInterval(sweeper);
    clearTimeout(this.#limit);
  }

  #limitTo(limitMs: number): void {
    if (this.#isHastened) return;
    clearTimeout(this.#limit);
    this.#limit = setTimeout(() => this.#destroyAll(), limitMs);
  }

  #destroyAll(): void {
    this.#server.closeAllConnections();
    this.#destroyFresh();
  }

  #destroyFresh(): void {
    for (const socket of this.#fresh) socket.destroy();
  }
}

function onSocketClose(this: FreshSocket): void {
  this[kFresh]?.delete(this);
}
