import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

/** Styles text where `stream` shows colours: a terminal, and neither `NO_COLOR` nor `TERM=dumb`. */
export function paint(stream: NodeJS.WritableStream, style: Style, text: string): string {
  return styleText(style, text, { stream, validateStream: true });
}

/**
 * Text from elsewhere as a terminal may show it: control characters, which could move the cursor,
 * set the clipboard or answer as if typed, are made visible. Line ends and tabs stay.
 */
export function printable(text: string): string {
  return text.replaceAll(
    // oxlint-disable-next-line no-control-regex -- these are what must not get through
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** `value` with a comma between thousands. */
export function counted(value: number, noun: string): string {
  return `${value.toLocaleString("en")} ${noun}${value === 1 ? "" : "s"}`;
}

const SECONDS_OF = [
  ["d", 86_400],
  ["h", 3_600],
  ["m", 60],
  ["s", 1],
] as const;

/** As people read it in a table: whole seconds, in the largest unit and the next one: `45s`, `3h12m`, `2d4h`. */
export function roundedDuration(durationMs: number): string {
  let seconds = Math.max(0, Math.floor(durationMs / 1_000));
  const largest = SECONDS_OF.findIndex(([, size]) => seconds >= size);
  if (largest === -1) return "0s";
  let text = "";
  for (const [unit, size] of SECONDS_OF.slice(largest, largest + 2)) {
    const count = Math.floor(seconds / size);
    seconds -= count * size;
    if (count > 0) text += `${count}${unit}`;
  }
  return text;
}

/** As people read it in a table: three digits at most where there is a fraction: `512B`, `1.2KiB`, `34MiB`. */
export function roundedBytes(bytes: number): string {
  let [value, unit] = [bytes, "B"];
  for (const next of ["KiB", "MiB", "GiB", "TiB"]) {
    // What would be shown as 1024 is 1 of the next.
    if (Math.round(value) < 1_024) break;
    [value, unit] = [value / 1_024, next];
  }
  const isShort = unit !== "B" && value < 9.95;
  return `${isShort ? value.toFixed(1).replace(/\.0$/, "") : Math.round(value)}${unit}`;
}
