/**
 * Which of `candidates` `text` was meant to be: the one that the fewest typing mistakes lead to, if
 * those are at most a third of its letters. Capitals, dashes and underscores do not count.
 */
export function nearest(text: string, candidates: Iterable<string>): string | undefined {
  if (text.length > LENGTH_MAX) return undefined;
  const typed = normal(text);
  let best: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const meant = normal(candidate);
    const count = mistakes(typed, meant);
    if (count < least && count <= Math.max(1, Math.floor(meant.length / 3))) {
      best = candidate;
      least = count;
    }
  }
  return best;
}

/** `; did you mean "x"?`, or nothing. */
export function suggestion(text: string, candidates: Iterable<string>): string {
  const meant = nearest(text, candidates);
  return meant === undefined ? "" : `; did you mean "${meant}"?`;
}

/** The comparison is quadratic, and what is longer is no misspelt option. */
const LENGTH_MAX = 100;

function normal(text: string): string {
  return text.toLowerCase().replaceAll(/[-_.]/g, "");
}

/** Letters missing, added, wrong or swapped with the next one (optimal string alignment). */
function mistakes(from: string, to: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= to.length; column += 1) {
      const isSame = from[row - 1] === to[column - 1];
      let count = Math.min(
        at(last, column) + 1,
        at(current, column - 1) + 1,
        at(last, column - 1) + (isSame ? 0 : 1),
      );
      const isSwapped = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      if (row > 1 && column > 1 && isSwapped) {
        count = Math.min(count, at(beforeLast, column - 2) + 1);
      }
      current.push(count);
    }
    [beforeLast, last] = [last, current];
  }
  return at(last, to.length);
}

function at(numbers: readonly number[], index: number): number {
  return numbers[index] as number;
}
