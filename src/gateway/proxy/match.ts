import { SluiceError } from "../../core/errors.ts";
import type { ProxyRoute } from "./route.ts";

interface Compiled {
  readonly route: ProxyRoute;
  readonly segments: readonly string[];
  /** It ends in `**`: any number of segments may follow, none too. */
  readonly isOpen: boolean;
}

/** Which route a path takes: the first that matches. Undefined where none does. */
export type RouteFinder = (path: string) => ProxyRoute | undefined;

/**
 * Paths are compared as they are written, segment by segment, in linear time (S17). Throws
 * `request_target_invalid` for a path with `.` or `..` segments where a route matches: the origin might
 * resolve them to a path of another route.
 */
export function routeFinder(routes: readonly ProxyRoute[]): RouteFinder {
  const compiled = routes.map(compile);
  return (path) => {
    const segments = path.split("/").slice(1);
    const found = compiled.find((candidate) => matches(candidate, segments));
    if (found === undefined) return undefined;
    if (segments.some(isDots)) {
      throw new SluiceError("request_target_invalid", "the path has . or .. segments");
    }
    return found.route;
  };
}

function compile(route: ProxyRoute): Compiled {
  const segments = route.match.split("/").slice(1);
  const isOpen = segments.at(-1) === "**";
  return { route, segments: isOpen ? segments.slice(0, -1) : segments, isOpen };
}

function matches({ segments, isOpen }: Compiled, path: readonly string[]): boolean {
  if (isOpen ? path.length < segments.length : path.length !== segments.length) return false;
  return segments.every((segment, at) => segment === "*" || segment === path[at]);
}

/**
 * `%2e` is a dot and `%2f` a slash to whoever decodes before resolving (RFC 3986, 6.2.2.2); to some a
 * backslash is a slash, and what follows a semicolon no part of the name.
 */
function isDots(segment: string): boolean {
  const parts = segment.replaceAll(/%2e/gi, ".").split(/[\\;]|%(?:2f|3b|5c)/i);
  return parts.some((part) => part === "." || part === "..");
}
