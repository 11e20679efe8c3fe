import { connect } from "node:net";
import type { Socket } from "node:net";
import { SluiceError } from "../../core/errors.ts";
import type { Runtime, Timer } from "../../internal/clock.ts";
import type { Address, AddressBook } from "../address.ts";
import { shownOrigin } from "../origin.ts";
import type { Origin } from "../origin.ts";
import type { Dial, DialOptions, Dialed } from "./channel.ts";
import { openHttp2 } from "./http2.ts";
import { Limit } from "./limit.ts";
import { secure } from "./secure.ts";

/** How long one address is tried alone before the next is tried beside it (RFC 8305, 5). */
const NEXT_ADDRESS_MS = 250;
/** The kernel counts seconds; probes of a silent connection are this far apart. */
const KEEP_ALIVE_INTERVAL_MS = 1_000;

/** A `Dial` that asks `book` for addresses, and connects to what it has checked: no name is resolved here. */
export function dialWith(runtime: Runtime, book: AddressBook): Dial {
  return async (origin, options) => {
    const { connectMsMax, signal } = options;
    const what = `${shownOrigin(origin)} was not connected to`;
    const limit = new Limit(runtime, what, connectMsMax, signal);
    const addresses = await limit.run<readonly Address[]>((resolve, reject) => {
      book.addressesOf(origin, connectMsMax).then(resolve, reject);
      return ignore;
    });
    const socket = await connectAny(origin, addresses, limit);
    socket.setKeepAlive(
      true,
      options.probeMs,
      KEEP_ALIVE_INTERVAL_MS,
      Math.max(1, Math.round(options.probeMsMax / KEEP_ALIVE_INTERVAL_MS)),
    );
    try {
      return await speak(origin, socket, options, limit);
    } catch (error) {
      socket.destroy();
      throw error;
    }
  };
}

/** Whether it is HTTP/1.1 or HTTP/2: ALPN decides, or the configuration. */
async function speak(
  origin: Origin,
  plain: Socket,
  options: DialOptions,
  limit: Limit,
): Promise<Dialed> {
  let isHttp2 = options.http2 === "prior";
  let socket = plain;
  if (origin.protocol === "https:") {
    const secured = await secure(origin, plain, options, limit);
    isHttp2 = secured.alpnProtocol === "h2";
    socket = secured;
  }
  if (!isHttp2) return { kind: "http1", socket };
  return { kind: "http2", session: await openHttp2(origin, socket, options, limit) };
}

/** The first connection that stands wins; the others are given up (RFC 8305, "happy eyeballs"). */
function connectAny(origin: Origin, addresses: readonly Address[], limit: Limit): Promise<Socket> {
  return limit.run((resolve, reject) => {
    const trying = new Set<Socket>();
    let next = 0;
    let timer: Timer | undefined;
    const giveUp = (): void => {
      timer?.cancel();
      for (const socket of trying) socket.destroy();
      trying.clear();
    };
    const tryNext = (): void => {
      timer?.cancel();
      const address = addresses[next];
      if (address === undefined) return;
      next += 1;
      const { address: host, family } = address;
      const socket = connect({ host, family, port: origin.port, noDelay: true });
      trying.add(socket);
      // Stays for good: a socket without one would end the process (`'error'` is thrown then).
      socket.on("error", (error: NodeJS.ErrnoException) => {
        if (!trying.delete(socket)) return;
        if (next < addresses.length) tryNext();
        else if (trying.size === 0) reject(unreachable(origin, error));
      });
      socket.once("connect", () => {
        if (!trying.delete(socket)) return;
        giveUp();
        resolve(socket);
      });
      if (next < addresses.length) timer = limit.runtime.after(NEXT_ADDRESS_MS, tryNext);
    };
    tryNext();
    return giveUp;
  });
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the connection was reset",
  EHOSTUNREACH: "there is no way to the host",
  ENETUNREACH: "there is no way to the network",
  ETIMEDOUT: "the host does not answer",
};

function unreachable(origin: Origin, error: NodeJS.ErrnoException): SluiceError {
  const why = REASONS[error.code ?? ""] ?? error.code ?? "the connection failed";
  return new SluiceError("upstream_unreachable", `${shownOrigin(origin)}: ${why}`, {
    cause: error,
  });
}

function ignore(): void {}
