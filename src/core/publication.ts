import { envelope, frameBytes, hush, writeFrame } from "../wire/frame.ts";
import type { Block, Blocks } from "./blocks.ts";
import type { TopicSettings } from "./settings.ts";

/** Memory that a publication costs beside its frame, in bytes: the object, its slots and map entries (measured). */
export const PUBLICATION_OVERHEAD_BYTES = 192;

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
  readonly key: string | undefined;
  readonly at: number;
  readonly settings: TopicSettings;
}

/** An accepted event: its place in the tenant's order, and its frame in the log's own memory. Immutable but for `isSuperseded`. */
export class Publication {
  readonly seq: number;
  /** The sequence number of the event before it in its topic, retained or not; 0 if it is the first of its record. */
  readonly previous: number;
  readonly topic: string;
  readonly kind: PublicationKind;
  readonly key: string | undefined;
  /** When it was accepted, on the clock that its log judges ages by: of the memory broker the monotonic one. */
  readonly at: number;
  readonly settings: TopicSettings;
  /** A newer retained event of the same topic and key follows. */
  isSuperseded = false;

  readonly #blocks: Blocks;
  readonly #block: Block;
  readonly #start: number;
  readonly #end: number;
  #enveloped: Buffer | undefined;

  /** Takes `size` bytes of `blocks` for the frame; see `frame` and `moveTo`, which fill them. */
  private constructor(init: PublicationInit, size: number, blocks: Blocks) {
    this.seq = init.seq;
    this.previous = init.previous;
    this.topic = init.topic;
    this.kind = init.kind;
    this.key = init.key;
    this.at = init.at;
    this.settings = init.settings;
    const { block, offset } = blocks.allocate(size);
    this.#blocks = blocks;
    this.#block = block;
    this.#start = offset;
    this.#end = offset + size;
    blocks.charge(PUBLICATION_OVERHEAD_BYTES);
  }

  /** Frames an event: its frame (`fields` and `id`) is written into `blocks`. */
  static frame(init: PublicationInit, fields: Uint8Array, id: string, blocks: Blocks): Publication {
    const publication = new Publication(init, frameBytes(fields, id), blocks);
    writeFrame(publication.#block.bytes, publication.#start, fields, id);
    return publication;
  }

  /** The same event with its frame in other memory. */
  moveTo(blocks: Blocks): Publication {
    const moved = new Publication(this, this.bytes, blocks);
    moved.isSuperseded = this.isSuperseded;
    this.copyTo(moved.#block.bytes, moved.#start, "plain");
    return moved;
  }

  /** Size of the plain frame in bytes. */
  get bytes(): number {
    return this.#end - this.#start;
  }

  /** Size of its frame in `form`. The enveloped frame is made on first demand, once, and kept. */
  bytesIn(form: WireForm): number {
    return this.#isAsPublished(form) ? this.bytes : this.#frameIn(form).length;
  }

  /** Copies its frame to `target` and returns the offset behind it. */
  copyTo(target: Buffer, offset: number, form: WireForm): number {
    if (this.#isAsPublished(form)) {
      this.#block.bytes.copy(target, offset, this.#start, this.#end);
      return offset + this.bytes;
    }
    const frame = this.#frameIn(form);
    frame.copy(target, offset);
    return offset + frame.length;
  }

  /** Gives its memory back to the log. Readers that still hold the publication may go on reading it. */
  release(): void {
    this.#blocks.charge(-PUBLICATION_OVERHEAD_BYTES - (this.#enveloped?.length ?? 0));
    this.#blocks.release(this.#block);
    this.#isReleased = true;
  }
  #isReleased = false;

  #isAsPublished(form: WireForm): boolean {
    return form === "plain" || (form === "quiet" && this.kind === "event");
  }

  /** The end of a topic is rare, and short: its quiet frame is made each time. */
  #frameIn(form: WireForm): Buffer {
    if (form === "enveloped") return this.#envelope();
    return Buffer.from(hush(this.#block.bytes.subarray(this.#start, this.#end)));
  }

  #envelope(): Buffer {
    if (this.#enveloped === undefined) {
      const frame = this.#block.bytes.subarray(this.#start, this.#end);
      this.#enveloped = Buffer.from(envelope(frame, this.topic));
      if (!this.#isReleased) this.#blocks.charge(this.#enveloped.length);
    }
    return this.#enveloped;
  }
}
