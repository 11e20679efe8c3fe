import type { Hub } from "../../core/hub.ts";
import type { Runtime } from "../../internal/clock.ts";
import type { HeaderList, UpstreamResponse } from "../../upstreams/message.ts";
import type { Source, SourceSink } from "../../upstreams/source/source.ts";
import type { Logger } from "../logger.ts";
import type { ProxyRoute } from "./route.ts";

/** `opening`: asks the origin. `live`: its stream is read. `asleep`: it is not, but can be continued. `ended`: it has said all. */
export type FeedState = "opening" | "live" | "asleep" | "ended" | "gone";

export const FEED_MOVES: Record<FeedState, readonly FeedState[]> = {
  opening: ["live", "asleep", "ended", "gone"],
  live: ["asleep", "ended", "gone"],
  asleep: ["opening", "gone"],
  ended: ["gone"],
  gone: [],
};

export type FeedOpened =
  | { readonly kind: "stream"; readonly headers: HeaderList }
  | { readonly kind: "response"; readonly response: UpstreamResponse };

export interface FeedOptions<FeedSelf> {
  readonly hub: Hub;
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly route: ProxyRoute;
  /** The hidden tenant in which its topic lives. */
  readonly tenant: string;
  /** Several readers share it: what the origin says to one of them is not for the others. */
  readonly isShared: boolean;
  /** Only who is this one may come back to it. Undefined: whoever asks with the same key. */
  readonly owner?: string | undefined;
  /** Reconnect delay that readers are told, in milliseconds, before jitter. */
  readonly retryMs: number;
  /** Starts the upstream request, which continues behind the origin's own `lastEventId` if there is one. */
  connect(sink: SourceSink, lastEventId: string | undefined): Source;
  /** The id behind which the very first request begins: a client's, and the origin's own. */
  readonly lastEventId?: string | undefined;
  /** Nothing is read of the origin any more; it is kept for those who come back. */
  onKept(feed: FeedSelf): void;
  /** It is over, and not to be found any more. */
  onGone(feed: FeedSelf): void;
}
