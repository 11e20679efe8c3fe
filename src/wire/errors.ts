/**
 * Why bytes could not be written or read as an event stream.
 *
 * - `field_invalid`: CR, LF or NUL in a field that must be one line, or a field that may not be empty is.
 * - `line_too_large`: an incoming line is longer than `lineBytesMax`.
 * - `event_too_large`: the data of an incoming event is longer than `eventBytesMax`.
 */
export type WireErrorCode = "field_invalid" | "line_too_large" | "event_too_large";

/** The message names the field, its bound and what was found; match `code`. */
export class WireError extends Error {
  override readonly name = "WireError";
  readonly code: WireErrorCode;

  constructor(code: WireErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
