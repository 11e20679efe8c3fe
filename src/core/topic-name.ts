import { SluiceError } from "./errors.ts";

export const TOPIC_BYTES_MAX = 255;
export const TOPIC_SEGMENTS_MAX = 32;
const SEGMENT = /^[A-Za-z0-9._~:@-]+$/;

/**
 * Returns `name` when it is a topic name, and throws `topic_name_invalid` otherwise.
 * 1-255 bytes, at most 32 segments of `[A-Za-z0-9._~:@-]` separated by `/`; no empty, `.` or `..` segment.
 */
export function checkTopicName(name: string): string {
  const problem = problemOf(name, (segment) => SEGMENT.test(segment));
  if (problem !== undefined) throw new SluiceError("topic_name_invalid", describe(name, problem));
  return name;
}

/** What is wrong with a name whose segments must satisfy `isSegment`; nothing when it is sound. */
export function problemOf(
  name: string,
  isSegment: (segment: string, index: number, count: number) => boolean,
): string | undefined {
  if (name.length === 0) return "it is empty";
  // A name that passes has ASCII only, so its length in UTF-16 units is its length in bytes.
  if (name.length > TOPIC_BYTES_MAX) {
    return `it has ${name.length} bytes, more than ${TOPIC_BYTES_MAX}`;
  }
  const segments = name.split("/");
  if (segments.length > TOPIC_SEGMENTS_MAX) {
    return `it has ${segments.length} segments, more than ${TOPIC_SEGMENTS_MAX}`;
  }
  for (const [index, segment] of segments.entries()) {
    if (segment === "") return "it has an empty segment";
    if (segment === "." || segment === "..") return `it has the segment "${segment}"`;
    if (!isSegment(segment, index, segments.length)) {
      return "a segment has a character outside [A-Za-z0-9._~:@-]";
    }
  }
  return undefined;
}

/** Names the culprit without repeating bytes that a terminal or a log might interpret. */
export function describe(name: string, problem: string): string {
  const shown = JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}...` : name);
  return `${shown}: ${problem}`;
}

/** True when `segment` may stand in a topic name. */
export function isTopicSegment(segment: string): boolean {
  return SEGMENT.test(segment);
}
