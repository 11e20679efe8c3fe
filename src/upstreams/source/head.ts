import { SluiceError } from "../../core/errors.ts";
import type { HeaderList, UpstreamResponse } from "../message.ts";

/** True for a response that announces an event stream; whether it can be read is for `checkStream` to say. */
export function isStream({ status, headers }: UpstreamResponse): boolean {
  return status === 200 && mediaType(headers) === "text/event-stream";
}

/**
 * Throws for an event stream that cannot be read: `upstream_encoding` for a Content-Encoding, which was
 * not asked for and is not undone here, so that no few bytes become gigabytes (U09); `upstream_status`
 * for a charset other than UTF-8 (U07; WHATWG HTML, 9.2.5: always decoded as UTF-8).
 */
export function checkStream({ headers }: UpstreamResponse): void {
  const encoding = valueOf(headers, "content-encoding").toLowerCase();
  if (encoding !== "" && encoding !== "identity") {
    throw new SluiceError(
      "upstream_encoding",
      `the origin sent Content-Encoding: ${shown(encoding)} although identity was asked for`,
    );
  }
  const charset = /;\s*charset="?([^";\s]*)/i.exec(valueOf(headers, "content-type"))?.[1];
  if (charset !== undefined && !/^utf-?8$/i.test(charset)) {
    throw new SluiceError(
      "upstream_status",
      `the origin's stream has the charset ${shown(charset)}`,
    );
  }
}

/** Why a reconnect was not answered with the stream. */
export function notTheStream({ status, headers }: UpstreamResponse): SluiceError {
  const type = mediaType(headers);
  return new SluiceError(
    "upstream_status",
    `the origin answered the reconnect with ${status}${type === "" ? "" : ` ${shown(type)}`}`,
  );
}

function mediaType(headers: HeaderList): string {
  return (valueOf(headers, "content-type").split(";", 1)[0] ?? "").trim().toLowerCase();
}

function valueOf(headers: HeaderList, wanted: string): string {
  return headers
    .filter(([name]) => name === wanted)
    .map(([, value]) => value.trim())
    .join(", ");
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}
