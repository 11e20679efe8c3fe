/** What the command's exit codes mean; those above 63 are of BSD's sysexits.h. */
export const EXIT = {
  /** Done. Also after SIGTERM and SIGINT, and a second SIGTERM, because ending on request is no failure. */
  ok: 0,
  /** The server refused, or could not be reached. */
  failed: 1,
  /** The command line is wrong. */
  usage: 64,
  /** Cannot listen on the address; or this Node is too old. */
  unavailable: 69,
  /** A mistake of Sluice's own. */
  internal: 70,
  /** The drain's deadline came: some connections were closed before their clients were ready for it. */
  forced: 75,
  /** The configuration is wrong. */
  config: 78,
  /** Ctrl-C while it drained; as shells say it: 128 and the number of SIGINT. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** The command line is wrong: one line, and no stack. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The address cannot be listened on: one line, and no stack. */
export class UnavailableError extends Error {
  override readonly name = "UnavailableError";
}
