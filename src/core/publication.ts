import { envelope, hush } from "../wire/frame.ts";
import type { Block } from "./blocks.ts";
import type { TopicSettings } from "./settings.ts";

/**
 * `plain`: the frame as published. `enveloped`: the topic is named inside, for connections of many topics.
 * `quiet`: as `plain`, but what Sluice itself says comes in comments, for clients that parse every `data:`.
 */
export type WireForm = "plain" | "enveloped" | "quiet";

export type PublicationKind = "event" | "end";

export interface PublicationInit {
  readonly seq: number;
  readonly previous: number;
  readonly topic: string;
  readonly kind: PublicationKind;
  readonly settings: TopicSettings;
  readonly isSuperseded: boolean;
  /** Where its frame is. */
  readonly block: Block;
  readonly position: number;
  readonly bytes: number;
}

/**
 * An accepted event: its place in the tenant's order, and its frame in the log's own memory. Immutable.
 * Made when it is appended and again by each read: nothing keeps it for as long as the event is retained.
 */
export class Publication {
  readonly seq: number;
  /** The sequence number of the event before it in its topic, retained or not; 0 if it is the first of its record. */
  readonly previous: number;
  readonly topic: string;
  readonly kind: PublicationKind;
  /** Of its topic, when it was appended or read. */
  readonly settings: TopicSettings;
  /** A newer retained event of the same topic and key followed when it was read. */
  readonly isSuperseded: boolean;
  /** Size of the plain frame in bytes. */
  readonly bytes: number;
  /** The block that holds its plain frame, from `start` on. */
  readonly memory: Buffer;
  readonly start: number;
  #enveloped: Buffer | undefined;

  constructor(init: PublicationInit) {
    this.seq = init.seq;
    this.previous = init.previous;
    this.topic = init.topic;
    this.kind = init.kind;
    this.settings = init.settings;
    this.isSuperseded = init.isSuperseded;
    this.bytes = init.bytes;
    this.memory = init.block.bytes;
    this.start = init.position - init.block.from;
  }

  /** Size of its frame in `form`. The enveloped frame is made on first demand, and kept. */
  bytesIn(form: WireForm): number {
    return this.isAsPublished(form) ? this.bytes : this.#frameIn(form).length;
  }

  /** Copies its frame to `target` and returns the offset behind it. */
  copyTo(target: Buffer, offset: number, form: WireForm): number {
    if (this.isAsPublished(form)) {
      this.memory.copy(target, offset, this.start, this.start + this.bytes);
      return offset + this.bytes;
    }
    const frame = this.#frameIn(form);
    frame.copy(target, offset);
    return offset + frame.length;
  }

  /** Its frame in `form` is the plain one. */
  isAsPublished(form: WireForm): boolean {
    return form === "plain" || (form === "quiet" && this.kind === "event");
  }

  /** The end of a topic is rare, and short: its quiet frame is made each time. */
  #frameIn(form: WireForm): Buffer {
    const frame = this.memory.subarray(this.start, this.start + this.bytes);
    if (form !== "enveloped") return Buffer.from(hush(frame));
    return (this.#enveloped ??= Buffer.from(envelope(frame, this.topic)));
  }
}
