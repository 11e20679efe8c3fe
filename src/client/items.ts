/** An event of a topic. `id` is the cursor to resume from after it. */
export interface ReceivedEvent {
  readonly type: "event";
  readonly id: string;
  readonly topic: string;
  /** `"message"` where the publisher named none. */
  readonly event: string;
  readonly data: string;
}

/** What lies in (`from`, `to`] cannot be delivered; what is retained follows. */
export interface ReceivedGap {
  readonly type: "gap";
  readonly reason: string;
  readonly from: string | null;
  readonly to: string;
  /** Some topics that are concerned, where not all are. */
  readonly topics?: readonly string[];
}

/** A topic has ended: nothing follows on it. */
export interface ReceivedEnd {
  readonly type: "end";
  readonly id: string;
  readonly topic: string;
  readonly reason: string;
}

export type ReceivedItem = ReceivedEvent | ReceivedGap | ReceivedEnd;
