/** The longest text that is looked at as a cursor, in bytes. Ours are at most 81. */
export const CURSOR_BYTES_MAX = 128;

/** A place in a tenant's order: everything up to and including `seq` has been seen. */
export interface Cursor {
  readonly epoch: string;
  readonly seq: number;
}

// No dot in the epoch, so that the only dot separates. No quantifier meets another on the same
// characters, so matching is linear whatever a client sends.
const EPOCH = /^[A-Za-z0-9_~-]{1,64}$/;
const CURSOR = /^([A-Za-z0-9_~-]{1,64})\.(0|[1-9][0-9]{0,15})$/;

/**
 * The text of a cursor, `<epoch>.<seq>`, as it stands in `id:` and `Last-Event-ID`.
 *
 * Throws `RangeError` unless `epoch` is 1 to 64 of `[A-Za-z0-9_~-]` and `seq` an integer in [0, 2^53).
 */
export function formatCursor(epoch: string, seq: number): string {
  if (!EPOCH.test(epoch)) {
    throw new RangeError(`epoch must be 1 to 64 of [A-Za-z0-9_~-], not ${JSON.stringify(epoch)}`);
  }
  if (!Number.isSafeInteger(seq) || seq < 0) {
    throw new RangeError(`seq must be an integer from 0 to 2^53 - 1, not ${seq}`);
  }
  return `${epoch}.${seq}`;
}

/**
 * Reads what a client sent as its cursor. Never throws; `undefined` for anything that
 * {@link formatCursor} does not write, so one place has one text ("1" and "01" are not both it).
 */
export function parseCursor(text: string): Cursor | undefined {
  if (text.length > CURSOR_BYTES_MAX) return undefined;
  const match = CURSOR.exec(text);
  if (match === null) return undefined;
  const [, epoch, digits] = match;
  const seq = Number(digits);
  // 2^53 and above: the nearest double may be another event's number.
  if (epoch === undefined || !Number.isSafeInteger(seq)) return undefined;
  return { epoch, seq };
}
