import { expect, test } from "vitest";
import { negotiate } from "../../src/gateway/accept.ts";

const CHROME =
  "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7";

const ROWS: [string | undefined, "stream" | "page" | undefined, "stream" | undefined][] = [
  // Accept, with a page, without one
  [undefined, "stream", "stream"],
  ["", "stream", "stream"],
  ["*/*", "stream", "stream"],
  ["text/event-stream", "stream", "stream"],
  ["TEXT/Event-Stream; q=0.1", "stream", "stream"],
  ["text/*", "stream", "stream"],
  [CHROME, "page", "stream"],
  ["text/html", "page", undefined],
  ["text/html, text/event-stream", "stream", "stream"],
  ["text/html;q=0.2, text/event-stream;q=0.1", "page", "stream"],
  ["application/json", undefined, undefined],
  ["application/json, text/event-stream", "stream", "stream"],
  ["text/event-stream;q=0, */*", undefined, undefined],
  ["text/event-stream;q=no", undefined, undefined],
  ["image/*", undefined, undefined],
];

test.each(ROWS)(
  "Accept %j is answered with %s, without a page with %s",
  (accept, withPage, without) => {
    expect(negotiate(accept, true)).toBe(withPage);
    expect(negotiate(accept, false)).toBe(without);
  },
);
