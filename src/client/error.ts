/**
 * Why a request failed for good.
 *
 * - `request_invalid`: fetch never sends it, whoever listens there; nothing has left this process.
 * - `refused`: the server answered with an error; `problem` has its words.
 * - `unreachable`: no answer came, or none that may be repeated; `cause` is the last failure.
 * - `not_sluice`: what answered is no Sluice: a redirect, a page, or another content type.
 * - `stream_invalid`: the stream has a line or event beyond the limits of this client.
 */
export type ClientErrorCode =
  | "request_invalid"
  | "refused"
  | "unreachable"
  | "not_sluice"
  | "stream_invalid";

/** An RFC 9457 document of Sluice; `code` never changes its meaning. */
export interface ProblemDocument {
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
  readonly code?: string;
  readonly hint?: string;
}

/** The one error class of the client. Match `code`, and `problem.code` where the server refused. */
export class SluiceClientError extends Error {
  override readonly name = "SluiceClientError";
  readonly code: ClientErrorCode;
  readonly problem: ProblemDocument | undefined;

  constructor(
    code: ClientErrorCode,
    message: string,
    options: ErrorOptions & { readonly problem?: ProblemDocument } = {},
  ) {
    super(message, options);
    this.code = code;
    this.problem = options.problem;
  }
}

/** Longer error bodies are somebody else's pages, in characters. */
const BODY_LENGTH_MAX = 64 * 1024;

/** Reads an answer that is an error. It never throws: what cannot be read is told by its status. */
export async function refusalOf(response: Response): Promise<SluiceClientError> {
  const { status } = response;
  const type = response.headers.get("content-type") ?? "";
  const text = await response.text().catch(() => "");
  const problem = type.startsWith("application/problem+json") ? parseProblem(text, status) : {};
  const { title = `HTTP ${status} ${response.statusText}`.trim() } = problem;
  const detail = problem.detail === undefined ? title : `${title}: ${problem.detail}`;
  return new SluiceClientError("refused", detail, { problem: { ...problem, title, status } });
}

/** What stands for a redirect: its target in Node, an opaque answer in browsers. */
export function isRedirect(response: Response): boolean {
  const { type, status } = response;
  return type === "opaqueredirect" || (status >= 300 && status < 400);
}

/** Redirects are not followed: they could carry credentials away (S18). */
export function redirectRefused(response: Response): SluiceClientError {
  const target = response.headers.get("location") ?? "another address";
  return new SluiceClientError("not_sluice", `the server redirects to ${target}; use that URL`);
}

function parseProblem(text: string, status: number): Partial<ProblemDocument> {
  if (text.length > BODY_LENGTH_MAX) return {};
  try {
    const document: unknown = JSON.parse(text);
    if (typeof document !== "object" || document === null) return {};
    const members = document as Record<string, unknown>;
    const texts = ["title", "detail", "code", "hint"].flatMap((name) =>
      typeof members[name] === "string" ? [[name, members[name]] as const] : [],
    );
    return { ...Object.fromEntries(texts), status };
  } catch {
    return {};
  }
}
