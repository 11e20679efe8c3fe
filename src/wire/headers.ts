/** The version of HTTP that a response is written in. */
export type HttpVersion = "1.0" | "1.1" | "2";

type Headers = Readonly<Record<string, string>>;

// Accept: one URL answers as a stream, JSON or a page. Origin: so do CORS and the open mode's checks.
// Last-Event-ID is left out as Range is (RFC 9110, 12.5.5): it picks a place in the representation,
// not a representation, and nothing here may be stored anyway.
const VARY = "Accept, Origin";

const STREAM: Headers = {
  // Event streams are always UTF-8 (WHATWG HTML, 9.2.5); the charset is for people's tools that guess.
  "Content-Type": "text/event-stream; charset=utf-8",
  // no-transform: a proxy that compresses or rewrites also buffers. no-cache: for those that know only it.
  "Cache-Control": "no-cache, no-store, no-transform",
  Vary: VARY,
  // nginx and those that copied it hold a response back unless told not to.
  "X-Accel-Buffering": "no",
  "X-Content-Type-Options": "nosniff",
};

// By version. A stream's connection closes with it, so it says so (RFC 9112, 9.6): a client that had
// queued its next request there would be reset. HTTP/1.1 gets no Transfer-Encoding, because Node adds
// it. HTTP/2 forbids both (RFC 9113, 8.2.2), and capitals in names (8.2.1).
const STREAM_HEADERS: Readonly<Record<HttpVersion, Headers>> = {
  "1.0": Object.freeze({ ...STREAM, Connection: "close" }),
  "1.1": Object.freeze({ ...STREAM, Connection: "close" }),
  "2": Object.freeze(lowerCased(STREAM)),
};

const HEAD_HEADERS = Object.freeze(STREAM);

/** The headers of a 200 that carries an event stream. Frozen, and the same object at each call. */
export function streamHeaders(version: HttpVersion): Headers {
  return STREAM_HEADERS[version];
}

/** The headers that answer a HEAD of an event stream: nothing follows, so on HTTP/1.1 the connection goes on. */
export function streamHeadHeaders(version: HttpVersion): Headers {
  return version === "1.1" ? HEAD_HEADERS : STREAM_HEADERS[version];
}

/** The headers of an answer of known length: problem documents, JSON, text. Never stored. */
export function plainHeaders(version: HttpVersion, contentType: string): Record<string, string> {
  const headers = {
    "Content-Type": contentType,
    "Cache-Control": "no-store",
    Vary: VARY,
    "X-Content-Type-Options": "nosniff",
  };
  return version === "2" ? lowerCased(headers) : headers;
}

function lowerCased(headers: Headers): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
  );
}
