import { make } from "./dom.ts";

/** What the gateway answers a request with that it refuses (RFC 9457). */
export interface Problem {
  readonly title: string;
  readonly detail?: string | undefined;
  readonly hint?: string | undefined;
  readonly code?: string | undefined;
  readonly status?: number | undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** Reads the problem document of an answer that is no success; whatever else it holds becomes one. */
export async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text();
  const plain = { title: `HTTP ${response.status}`, detail: text.slice(0, 500) };
  if (!(response.headers.get("content-type") ?? "").includes("json")) return plain;
  try {
    const body = JSON.parse(text) as Record<string, unknown>;
    return {
      title: textOf(body["title"]) ?? plain.title,
      detail: textOf(body["detail"]),
      hint: textOf(body["hint"]),
      code: textOf(body["code"]),
      status: response.status,
    };
  } catch {
    return plain;
  }
}

/** The gateway did not answer at all. */
export function unreachable(): Problem {
  return {
    title: "The gateway did not answer",
    detail: "The request failed before there was an answer.",
    hint: "Is it still running?",
  };
}

/** A problem, loud and complete. */
export function problemCard(problem: Problem): HTMLElement {
  const card = make("div", "problem");
  card.setAttribute("role", "alert");
  const title = make("p", "problem-title", problem.title);
  if (problem.code !== undefined) {
    title.append(" ", make("code", "", `${problem.status ?? ""} ${problem.code}`.trim()));
  }
  card.append(title);
  if (problem.detail !== undefined) card.append(make("p", "", problem.detail));
  if (problem.hint !== undefined) card.append(make("p", "problem-hint", problem.hint));
  return card;
}
