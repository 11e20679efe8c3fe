/**
 * What becomes of a run that nobody reads any more. `cancel`: it is stopped at once; `grace`: after `ms`
 * milliseconds without a reader; `detach`: it goes on, and can be read later.
 */
export type ReadersGone =
  | { readonly kind: "cancel" }
  | { readonly kind: "detach" }
  | { readonly kind: "grace"; readonly ms: number };

export interface RunOptions {
  /** Counts from the first reader on: a run that was never read goes on. @defaultValue detach */
  readonly onReadersGone: ReadersGone;
  /** How long a run that is over can be read, in milliseconds. @defaultValue 1 h */
  readonly ttlMs: number;
  /** A run that has not come to its end by then is `expired`, in milliseconds. @defaultValue 24 h */
  readonly ageMsMax: number;
  /** What is kept of it, in bytes of frames; readers that come later are told a gap. @defaultValue 16 MiB */
  readonly bytesMax: number;
  /** What Sluice itself says to its readers comes in comments. @defaultValue false */
  readonly isQuiet: boolean;
}

export const RUN_DEFAULTS: RunOptions = Object.freeze({
  onReadersGone: Object.freeze({ kind: "detach" } as const),
  ttlMs: 3_600_000,
  ageMsMax: 86_400_000,
  bytesMax: 16 * 1024 * 1024,
  isQuiet: false,
});

export interface RunsOptions {
  /** Runs of all tenants that are kept; of those that are over the oldest gives way. @defaultValue 10,000 */
  readonly runsMax: number;
  /** Runs of one tenant that are open. @defaultValue as many as `runsMax` */
  readonly perTenantMax: number;
}

export const RUNS_DEFAULTS: RunsOptions = Object.freeze({ runsMax: 10_000, perTenantMax: 10_000 });
