import { batchOf } from "./batch.ts";
import type { Batch } from "./batch.ts";
import type { Publication, WireForm } from "./publication.ts";

const NONE: readonly Publication[] = [];

/** A topic that has something in the window. */
export interface DirtyTopic {
  /** Its publications, in order. */
  readonly window: readonly Publication[];
}

/**
 * The subscribers whose dirty topics of this window are the same share a batch, however different
 * their whole sets of topics are. Usually that is one topic.
 */
export class Group {
  /** The last sequence number of these topics before the batch. */
  prev = 0;
  first = 0;
  last = 0;
  hasEnd = false;
  readonly topic: DirtyTopic;
  readonly #parent: Group | undefined;
  #children: Map<DirtyTopic, Group> | undefined;
  #publications: readonly Publication[] | undefined;
  #plain: Batch | undefined;
  #enveloped: Batch | undefined;
  #quiet: Batch | undefined;

  /** The topics of `parent`, and `topic` besides. */
  constructor(topic: DirtyTopic, parent?: Group) {
    this.topic = topic;
    this.#parent = parent;
  }

  with(topic: DirtyTopic): Group {
    this.#children ??= new Map();
    let child = this.#children.get(topic);
    if (child === undefined) {
      child = new Group(topic, this);
      this.#children.set(topic, child);
    }
    return child;
  }

  /** Merges the topics and knows `prev`, `first` and `last` from then on. Groups that only lead to others never pay for it. */
  prepare(): void {
    if (this.#publications !== undefined) return;
    this.#publications = this.#parent === undefined ? this.topic.window : this.#merged();
    for (let group: Group | undefined = this; group !== undefined; group = group.#parent) {
      this.prev = Math.max(this.prev, group.topic.window[0]?.previous ?? 0);
    }
    this.first = this.#publications[0]?.seq ?? 0;
    this.last = this.#publications.at(-1)?.seq ?? 0;
    this.hasEnd = this.#publications.some((publication) => publication.kind === "end");
  }

  #merged(): Publication[] {
    const all: Publication[] = [];
    for (let group: Group | undefined = this; group !== undefined; group = group.#parent) {
      for (const publication of group.topic.window) all.push(publication);
    }
    return all.sort((a, b) => a.seq - b.seq);
  }

  /** Encoded at the first call for each form. */
  batch(form: WireForm): Batch {
    const publications = this.#publications ?? NONE;
    if (form === "plain" || (form === "quiet" && !this.hasEnd)) {
      return (this.#plain ??= batchOf(publications, "plain"));
    }
    if (form === "quiet") return (this.#quiet ??= batchOf(publications, "quiet"));
    return (this.#enveloped ??= batchOf(publications, "enveloped"));
  }

  /** Lets go of everything; subscribers may hold on to the empty shell until the next window. */
  release(): void {
    this.#publications = NONE;
    this.#plain = undefined;
    this.#enveloped = undefined;
    this.#quiet = undefined;
    if (this.#children === undefined) return;
    for (const child of this.#children.values()) child.release();
    this.#children = undefined;
  }
}
