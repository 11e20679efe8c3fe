import { assert } from "../internal/assert.ts";
import type { Runtime } from "../internal/clock.ts";
import type { Attachment, Broker, Tail } from "./broker.ts";
import type { DisconnectReason } from "./disconnect.ts";
import type { Heartbeat } from "./heartbeat.ts";
import { LaneHub } from "./lane-hub.ts";
import type { LaneTenant } from "./lane-hub.ts";
import { isBelow, nextLane } from "./lanes.ts";
import type { Metrics } from "./metrics.ts";
import type { Publication } from "./publication.ts";
import type { Lane } from "./settings.ts";
import type { Slice } from "./slice.ts";
import { Subscriber } from "./subscriber.ts";
import type { SubscriberOptions } from "./subscriber-options.ts";

export interface TenantHubOptions {
  readonly name: string;
  readonly broker: Broker;
  readonly runtime: Runtime;
  readonly metrics: Metrics;
  readonly heartbeat: Heartbeat;
  /** Asks the flush for a turn. */
  schedule(tenant: TenantHub): void;
  /** A subscriber has its connection. */
  onAttached(subscriber: Subscriber): void;
  /** A connection has ended. */
  onEnded(subscriber: Subscriber, reason: DisconnectReason): void;
}

/** One tenant's part of the hub: its place in the log's tail, its subscribers, and the lanes in which they ride. */
export class TenantHub implements Tail, LaneTenant {
  readonly name: string;
  readonly subscribers = new Set<Subscriber>();
  epoch = "";
  seenTo = 0;
  /** Bytes that it may still write in its turn; the flush scheduler keeps it. */
  allowance = 0;
  /** Bytes that it may still write before others do, as of the monotonic time `creditAt`; the scheduler's too. */
  credit = 0;
  creditAt = Number.NEGATIVE_INFINITY;

  readonly #options: TenantHubOptions;
  /** In order of priority. A lane is made when the first subscriber rides in it. */
  #lanes: readonly LaneHub[] = [];
  #attachment: Attachment | undefined;

  constructor(options: TenantHubOptions) {
    this.name = options.name;
    this.#options = options;
  }

  get isAttached(): boolean {
    return this.#attachment !== undefined;
  }

  /** How many topics somebody follows, as far as they were seen. Walks them. */
  get routesNow(): number {
    const topics = new Set<string>();
    for (const lane of this.#lanes) for (const topic of lane.topics()) topics.add(topic);
    return topics.size;
  }

  now(): number {
    return Math.floor(this.#options.runtime.now());
  }

  async attach(): Promise<void> {
    const attachment = await this.#options.broker.attach(this.name, this);
    this.#attachment = attachment;
    if (this.epoch === "") this.#begin(attachment.epoch, attachment.head);
  }

  detach(): void {
    assert(this.subscribers.size === 0, "a tenant with subscribers stays attached");
    this.#attachment?.detach();
    for (const lane of this.#lanes) lane.begin(this.seenTo);
    this.#lanes = [];
  }

  /** A new subscriber. It rides in the normal lane until its first read of the log says which is its own. */
  add(options: SubscriberOptions): Subscriber {
    const home = this.lane("normal");
    const subscriber = new Subscriber(home, options);
    this.subscribers.add(subscriber);
    home.add(subscriber);
    this.#options.heartbeat.add(subscriber);
    return subscriber;
  }

  attached(subscriber: Subscriber): void {
    this.#options.onAttached(subscriber);
  }

  forget(subscriber: Subscriber, reason?: DisconnectReason): void {
    this.subscribers.delete(subscriber);
    this.#options.heartbeat.remove(subscriber);
    if (reason !== undefined) this.#options.onEnded(subscriber, reason);
  }

  lane(lane: Lane): LaneHub {
    const known = this.#lanes.find((each) => each.lane === lane);
    if (known !== undefined) return known;
    const { broker, runtime, metrics } = this.#options;
    const made = new LaneHub({ lane, tenant: this, broker, runtime, metrics });
    this.#lanes = [...this.#lanes, made].sort((a, b) => (isBelow(a.lane, b.lane) ? 1 : -1));
    return made;
  }

  schedule(): void {
    this.#options.schedule(this);
  }

  onAppended(publication: Publication): void {
    if (publication.seq <= this.seenTo) return;
    this.seenTo = publication.seq;
    // Before `attach` has resolved nobody follows anything here; whoever comes reads the log.
    for (const lane of this.#lanes) lane.push(publication);
  }

  onEpoch(epoch: string, head: number): void {
    this.#options.metrics.plain.sluice_epoch_changes_total += 1;
    this.seenTo = 0;
    this.#begin(epoch, head);
    for (const subscriber of this.subscribers) subscriber.loseEpoch();
  }

  /**
   * Lets its lanes write, the highest first, until nothing is left (true), or until the slice or the
   * allowance is spent (false). What was appended since the slice before is seen here, so that an
   * event of a high topic is the next thing that is written.
   */
  flush(slice: Slice): boolean {
    for (;;) {
      const lane = nextLane(this.#lanes);
      if (lane === undefined) return true;
      this.#serve(lane, slice);
      if (slice.isSpent || this.allowance <= 0) return !this.#lanes.some(({ hasWork }) => hasWork);
    }
  }

  #serve(lane: LaneHub, slice: Slice): void {
    const share = Math.min(this.allowance, lane.allowance);
    let left = share;
    lane.flush(slice, (bytes) => {
      left -= bytes;
      return left <= 0;
    });
    this.allowance -= share - left;
    lane.allowance -= share - left;
  }

  #begin(epoch: string, head: number): void {
    this.epoch = epoch;
    this.seenTo = Math.max(this.seenTo, head);
    for (const lane of this.#lanes) lane.begin(this.seenTo);
  }
}
