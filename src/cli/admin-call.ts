import { SluiceClientError } from "../client/index.ts";
import type { ProblemDocument } from "../client/index.ts";

export interface AdminRequest {
  /** The URL of the admin listener. */
  readonly url: string;
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly query?: URLSearchParams;
  readonly signal?: AbortSignal;
}

/**
 * Asks the admin listener. Resolves with an answer that is no error; rejects with `SluiceClientError`:
 * `unreachable`, `refused`, or `not_sluice` where something else listens there.
 */
export async function callAdmin(request: AdminRequest): Promise<Response> {
  const { url, method, path, query, signal } = request;
  const target = new URL(`${url.replace(/\/+$/, "")}${path}`);
  if (query !== undefined) target.search = query.toString();
  let response: Response;
  try {
    response = await fetch(target, { method, redirect: "manual", ...(signal && { signal }) });
  } catch (error) {
    if (signal?.aborted === true) throw error;
    throw new SluiceClientError("unreachable", `no admin listener answers at ${url}`, {
      cause: error,
      problem: { title: "unreachable", status: 0, hint: HINT },
    });
  }
  if (response.ok) return response;
  const text = await response.text().catch(() => "");
  const problem = problemOf(response, text);
  if (problem === undefined) {
    throw new SluiceClientError(
      "not_sluice",
      `what answers at ${url} is no admin listener of Sluice`,
    );
  }
  // The public listener speaks the same way, and has nothing of this.
  const isElsewhere = problem.code === "not_found";
  throw new SluiceClientError("refused", `${problem.title}: ${problem.detail ?? ""}`, {
    problem: isElsewhere ? { ...problem, hint: HINT } : problem,
  });
}

const HINT = "name the admin listener of the gateway by --admin-url, as `sluice serve` prints it";

function problemOf(response: Response, text: string): ProblemDocument | undefined {
  const type = response.headers.get("content-type") ?? "";
  if (!type.startsWith("application/problem+json")) return undefined;
  try {
    return JSON.parse(text) as ProblemDocument;
  } catch {
    return undefined;
  }
}
