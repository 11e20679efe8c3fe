/** What is wrong between values that are right each for itself. */
export interface Conflict {
  /** The one to change. */
  readonly key: string;
  /** All options that it is between. */
  readonly between: readonly string[];
  readonly message: string;
}
