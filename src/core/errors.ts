/** One row: the HTTP status that answers it, whether the same request may succeed later, and how to mend it. */
export interface ErrorRow {
  readonly status: number;
  readonly isRetryable: boolean;
  readonly title: string;
  readonly hint: string;
}

/**
 * Every error that Sluice answers a request with. Users match the code; it never changes its meaning.
 * Why a *connection* ended is another table: `disconnect.ts`.
 */
export const ERRORS = {
  topic_name_invalid: {
    status: 400,
    isRetryable: false,
    title: "Not a topic name",
    hint: "Use 1-255 bytes of [A-Za-z0-9._~:@-] in segments separated by single slashes, none of them . or ..",
  },
  topic_pattern_invalid: {
    status: 400,
    isRetryable: false,
    title: "Not a topic pattern",
    hint: "Use * for one whole segment and ** only as the last segment, as in orders/*/status or orders/**",
  },
  topics_count_invalid: {
    status: 400,
    isRetryable: false,
    title: "Too few or too many topics",
    hint: "Name at least one topic=... and at most 1,000, of which 64 patterns; orders/** counts once",
  },
  topic_ended: {
    status: 409,
    isRetryable: false,
    title: "The topic has ended",
    hint: "Publish to another topic, or reopen this one with PUT /v1/topics/{topic}",
  },
  topics_exhausted: {
    status: 507,
    isRetryable: false,
    title: "No room for another topic",
    hint: "End topics that are no longer needed: they give way; or raise topicsMax",
  },
  event_name_invalid: {
    status: 400,
    isRetryable: false,
    title: "Not an event name",
    hint: "Use 1-255 bytes without CR, LF or NUL",
  },
  event_name_reserved: {
    status: 400,
    isRetryable: false,
    title: "The event name is reserved",
    hint: "open, error, hello, close, gap and end are spoken by Sluice or by EventSource itself; choose another",
  },
  event_key_invalid: {
    status: 400,
    isRetryable: false,
    title: "Not a conflation key",
    hint: "Use 1-255 characters",
  },
  event_too_large: {
    status: 413,
    isRetryable: false,
    title: "The event is too large",
    hint: "Publish a smaller event, or a link to the data; or raise eventBytesMax",
  },
  batch_too_large: {
    status: 413,
    isRetryable: false,
    title: "The batch is too large",
    hint: "Split it; each part is appended whole or not at all",
  },
  batch_empty: {
    status: 400,
    isRetryable: false,
    title: "The batch has no event",
    hint: "Send one JSON value a line",
  },
  body_not_utf8: {
    status: 400,
    isRetryable: false,
    title: "The body is not UTF-8",
    hint: "Event streams are UTF-8 only; encode binary data, for example as base64",
  },
  body_not_json: {
    status: 400,
    isRetryable: false,
    title: "The body is not JSON",
    hint: "Mend the JSON, or publish it as it is with Content-Type: text/plain",
  },
  media_type_unsupported: {
    status: 415,
    isRetryable: false,
    title: "Unsupported media type",
    hint: "Send application/json, application/x-ndjson or text/plain, without a Content-Encoding",
  },
  idempotency_key_invalid: {
    status: 400,
    isRetryable: false,
    title: "Not an idempotency key",
    hint: "Use 1-255 printable ASCII characters, new for each event",
  },
  idempotency_conflict: {
    status: 409,
    isRetryable: false,
    title: "The idempotency key was used for another event",
    hint: "Retry with exactly the same event, key, type and body, or use a new key",
  },
  settings_invalid: {
    status: 400,
    isRetryable: false,
    title: "Not topic settings",
    hint: "See the topic settings in docs/configuration.md",
  },
  parameter_invalid: {
    status: 400,
    isRetryable: false,
    title: "A parameter is wrong",
    hint: "See docs/protocol.md for the parameters of requests, and the types for those of the library",
  },
  header_duplicate: {
    status: 400,
    isRetryable: false,
    title: "A header was sent twice",
    hint: "Send Host, Last-Event-ID, Authorization and Idempotency-Key at most once",
  },
  request_malformed: {
    status: 400,
    isRetryable: false,
    title: "Not an HTTP request",
    hint: "Send HTTP/1.1 or HTTP/1.0 with one Host header, and no body where none is expected",
  },
  headers_too_large: {
    status: 431,
    isRetryable: false,
    title: "The headers are too large",
    hint: "Send at most 16 KiB of request line and headers",
  },
  request_target_invalid: {
    status: 400,
    isRetryable: false,
    title: "The request target is wrong",
    hint: "Send a path that starts with /, with valid percent-encoding",
  },
  host_forbidden: {
    status: 403,
    isRetryable: false,
    title: "This Host is not served in open mode",
    hint: "Without authentication only loopback names are served; call http://localhost or http://127.0.0.1",
  },
  origin_forbidden: {
    status: 403,
    isRetryable: false,
    title: "This Origin is not allowed",
    hint: "Start with --cors-origin <origin> to allow a page of that origin to call Sluice",
  },
  gap_refused: {
    status: 409,
    isRetryable: false,
    title: "The cursor cannot be continued exactly",
    hint: "Ask without on_gap=refuse to be told the gap in-band and go on, or start with last_event_id=earliest",
  },
  not_found: {
    status: 404,
    isRetryable: false,
    title: "Nothing is here",
    hint: "Topics are at /v1/topics/{topic}, many topics on one connection at /v1/events?topic=...",
  },
  method_not_allowed: {
    status: 405,
    isRetryable: false,
    title: "The method is not allowed here",
    hint: "See the Allow header",
  },
  not_acceptable: {
    status: 406,
    isRetryable: false,
    title: "None of the accepted types can be sent",
    hint: "Accept text/event-stream or */*",
  },
  request_timeout: {
    status: 408,
    isRetryable: true,
    title: "The request took too long to arrive",
    hint: "Send the headers within 10 s, and the body at 32 KiB in each 10 s at least",
  },
  expectation_failed: {
    status: 417,
    isRetryable: false,
    title: "The expectation cannot be met",
    hint: "Send Expect: 100-continue, or no Expect at all",
  },
  broker_unavailable: {
    status: 503,
    isRetryable: true,
    title: "The broker did not answer",
    hint: "Retry with the same Idempotency-Key; see the gateway's log for the reason",
  },
  too_many_connections: {
    status: 429,
    isRetryable: true,
    title: "Too many connections from one address",
    hint: "Close some, share one connection among topics (/v1/events), or raise perIpMax; behind a proxy set trustedProxies",
  },
  connection_unknown: {
    status: 404,
    isRetryable: false,
    title: "No such connection",
    hint: "Send the id of the Sluice-Connection header of a stream that is still open",
  },
  ack_unexpected: {
    status: 409,
    isRetryable: false,
    title: "There is nothing to acknowledge",
    hint: "Acknowledge event: close once, after it came, or a heartbeat of a stream that was opened with heartbeat=ack",
  },
  upstream_forbidden: {
    status: 403,
    isRetryable: false,
    title: "The address may not be reached",
    hint: "An address that comes from a request must be public; name the origin in the configuration to allow a private one",
  },
  upstream_unreachable: {
    status: 502,
    isRetryable: true,
    title: "The upstream cannot be reached",
    hint: "Start the origin, or mend its name and port in upstream or routes; `sluice pool` shows what the gateway sees",
  },
  upstream_tls: {
    status: 502,
    isRetryable: false,
    title: "The TLS handshake with the upstream failed",
    hint: "Mend the origin's certificate or its name, or name its authority in pool.ca",
  },
  upstream_protocol: {
    status: 502,
    isRetryable: true,
    title: "The upstream broke HTTP",
    hint: "See the gateway's log; the origin sent no valid HTTP, or cut its response short",
  },
  upstream_status: {
    status: 502,
    isRetryable: true,
    title: "The upstream did not go on with the stream",
    hint: "The origin answered the reconnect with another status or type than 200 text/event-stream",
  },
  upstream_encoding: {
    status: 502,
    isRetryable: false,
    title: "The upstream encoded the stream",
    hint: "Event streams are read as UTF-8 without Content-Encoding: switch compression off at the origin for text/event-stream",
  },
  upstream_event_too_large: {
    status: 502,
    isRetryable: false,
    title: "An event of the upstream is too large",
    hint: "Send smaller events from the origin, or a link to the data",
  },
  upstream_lost: {
    status: 502,
    isRetryable: true,
    title: "The upstream broke and cannot be resumed",
    hint: "Send the request again, with a new Idempotency-Key; an origin that sends ids and honours Last-Event-ID is resumed instead",
  },
  upstream_exhausted: {
    status: 503,
    isRetryable: true,
    title: "No socket to the upstream is free",
    hint: "Retry after the delay of Retry-After; raise pool.socketsMax if the origin can take more",
  },
  upstream_unavailable: {
    status: 503,
    isRetryable: true,
    title: "The upstream is not healthy",
    hint: "Retry after the delay of Retry-After; the gateway asks the origin again by itself",
  },
  upstream_timeout: {
    status: 504,
    isRetryable: true,
    title: "The upstream took too long",
    hint: "Retry; raise firstByte of the route, or connect of the pool, if the origin is known to be slow",
  },
  upstream_loop: {
    status: 508,
    isRetryable: false,
    title: "The upstream leads back to this gateway",
    hint: "Name the application's own address in upstream or routes, not one that Sluice answers",
  },
  upgrade_unsupported: {
    status: 501,
    isRetryable: false,
    title: "The protocol upgrade is not supported",
    hint: "WebSocket connections are not proxied; send them to the origin by another way",
  },
  run_unknown: {
    status: 404,
    isRetryable: false,
    title: "No such run",
    hint: "Send the id of the Sluice-Run header; a finished run is kept for runTtl and then forgotten",
  },
  run_stopped: {
    status: 409,
    isRetryable: false,
    title: "The run was stopped",
    hint: "Start another run, with a new Idempotency-Key",
  },
  run_failed: {
    status: 502,
    isRetryable: false,
    title: "The run's producer failed",
    hint: "See the log of the program that made the run",
  },
  runs_exhausted: {
    status: 503,
    isRetryable: true,
    title: "No room for another run",
    hint: "Retry when one has ended, stop runs with DELETE /v1/runs/{id}, or raise runs.max",
  },
  shutting_down: {
    status: 503,
    isRetryable: true,
    title: "This gateway is shutting down",
    hint: "Retry; another instance or the next start will answer",
  },
  internal_error: {
    status: 500,
    isRetryable: true,
    title: "Sluice made a mistake",
    hint: "Retry, and please report what the gateway logged",
  },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

/** The one error class of requests. `code` names a row of `ERRORS`; the message says what, with bound and value. */
export class SluiceError extends Error {
  override readonly name = "SluiceError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  get row(): ErrorRow {
    return ERRORS[this.code];
  }
}
