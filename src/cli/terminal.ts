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
