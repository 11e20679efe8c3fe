/** A configuration file as a plain tree, which knows where everything in it stands. */
export interface ConfigFile {
  readonly value: unknown;
  /** `line:column`, from 1, of the key or the value at `path`; of what encloses it if it is not there. */
  locate(path: readonly PropertyKey[], part: "key" | "value"): string;
}

/** What a parser of one format returns. `at` is `line:column`. */
export interface Parsed extends ConfigFile {
  readonly faults: readonly { readonly at: string; readonly message: string }[];
}
