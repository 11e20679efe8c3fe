/** Thrown when Sluice breaks a promise to itself. Never the answer to bad input. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Asserts our own mistakes; what users get wrong is refused with an error from the table instead. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}
