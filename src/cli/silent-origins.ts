import { connect } from "node:net";
import type { Origin } from "../upstreams/origin.ts";
import { printable } from "./terminal.ts";

/** An origin that accepts nothing for so long is told of, in milliseconds. */
const CONNECT_MS_MAX = 3_000;

/**
 * Tells of each origin that accepts no connection. It may well start after us, so that is no reason not
 * to start. Takes 3 s at most; never rejects.
 */
export async function warnOfSilent(
  origins: readonly Origin[],
  warn: (warning: string) => void,
): Promise<void> {
  const distinct = new Map(origins.map((origin) => [origin.key, origin]));
  const ask = async (origin: Origin): Promise<void> => {
    const reason = await reasonOf(origin);
    if (reason === undefined) return;
    const why = printable(reason);
    warn(`the upstream ${origin.key} does not answer (${why}): requests for it fail until it does`);
  };
  await Promise.all([...distinct.values()].map(ask));
}

/** Why it accepts no connection; undefined if it does. */
function reasonOf({ hostname, port }: Origin): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port, autoSelectFamily: true });
    const finish = (reason: string | undefined): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(reason);
    };
    const timer = setTimeout(
      () => finish(`nothing within ${CONNECT_MS_MAX / 1_000} s`),
      CONNECT_MS_MAX,
    );
    socket.once("connect", () => finish(undefined));
    // It stays: what comes behind the first one is of no interest.
    socket.on("error", (error: NodeJS.ErrnoException) => {
      // Node's error for several addresses has no message of its own.
      finish(error.message === "" ? (error.code ?? "it failed") : error.message);
    });
  });
}
