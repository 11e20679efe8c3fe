import { SluiceError } from "../../core/errors.ts";
import { ownerOf } from "../../core/feed-tenant.ts";
import { Pattern } from "../../core/pattern.ts";
import { SUBSCRIBER_STATES } from "../../core/subscriber-state.ts";
import type { Subscriber } from "../../core/subscriber.ts";
import { isTopicSegment, problemOf } from "../../core/topic-name.ts";
import { parseDurationMs } from "../config/units.ts";
import type { Query } from "../query.ts";

export const FILTERS = ["tenant", "topic", "state", "ip", "longer_than"] as const;

/** True for the connections that are meant, at this monotonic time. */
export type Filter = (subscriber: Subscriber, now: number) => boolean;

/** Reads what `query` says of connections; what it does not say is no condition. Throws `parameter_invalid`. */
export function filterOf(query: Query): Filter {
  const tenant = query.one("tenant");
  const topic = query.one("topic");
  const state = query.oneOf("state", SUBSCRIBER_STATES);
  const ip = query.one("ip");
  const longerThanMs = durationOf(query.one("longer_than"));
  return (subscriber, now) =>
    (tenant === undefined || ownerOf(subscriber.tenant) === tenant) &&
    (state === undefined || subscriber.state === state) &&
    (longerThanMs === undefined || now - subscriber.openedAt > longerThanMs) &&
    (ip === undefined || addressOf(subscriber.connection?.peer ?? "") === ip) &&
    (topic === undefined || follows(subscriber, topic));
}

/** The address of a peer that is written as `ip:port`, without the mapping of IPv4 into IPv6. */
export function addressOf(peer: string): string {
  const address = peer.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
  return address.replace(/^::ffff:(?=\d+\.)/i, "");
}

function follows({ selection: { names, patterns } }: Subscriber, topic: string): boolean {
  if (names.includes(topic) || patterns.some(({ text }) => text === topic)) return true;
  // A pattern matches names only.
  if (Pattern.isPattern(topic) || problemOf(topic, isTopicSegment) !== undefined) return false;
  return patterns.some((pattern) => pattern.matches(topic));
}

function durationOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const durationMs = parseDurationMs(text);
  if (durationMs !== undefined) return durationMs;
  throw new SluiceError(
    "parameter_invalid",
    `longer_than is ${JSON.stringify(text.slice(0, 80))}, not a duration such as 250ms, 90s or 5m`,
  );
}
