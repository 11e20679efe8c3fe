/** What a subscription can be answered with. `page`: the playground. */
export type Representation = "stream" | "page";

/**
 * Negotiates by RFC 9110, 12.5.1: of the ranges that match a type, the most specific one counts. The
 * page only wins if it is asked for by name and preferred, as browsers do when they navigate: their
 * wildcard has a lower weight. Undefined if nothing that there is may be sent.
 */
export function negotiate(
  accept: string | undefined,
  hasPage: boolean,
): Representation | undefined {
  if (accept === undefined || accept.trim() === "") return "stream";
  const weights = weightsOf(accept);
  const stream =
    weights.get("text/event-stream") ?? weights.get("text/*") ?? weights.get("*/*") ?? 0;
  const page = hasPage ? (weights.get("text/html") ?? 0) : 0;
  if (page > stream) return "page";
  return stream > 0 ? "stream" : undefined;
}

function weightsOf(accept: string): Map<string, number> {
  const weights = new Map<string, number>();
  for (const range of accept.split(",")) {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    const weight = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2);
    const value = weight === undefined ? 1 : Number(weight);
    weights.set(type, value >= 0 && value <= 1 ? value : 0);
  }
  return weights;
}
