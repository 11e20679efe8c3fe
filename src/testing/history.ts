/**
 * What happened, as publishers and readers saw it. Records are kept in the order in which each of
 * them saw things; `check` turns them into a verdict.
 */
export type HistoryRecord =
  | PublishRecord
  | { readonly type: "ended"; readonly topic: string; readonly id: string }
  | OpenRecord
  | { readonly type: "primer"; readonly reader: string; readonly id: string }
  | GapRecord
  | EventRecord
  | { readonly type: "settled"; readonly reader: string };

/** An attempt to append the events `from` to `to` of one publisher to one topic, all or none. */
export interface PublishRecord {
  readonly type: "publish";
  readonly publisher: string;
  /** A publisher publishes to one topic only. */
  readonly topic: string;
  /** The publisher's own numbers; the first is 1, and none is left out. */
  readonly from: number;
  readonly to: number;
  /** `failed`: refused, nothing appended. `unknown`: no answer, or one that leaves it open. */
  readonly outcome: "ok" | "failed" | "unknown";
  /** The ids of the first and last event, where the answer named them. */
  readonly first?: string | undefined;
  readonly last?: string | undefined;
  /** When the attempt began and was answered, on one clock for all publishers. */
  readonly startedAt: number;
  readonly endedAt: number;
}

/**
 * A reader opens a connection. Readers resume with the last id that their parser received; with any
 * other cursor, or none, a new chain begins.
 */
export interface OpenRecord {
  readonly type: "open";
  readonly reader: string;
  /** Names and patterns. */
  readonly topics: readonly string[];
  readonly cursor?: string | undefined;
}

export interface GapRecord {
  readonly type: "gap";
  readonly reader: string;
  readonly gap: {
    readonly reason: string;
    readonly from: string | null;
    readonly to: string;
    readonly topics?: readonly string[] | undefined;
  };
}

export interface EventRecord {
  readonly type: "event";
  readonly reader: string;
  readonly topic: string;
  readonly id: string;
  /** `event: end`: a log entry that no publisher made. */
  readonly isEnd?: boolean | undefined;
  readonly data: string;
}

/** The data of an event that the checker can follow; anything else may stand beside. */
export interface NumberedData {
  /** Publisher; unique over the whole run. */
  readonly p: string;
  /** Its counter, from 1. */
  readonly n: number;
  /** `hashOf` the data of its event `n - 1`; 0 for the first. */
  readonly h: number;
}

/** 32-bit FNV-1a over UTF-16 units: fast, and good enough to tell apart what is compared by accident. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return hash >>> 0;
}

/** Numbers the events of one publisher of one topic. */
export class Numbering {
  readonly publisher: string;
  n = 0;
  #hash = 0;

  constructor(publisher: string) {
    this.publisher = publisher;
  }

  /** The data of its next event: `{"p", "n", "h"}` and what `more` adds. */
  next(more: Readonly<Record<string, unknown>> = {}): string {
    this.n += 1;
    const data = JSON.stringify({ p: this.publisher, n: this.n, h: this.#hash, ...more });
    this.#hash = hashOf(data);
    return data;
  }
}
