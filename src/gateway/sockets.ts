import type { ServerResponse } from "node:http";
import type { BlockList, Server, Socket } from "node:net";
import { Server as TlsServer } from "node:tls";
import type { TLSSocket } from "node:tls";
import type { Admission } from "../core/admission.ts";
import { carriesStream } from "../transports/sse-http1.ts";
import { addressKey, isTrusted } from "./client-address.ts";

/** How long a connection that was refused at accept may take to read why, in milliseconds. */
const LINGER_MS = 1_000;

export interface SocketsOptions {
  readonly admission: Admission;
  /** Connections of one address at most; 0 is no bound. */
  readonly perIpMax: number;
  readonly trusted: BlockList;
  /** Tells a connection that it is refused, past any request, and ends it. */
  readonly refuseRaw: (socket: Socket) => void;
  /** There is a connection, after a time without any; and there is none any more. */
  readonly onBusy: () => void;
  readonly onIdle: () => void;
}

/** What is known of one socket. */
interface Entry {
  readonly sockets: Sockets;
  /** What it is counted by; undefined for a trusted proxy, and for one that has no address. */
  readonly key: string | undefined;
  /** It was accepted by a listener that `watch` was called with: all its requests are seen here. */
  readonly isOurs: boolean;
  /** It was one too many when it came: of all, or of its address. */
  readonly isExcess: boolean;
  readonly isExcessOfAddress: boolean;
  /** It came when there was room. */
  readonly hasRoom: boolean;
  requestsTotal: number;
  requestsNow: number;
}

const kEntry = Symbol("sluice.socket");
type CountedSocket = Socket & { [kEntry]?: Entry; _parent?: CountedSocket };

/**
 * Counts the open sockets of the public listener, because descriptors are what runs out, and knows which of them are
 * idle. One object per socket, and no closure: the listeners are functions of this module.
 */
export class Sockets {
  readonly #options: SocketsOptions;
  readonly #perAddress = new Map<string, number>();
  /** Kept alive without a request, the one that has been so for longest first. */
  readonly #idle = new Set<Socket>();
  /** Refused at accept, and still open so that the refusal is read. */
  readonly #refused = new Set<Socket>();
  /** How many more than the capacity may be told so by an answer to their request; see `limit`. */
  #answeredMax = 0;
  #refusedMax = 0;

  constructor(options: SocketsOptions) {
    this.#options = options;
  }

  /** How many beyond the capacity may wait for an answer to their request, and to a refusal at accept. */
  limit(answeredMax: number, refusedMax: number): void {
    this.#answeredMax = answeredMax;
    this.#refusedMax = refusedMax;
  }

  /** Counts every socket of `server` from its accept on. Without it a socket counts from its first request on. */
  watch(server: Server): void {
    server.on("connection", (socket: Socket) => this.#accept(socket));
    if (!(server instanceof TlsServer)) return;
    // The descriptor was counted; the socket that requests come from is another object.
    server.on("secureConnection", (socket: TLSSocket) => {
      const entry = (socket as CountedSocket)._parent?.[kEntry];
      if (entry !== undefined) (socket as CountedSocket)[kEntry] = entry;
    });
  }

  /** A request has come on its socket; called once for each, before anything is done. */
  requested(response: ServerResponse): void {
    const { socket } = response.req;
    const entry = (socket as CountedSocket)[kEntry] ?? this.#open(socket, false);
    entry.requestsNow += 1;
    entry.requestsTotal += 1;
    entry.sockets.#idle.delete(socket);
    response.on("close", onResponseClose);
  }

  /** Why every request on this socket is refused; undefined if it is not. */
  excessOf(socket: Socket): "capacity" | "per_ip" | undefined {
    const entry = (socket as CountedSocket)[kEntry];
    if (entry === undefined) return undefined;
    const { admission } = entry.sockets.#options;
    if (entry.isExcess && admission.connectionsNow > admission.connectionsMax) return "capacity";
    return entry.isExcessOfAddress ? "per_ip" : undefined;
  }

  /** The request is the first on its socket, which came when there was room. */
  hasRoom(socket: Socket): boolean {
    const entry = (socket as CountedSocket)[kEntry];
    return entry !== undefined && entry.hasRoom && entry.requestsTotal === 1;
  }

  /** Counts one more of this address, unless that is one too many. `leave` must follow then. */
  enter(key: string): boolean {
    const { perIpMax } = this.#options;
    const count = this.#perAddress.get(key) ?? 0;
    if (count >= perIpMax) return false;
    this.#perAddress.set(key, count + 1);
    return true;
  }

  leave(key: string): void {
    const count = this.#perAddress.get(key) ?? 0;
    if (count > 1) this.#perAddress.set(key, count - 1);
    else this.#perAddress.delete(key);
  }

  /** Addresses that are counted; for tests. */
  get addressesNow(): number {
    return this.#perAddress.size;
  }

  #accept(socket: Socket): void {
    const { admission, refuseRaw } = this.#options;
    this.#open(socket, true);
    const excess = admission.connectionsNow - admission.connectionsMax;
    if (excess <= 0) return;
    if (this.#closeIdle(excess)) return;
    if (excess <= this.#answeredMax) return;
    admission.refused("capacity");
    this.#linger(socket);
    refuseRaw(socket);
  }

  #open(socket: Socket, isOurs: boolean): Entry {
    const { admission, perIpMax, trusted, onBusy } = this.#options;
    if (admission.connectionsNow === 0) onBusy();
    admission.connectionOpened();
    const { remoteAddress } = socket;
    const isCounted =
      perIpMax > 0 && remoteAddress !== undefined && !isTrusted(trusted, remoteAddress);
    const key = isCounted ? addressKey(remoteAddress) : undefined;
    const isAdmitted = key === undefined || this.enter(key);
    const entry: Entry = {
      sockets: this,
      // Whoever was refused is not counted: it is closed after its first request.
      key: isAdmitted ? key : undefined,
      isOurs,
      isExcess: admission.connectionsNow > admission.connectionsMax,
      isExcessOfAddress: !isAdmitted,
      hasRoom: admission.hasRoom,
      requestsTotal: 0,
      requestsNow: 0,
    };
    (socket as CountedSocket)[kEntry] = entry;
    socket.on("close", onSocketClose);
    return entry;
  }

  /** Makes room: those that wait for nothing go first. True if as many as `count` go. */
  #closeIdle(count: number): boolean {
    let left = count;
    for (const socket of this.#idle) {
      if (left === 0) break;
      this.#idle.delete(socket);
      // A clean end: a request that is under way to us right now is the client's to repeat (RFC 9112, 9.6).
      socket.destroySoon();
      left -= 1;
    }
    return left === 0;
  }

  /** What it sends is read and dropped: closing with unread bytes would reset the connection. */
  #linger(socket: Socket): void {
    this.#refused.add(socket);
    setTimeout(() => socket.destroy(), LINGER_MS).unref();
    if (this.#refused.size <= this.#refusedMax) return;
    // No descriptors to wait with: who was told first has had most time to read it.
    for (const oldest of this.#refused) {
      this.#refused.delete(oldest);
      oldest.destroySoon();
      return;
    }
  }

  /** @internal Of the shared listener. */
  closed(socket: Socket, entry: Entry): void {
    this.#idle.delete(socket);
    this.#refused.delete(socket);
    if (entry.key !== undefined) this.leave(entry.key);
    const { admission, onIdle } = this.#options;
    admission.connectionClosed();
    if (admission.connectionsNow === 0) onIdle();
  }

  /** @internal Of the shared listener. */
  answered(socket: Socket, entry: Entry): void {
    entry.requestsNow -= 1;
    if (!entry.isOurs || entry.requestsNow > 0) return;
    if (socket.writable && !carriesStream(socket)) this.#idle.add(socket);
  }
}

function onSocketClose(this: CountedSocket): void {
  const entry = this[kEntry];
  if (entry !== undefined) entry.sockets.closed(this, entry);
}

function onResponseClose(this: ServerResponse): void {
  const socket: CountedSocket = this.req.socket;
  const entry = socket[kEntry];
  if (entry !== undefined) entry.sockets.answered(socket, entry);
}
