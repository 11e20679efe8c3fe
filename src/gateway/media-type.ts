import type { IncomingMessage } from "node:http";
import { SluiceError } from "../core/errors.ts";

/** How the body of a publish is taken. */
export type BodyKind = "json" | "ndjson" | "text";

const KINDS: Readonly<Record<string, BodyKind>> = {
  "application/json": "json",
  "application/x-ndjson": "ndjson",
  "application/ndjson": "ndjson",
  "text/plain": "text",
  // What `curl -d` sends: taken as the text that it is, undecoded.
  "application/x-www-form-urlencoded": "text",
};

/**
 * Throws `media_type_unsupported` for another type, another charset than UTF-8, and any
 * Content-Encoding: what a body unpacks to cannot be bounded before it is unpacked.
 */
export function bodyKindOf(request: IncomingMessage): BodyKind {
  const { "content-type": contentType, "content-encoding": encoding } = request.headers;
  if (encoding !== undefined && encoding.toLowerCase() !== "identity") {
    throw new SluiceError("media_type_unsupported", `Content-Encoding ${shown(encoding)}`);
  }
  if (contentType === undefined) return "text";
  const [type = "", ...parameters] = contentType.split(";").map((part) => part.trim());
  const kind = Object.hasOwn(KINDS, type.toLowerCase()) ? KINDS[type.toLowerCase()] : undefined;
  if (kind === undefined) {
    throw new SluiceError("media_type_unsupported", `Content-Type ${shown(type)}`);
  }
  for (const parameter of parameters) {
    const [name = "", value = ""] = parameter.toLowerCase().split("=");
    if (name.trim() !== "charset") continue;
    if (!/^"?utf-?8"?$/.test(value.trim())) {
      throw new SluiceError("media_type_unsupported", `charset ${shown(value)} is not UTF-8`);
    }
  }
  return kind;
}

function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
}
