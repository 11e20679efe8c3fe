import type { Connection } from "./connection.ts";
import type { DisconnectReason } from "./disconnect.ts";
import type { Group } from "./group.ts";
import type { GapReason } from "./control.ts";
import type { Metrics } from "./metrics.ts";
import type { PendingBytes } from "./pending.ts";
import type { WireForm } from "./publication.ts";
import type { Dropped } from "./replay.ts";
import type { Selection } from "./selection.ts";
import type { Lane } from "./settings.ts";
import type { HeartbeatMode, SubscriberOptions } from "./subscriber-options.ts";
import type { SubscriberState } from "./subscriber-state.ts";

/** What a subscriber knows of the lane in which it rides. */
export interface Ride {
  /** The tenant's name. */
  readonly name: string;
  /** The newest event of the tenant that this process knows of. */
  readonly head: number;
  readonly epoch: string;
  readonly metrics: Metrics;
  readonly lane: Lane;
  /** Up to here everything was frozen into a window: whoever has read it may go live. */
  readonly frozenTo: number;
  /** Up to here every live subscriber has received everything. */
  readonly settledTo: number;
  /** Monotonic, in whole milliseconds. */
  now(): number;
}

/**
 * The fields of a subscriber, in the order in which they lie in memory. What a delivery touches comes
 * first and together: with thousands of subscribers each line of memory is a cache miss. For the same
 * reason they are one object, and times are whole milliseconds, which need no box.
 */
export abstract class SubscriberRecord {
  state: SubscriberState = "reading";
  /** Everything of its topics up to here was delivered. While live, `settledTo` may be further. */
  cursor = 0;
  /** The flush's marks: the window and group that it was last sorted into. */
  turn = 0;
  group: Group | undefined = undefined;
  readonly form: WireForm;
  /** The physical response that carries it; undefined before `attach`. */
  connection: Connection | undefined = undefined;
  protected home: Ride;
  /** When bytes were last written, in whole monotonic milliseconds. */
  wroteAt: number;
  /** The last id that the client was sent, and when. */
  idSent = 0;
  idSentAt: number;
  /** What was appended up to here before it rode in its lane was not kept for it there: it reads that. */
  joinedTo = 0;

  /** Events written to it. */
  events = 0;
  readonly selection: Selection;
  readonly heartbeat: HeartbeatMode;
  readonly isResumable: boolean;
  protected readonly onGone: (() => void) | undefined;
  /** When its connection was attached, in whole monotonic milliseconds. */
  openedAt: number;
  /** An ACK of the client is awaited: of a goodbye, or of a heartbeat that it promised to acknowledge. */
  isAckAwaited = false;
  /** The client has acknowledged the goodbye. */
  hasAcked = false;
  /** Why goodbye was said, once it was. */
  farewell: DisconnectReason | undefined = undefined;
  /** The last frame was written, or the connection taken away: nothing more is asked of it. */
  protected isEnding = false;
  /** Reconnect delay that this client was told at the start, in milliseconds. */
  retryMs = 0;
  /** Since when `isAckAwaited`, of a heartbeat. */
  ackAwaitedSince = 0;
  /** Its spoke of the heartbeat's wheel, and how old its connection becomes, in milliseconds; the wheel's to set. */
  phase = 0;
  ageMsMax = Infinity;
  /** Where its pending bytes are counted; the wheel's to set. The three below are the account's. */
  pending: PendingBytes | undefined = undefined;
  pendingSeen = 0;
  waitsSinceLook = 0;
  stalledSince = 0;
  protected isWakeAsked = false;
  /** In the queue of those that want to read the log, or reading. */
  isQueued = false;
  /** Set when the place was lost as a whole: the next read starts at the oldest event, behind a gap. */
  lost: GapReason | undefined = undefined;
  /** Floors up to here were told as gaps, of all its topics and of single ones. */
  toldFloor = 0;
  toldFloors: Map<string, number> | undefined = undefined;
  /** It fell behind while live: of topics with the policy `drop-oldest` it gets what is left at the end. */
  skipsOldest = false;
  dropped: Dropped | undefined = undefined;
  skippedReads = 0;

  constructor(home: Ride, options: SubscriberOptions) {
    this.home = home;
    this.selection = options.selection;
    this.form = options.form;
    this.heartbeat = options.heartbeat ?? "comment";
    this.isResumable = options.isResumable ?? true;
    this.onGone = options.onGone;
    this.wroteAt = home.now();
    this.openedAt = this.wroteAt;
    this.idSentAt = this.wroteAt;
  }

  get tenant(): string {
    return this.home.name;
  }

  /** How far it is behind its tenant's newest event, in sequence numbers; 0 when it has everything. */
  get lag(): number {
    return Math.max(0, this.home.head - this.settledTo);
  }

  /** The lane in which it rides: the lowest of its topics', as far as it is known. */
  get lane(): Lane {
    return this.home.lane;
  }

  /** Everything of its topics up to here was delivered. */
  get settledTo(): number {
    return this.state === "live" ? Math.max(this.cursor, this.home.settledTo) : this.cursor;
  }

  /** True while bytes of earlier writes have not left. */
  get isPending(): boolean {
    return this.connection !== undefined && this.connection.pendingBytes > 0;
  }
}
