const SEGMENT = /^[A-Za-z0-9._~:@-]+$/;
const LENGTH_MAX = 255;
const SEGMENTS_MAX = 32;

/**
 * What is wrong with a topic's name; nothing when it is sound. The gateway would say so too, but a
 * URL whose segment is `..` never reaches it: the browser resolves it away.
 */
export function topicProblem(name: string): string | undefined {
  if (name === "") return "A topic needs a name.";
  if (name.length > LENGTH_MAX) return `A topic's name has at most ${LENGTH_MAX} characters.`;
  const segments = name.split("/");
  if (segments.length > SEGMENTS_MAX) return `A topic's name has at most ${SEGMENTS_MAX} segments.`;
  for (const segment of segments) {
    if (segment === "") return "A segment between two slashes may not be empty.";
    if (segment === "." || segment === "..") return `A segment may not be "${segment}".`;
    if (!SEGMENT.test(segment)) return "Only letters, digits, . _ ~ : @ - and / may be used.";
  }
  return undefined;
}

/** The topic's URL, for a page at `base`. All that a sound name may hold stands in a path as it is. */
export function topicUrl(topic: string, base: string): URL {
  return new URL(`v1/topics/${topic}`, base);
}

/** Where one event is published. */
export function publishUrl(topic: string, event: string, base: string): URL {
  const url = topicUrl(topic, base);
  // Not URLSearchParams: it writes a space as "+", which is right for forms only.
  if (event !== "") url.search = `?event=${encodeURIComponent(event)}`;
  return url;
}

/** Where a goodbye is acknowledged. */
export function ackUrl(connection: string, base: string): URL {
  return new URL(`v1/connections/${encodeURIComponent(connection)}/ack`, base);
}

/** Where a subscriber connects. `after` is a cursor, or `earliest`, `latest`, `last:<n>`. */
export function subscribeUrl(topic: string, after: string, base: string): URL {
  const url = topicUrl(topic, base);
  // hello names the connection and, by its lastEventId, the place at which it starts.
  url.search = `?last_event_id=${encodeURIComponent(after)}&hello=1`;
  return url;
}
