import { createHub } from "sluice";
import type { CreateHubOptions, LocalHub, TopicItem } from "sluice";
import { onTestFinished } from "vitest";

/** A hub that is closed with the test. */
export function openHub(options: CreateHubOptions = {}): LocalHub {
  const hub = createHub(options);
  onTestFinished(() => hub.close());
  return hub;
}

/** The next `count` items; fewer if the iteration ends first. It is left open for more. */
export async function take(items: AsyncIterator<TopicItem>, count: number): Promise<TopicItem[]> {
  const taken: TopicItem[] = [];
  while (taken.length < count) {
    const next = await items.next();
    if (next.done === true) break;
    taken.push(next.value);
  }
  return taken;
}

/** The data of events; for a gap, its reason in brackets. */
export function told(items: readonly TopicItem[]): string[] {
  return items.map((item) => (item.type === "event" ? item.data : `[${item.reason}]`));
}

/** Everything up to the end of the iteration. */
export async function drain(items: AsyncIterable<TopicItem>): Promise<string[]> {
  const all: TopicItem[] = [];
  for await (const item of items) all.push(item);
  return told(all);
}
