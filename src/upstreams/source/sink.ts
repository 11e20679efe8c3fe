/** One event of an upstream stream. */
export interface SourceEvent {
  /** `event:` and `data:` lines as `encodeFields` makes them, without an id. */
  readonly fields: Uint8Array;
  /** `message` where the stream names none. */
  readonly event: string;
  /**
   * The upstream's id of it, or of the newest block before it that had one. Undefined if there is none behind
   * which the origin could be asked to go on: never given, taken back, or no value of a header.
   */
  readonly id: string | undefined;
}

/** Who takes what a source reads. */
export interface SourceSink {
  /** In order. A promise pauses the upstream until it has resolved (U11); a rejection ends the source. */
  event(event: SourceEvent): void | Promise<void>;
  /**
   * The stream was lost and is back. `isResumed`: it was asked with an id that it had given; otherwise it
   * began anew, and what it said in between is unknown. Must not throw.
   */
  reconnected?(isResumed: boolean): void;
}
