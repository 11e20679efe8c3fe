/** Milliseconds between two events. */
const TICK_MS = 20;

/**
 * The newest event of a world that goes on whether or not an origin runs: event n happens at
 * `n * TICK_MS` after its beginning. So an origin remembers nothing, and still knows what it missed.
 */
export function newest(): number {
  return Math.floor((Date.now() - Number(process.env["BEGAN_AT"])) / TICK_MS);
}

/** The numbers of the events behind `last`, as they happen, until `isOver`. */
export async function* ticksBehind(last: number, isOver: () => boolean): AsyncGenerator<number> {
  for (let next = last + 1; !isOver();) {
    for (; next <= newest(); next += 1) yield next;
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
}

/** What the test reads of every request: where it continues. */
export function tellRequest(path: string, lastEventId: string | null | undefined): void {
  process.stdout.write(`request ${path} ${lastEventId || "-"}\n`);
}
