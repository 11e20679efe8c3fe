import type { IncomingMessage, ServerResponse } from "node:http";
import { SluiceError } from "../core/errors.ts";
import type { Gap } from "../core/control.ts";
import type { Metrics } from "../core/metrics.ts";
import { plainHeaders } from "../wire/headers.ts";
import { hasBody } from "./body.ts";
import { holdForEver } from "./held.ts";
import type { Logger } from "./logger.ts";

/** How long the rest of a refused body is read and dropped, in milliseconds; see `answerProblem`. */
const LINGER_MS = 1_000;
/** A refused body up to this length is read and dropped so that the connection can go on, in bytes. */
const DISCARD_BYTES_MAX = 64 * 1024;

/** RFC 9457, with Sluice's own members. Match `code`: it never changes its meaning. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly hint: string;
  readonly retryable: boolean;
  readonly gap?: Gap;
}

/** Headers that an error brings along, beside those of every problem document. */
export interface Refusal {
  readonly gap?: Gap | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An error with what its answer needs beyond the table's row. */
export class RefusedError extends SluiceError {
  readonly refusal: Refusal;

  constructor(error: SluiceError, refusal: Refusal) {
    super(error.code, error.message, { cause: error });
    this.refusal = refusal;
  }
}

export function problemOf(error: SluiceError): Problem {
  const { code, message, row } = error;
  const gap = error instanceof RefusedError ? error.refusal.gap : undefined;
  return {
    type: `urn:sluice:error:${code}`,
    title: row.title,
    status: row.status,
    detail: message,
    code,
    hint: row.hint,
    retryable: row.isRetryable,
    ...(gap !== undefined && { gap }),
  };
}

/** Whatever was thrown, as an error of the table. What is not ours is logged and told to nobody else. */
export function toSluiceError(thrown: unknown, logger: Logger): SluiceError {
  if (thrown instanceof SluiceError) {
    if (thrown.code === "internal_error") logger.error({ err: thrown }, "request failed");
    return thrown;
  }
  logger.error({ err: thrown }, "request failed");
  return new SluiceError("internal_error", "the request could not be answered");
}

/** The document as bytes, and the headers that go with it. */
export function renderProblem(error: SluiceError): {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
} {
  const body = Buffer.from(`${JSON.stringify(problemOf(error))}\n`);
  const headers: Record<string, string> = {
    ...plainHeaders("1.1", "application/problem+json"),
    "Content-Length": String(body.length),
    ...(error.row.status === 503 && error.row.isRetryable && { "Retry-After": "1" }),
    ...(error instanceof RefusedError && error.refusal.headers),
  };
  return { status: error.row.status, headers, body };
}

/**
 * Answers with the problem document, and counts it. Where the body of the request has not been read,
 * the rest is dropped: a short one so that the connection stays usable, a long one for a second at
 * most, and then the connection is closed. To close at once would make the kernel send a reset,
 * which can overtake the answer.
 */
export function answerProblem(
  request: IncomingMessage,
  response: ServerResponse,
  error: SluiceError,
  metrics: Metrics,
): void {
  metrics.add("sluice_requests_rejected_total", error.code);
  if (response.headersSent) {
    request.socket.destroy();
    return;
  }
  const { status, headers, body } = renderProblem(error);
  const mustClose = hasBody(request) && !request.complete && !isShort(request);
  if (mustClose) {
    headers["Connection"] = "close";
    holdForEver(request.socket);
  }
  response.writeHead(status, headers);
  if (mustClose) endBehindBody(request, response, body);
  else response.end(request.method === "HEAD" ? undefined : body);
}

/**
 * Ends a response that closes its connection, once what is left of the request's body was read and
 * dropped, or a second has passed.
 */
export function endBehindBody(
  request: IncomingMessage,
  response: ServerResponse,
  body: Buffer,
): void {
  if (!hasBody(request) || request.complete) {
    response.end(request.method === "HEAD" ? undefined : body);
    return;
  }
  response.write(body);
  const finish = (): void => {
    clearTimeout(timer);
    response.end();
  };
  const timer = setTimeout(finish, LINGER_MS);
  timer.unref();
  request.once("end", finish).once("close", finish).resume();
}

function isShort(request: IncomingMessage): boolean {
  const length = request.headers["content-length"];
  // Whoever waits for `100 Continue` may never send the body: the next bytes could be anything.
  if (request.headers.expect !== undefined) return false;
  return length !== undefined && Number(length) <= DISCARD_BYTES_MAX;
}
