import type { Lane } from "./settings.ts";

const KIB = 1024;

/**
 * What each lane of a tenant may write in one round, in bytes, before the lanes below it have their
 * share. That of `high` is large enough for an event of 400 bytes to reach 5,000 subscribers before
 * anything else is written; that of `bulk` is what keeps it from starving: a thirteenth of the whole.
 */
export const LANE_SHARES: Readonly<Record<Lane, number>> = {
  high: 2_048 * KIB,
  normal: 1_024 * KIB,
  bulk: 256 * KIB,
};

const RANKS: Readonly<Record<Lane, number>> = { high: 0, normal: 1, bulk: 2 };

/** True when `lane` is served after `other`. */
export function isBelow(lane: Lane, other: Lane): boolean {
  return RANKS[lane] > RANKS[other];
}

/** The one of two lanes that is served later: where somebody rides who follows topics of both. */
export function lowerOf(lane: Lane, other: Lane): Lane {
  return isBelow(lane, other) ? lane : other;
}

/** A lane that shares its tenant's turns with the others. */
export interface Sharer {
  readonly lane: Lane;
  /** It has something to write or to read. */
  readonly hasWork: boolean;
  /** Bytes that it may still write in this round; below zero while it pays for a frame larger than its share. */
  allowance: number;
}

/**
 * Whose turn it is: the highest lane that has work and has not used up its share. When all that have
 * work have used up theirs, a round ends and each gets its share again (deficit round robin on bytes,
 * in order of priority). So what a lane leaves unused goes to those below it, and a flood in one lane
 * takes nothing from a lane above it. Undefined when none has work: then the round begins anew.
 */
export function nextLane<T extends Sharer>(lanes: readonly T[]): T | undefined {
  for (;;) {
    let hasWork = false;
    for (const lane of lanes) {
      if (!lane.hasWork) continue;
      if (lane.allowance > 0) return lane;
      hasWork = true;
    }
    for (const lane of lanes) {
      const share = LANE_SHARES[lane.lane];
      lane.allowance = hasWork ? Math.min(share, lane.allowance + share) : share;
    }
    if (!hasWork) return undefined;
  }
}
