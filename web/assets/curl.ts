import { publishUrl, topicUrl } from "./topic.ts";

export interface PublishInput {
  readonly topic: string;
  /** The event's name; empty for none. */
  readonly event: string;
  /** `application/json` or `text/plain`. */
  readonly type: string;
  readonly data: string;
}

/** One word of a POSIX shell, whatever it holds. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

// Two lines, as people write it: the second is what changes from event to event.
const CONTINUED = " \\\n  ";

/** A command for sh that publishes what the page would. */
export function curlPublish(input: PublishInput, base: string): string {
  const { topic, event, type, data } = input;
  const url = quoted(publishUrl(topic, event, base).href);
  // --data-raw and not --data: data that begins with @ would be taken as the name of a file.
  return `curl ${url}${CONTINUED}-H ${quoted(`Content-Type: ${type}`)}${CONTINUED}--data-raw ${quoted(data)}`;
}

/** A command for sh that goes on reading behind `after`: an id, or `earliest`, `latest`, `last:<n>`. */
export function curlSubscribe(topic: string, after: string, base: string): string {
  const url = quoted(topicUrl(topic, base).href);
  return `curl -N ${url}${CONTINUED}-H ${quoted(`Last-Event-ID: ${after}`)}`;
}
