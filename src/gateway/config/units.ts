const MS_OF: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

const BYTES_OF: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1_000,
  MB: 1_000_000,
  GB: 1_000_000_000,
  KiB: 1_024,
  MiB: 1_048_576,
  GiB: 1_073_741_824,
};

// Anchored, and linear whatever the text is. The JSON Schema has their source.
export const DURATION = /^([0-9]{1,15}(?:\.[0-9]{1,6})?) ?(ms|s|m|h|d)?$/;
export const BYTES = /^([0-9]{1,15}(?:\.[0-9]{1,6})?) ?(B|[kKMG]B|[KMG]iB)?$/;

/**
 * A span of time in milliseconds: a number of them, or text such as `250ms`, `20s`, `1.5h`, `7d`.
 * Text without a unit is milliseconds too, which is what an environment variable can say.
 * `undefined` for anything else, and for what is no whole number of milliseconds.
 */
export function parseDurationMs(value: unknown): number | undefined {
  return parse(value, DURATION, MS_OF, "ms");
}

/**
 * A size in bytes: a number of them, or text such as `64KiB` (of 1,024), `1MB` (of 1,000,000) or `512`.
 * `undefined` for anything else. `1M` and `1K` are refused, because people mean either by them.
 */
export function parseBytes(value: unknown): number | undefined {
  return parse(value, BYTES, BYTES_OF, "B");
}

/** The shortest text that `parseDurationMs` reads as `durationMs`: `20s`, not `20000ms`. */
export function formatDuration(durationMs: number): string {
  return format(durationMs, MS_OF, "ms");
}

/** The shortest text that `parseBytes` reads as `bytes`: `1MiB`, not `1048576B`. */
export function formatBytes(bytes: number): string {
  return format(bytes, BYTES_OF, "B");
}

function parse(
  value: unknown,
  pattern: RegExp,
  units: Readonly<Record<string, number>>,
  unitDefault: string,
): number | undefined {
  if (typeof value === "number") return isWhole(value) ? value : undefined;
  if (typeof value !== "string") return undefined;
  const match = pattern.exec(value);
  if (match === null) return undefined;
  const [, digits, unit = unitDefault] = match;
  const factor = units[unit.replace(/^k/, "K")] ?? 1;
  // 1.1 s is 1100.0000000000002 ms in binary; what is a whole number in decimals is meant as one.
  const product = Number((Number(digits) * factor).toPrecision(15));
  return isWhole(product) ? product : undefined;
}

function format(value: number, units: Readonly<Record<string, number>>, smallest: string): string {
  if (value === 0) return `0${smallest}`;
  let [name, factor] = [smallest, 1];
  for (const [unit, size] of Object.entries(units)) {
    if (value % size === 0 && size > factor) [name, factor] = [unit, size];
  }
  return `${value / factor}${name}`;
}

function isWhole(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
