import { SluiceError } from "../../core/errors.ts";
import { parseOrigin } from "../../upstreams/origin.ts";
import type { ReadersGone } from "../../upstreams/runs/run-options.ts";
import { leafSchema } from "./leaf.ts";
import { nearest } from "./nearest.ts";
import { shown } from "./problem.ts";
import { formatDuration, parseDurationMs } from "./units.ts";

const PATTERN_LENGTH_MAX = 1_024;
const DAY_MS = 86_400_000;

/** Where requests go: scheme, host and port; empty for none. Read as `http://app:3000`, without a slash. */
export function upstream(description: string): ReturnType<typeof leafSchema<string>> {
  return leafSchema({
    description,
    expects: "an origin such as http://app:3000 or https://api.example.com",
    placeholder: "origin",
    said: "text",
    jsonSchema: { type: "string", maxLength: 1_024 },
    read: (value) => (value === "" ? "" : originOf(value)),
    fromText: (text) => text,
    format: (value) => value,
    hint: originHint,
  });
}

function originOf(value: unknown): string | undefined {
  if (typeof value !== "string") return undefined;
  try {
    parseOrigin(value, { isNamed: true });
    return new URL(value).origin;
  } catch (error) {
    if (error instanceof SluiceError) return undefined;
    throw error;
  }
}

/** What people write instead of an origin, and what they meant by it. */
function originHint(value: unknown): string | undefined {
  const text = typeof value === "number" ? String(value) : value;
  if (typeof text !== "string") return undefined;
  const meant = (origin: string | undefined): string =>
    origin === undefined ? "" : `; did you mean "${origin}"?`;
  if (/^[0-9]{1,5}$/.test(text)) {
    return `the scheme and host are missing${meant(originOf(`http://127.0.0.1:${text}`))}`;
  }
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) {
    return `the scheme is missing${meant(originOf(`http://${text.replace(/^\/+/, "")}`))}`;
  }
  const url = URL.parse(text);
  if (url === null) return "it is no URL";
  if (!/^https?:$/.test(url.protocol)) return "the scheme must be http or https";
  // What they are is not shown.
  if (url.username !== "" || url.password !== "") return "an origin has no user and no password";
  if (url.pathname !== "/" || url.search !== "" || url.hash !== "") {
    return `an origin has no path, because paths are passed on as they are${meant(originOf(url.origin))}`;
  }
  return undefined;
}

/** Paths that are proxied. */
export function pathPattern(description: string): ReturnType<typeof leafSchema<string>> {
  return leafSchema({
    description,
    expects: "a path pattern such as /chat/* or /api/**",
    placeholder: "pattern",
    said: "file",
    jsonSchema: { type: "string", minLength: 1, maxLength: PATTERN_LENGTH_MAX, pattern: "^/" },
    read: (value) =>
      typeof value === "string" && faultOfPattern(value) === undefined ? value : undefined,
    fromText: (text) => text,
    format: (value) => value,
    hint: (value) => (typeof value === "string" ? faultOfPattern(value) : undefined),
  });
}

function faultOfPattern(text: string): string | undefined {
  if (text.length > PATTERN_LENGTH_MAX) return `it is longer than ${PATTERN_LENGTH_MAX}`;
  if (!text.startsWith("/")) {
    return /^https?:/i.test(text) ? "where requests go is said by `to`" : "it must begin with /";
  }
  if (/[?#]/.test(text)) return "queries are passed on, and no part of a pattern";
  // oxlint-disable-next-line no-control-regex -- these are in no path
  if (/[\u0000-\u0020\u007f]/.test(text)) return "write spaces as %20";
  const segments = text.slice(1).split("/");
  for (const [index, segment] of segments.entries()) {
    const isLast = index === segments.length - 1;
    if (segment === "" && !isLast) return "it has an empty segment";
    if (segment === "." || segment === "..") return "no segment may be . or ..";
    if (segment === "**" && !isLast) return "** must be the last segment";
    if (segment.includes("*") && !/^\*\*?$/.test(segment)) return "* is a whole segment";
  }
  return undefined;
}

/** One path of an origin; empty for none. */
export function originPath(description: string): ReturnType<typeof leafSchema<string>> {
  return leafSchema({
    description,
    expects: "a path such as /healthz",
    placeholder: "path",
    said: "text",
    jsonSchema: { type: "string", maxLength: PATTERN_LENGTH_MAX, pattern: "^(/|$)" },
    read: (value) =>
      // RFC 9110, 4.1: what stands in a request line has no spaces, controls or fragment.
      typeof value === "string" && /^(\/[!-"$-~]{0,1023})?$/.test(value) ? value : undefined,
    fromText: (text) => text,
    format: (value) => value,
    hint: (value) =>
      typeof value === "string" && /^https?:/i.test(value)
        ? "the path alone, each origin is asked for it"
        : undefined,
  });
}

/** Names of request headers, read in lower case. */
export function headerNames(description: string): ReturnType<typeof leafSchema<readonly string[]>> {
  return leafSchema({
    description,
    expects: "a list of header names such as authorization",
    placeholder: "name",
    said: "file",
    jsonSchema: { type: "array", items: { type: "string" }, maxItems: 1_000 },
    read: (value) =>
      Array.isArray(value) && value.length <= 1_000 && value.every(isHeaderName)
        ? value.map((name) => name.toLowerCase())
        : undefined,
    fromText: (text) => text,
    format: (value) => value,
    hint(value) {
      if (!Array.isArray(value)) return undefined;
      return `${shown(value.find((name) => !isHeaderName(name)))} is none`;
    },
  });
}

/** RFC 9110, 5.6.2: token. */
function isHeaderName(value: unknown): value is string {
  return typeof value === "string" && /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/.test(value);
}

/** What becomes of a run that nobody reads any more. */
export function readersGone(description: string): ReturnType<typeof leafSchema<ReadersGone>> {
  return leafSchema({
    description,
    expects: "cancel, detach or grace(<duration>) such as grace(30s)",
    placeholder: "what",
    said: "file",
    jsonSchema: { type: "string", pattern: "^(cancel|detach|grace\\([^()]+\\))$" },
    read: readersGoneOf,
    fromText: (text) => text,
    format: formatReadersGone,
    hint(value) {
      if (typeof value !== "string") return undefined;
      if (/^grace\b/.test(value)) return "grace takes a duration from 1ms to 1d, as in grace(30s)";
      const meant = nearest(value, ["cancel", "detach", "grace(30s)"]);
      return meant === undefined ? undefined : `did you mean "${meant}"?`;
    },
  });
}

function readersGoneOf(value: unknown): ReadersGone | undefined {
  if (value === "cancel" || value === "detach") return { kind: value };
  const [, inner] = typeof value === "string" ? (/^grace\((.+)\)$/.exec(value) ?? []) : [];
  const ms = parseDurationMs(inner);
  return ms !== undefined && ms >= 1 && ms <= DAY_MS ? { kind: "grace", ms } : undefined;
}

export function formatReadersGone(value: ReadersGone): string {
  return value.kind === "grace" ? `grace(${formatDuration(value.ms)})` : value.kind;
}
