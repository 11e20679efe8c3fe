// S01: what is encoded here is read back by readers that other people wrote.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { EventSource as PackageEventSource } from "eventsource";
import * as fc from "fast-check";
import { EventSource as UndiciEventSource } from "undici";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeComment, encodeEvent } from "../../src/wire/frame.ts";
import { streamHeaders } from "../../src/wire/headers.ts";
import {
  anyEvent,
  anyLine,
  anySizes,
  asReceived,
  concat,
  cutInto,
  decodeAll,
  everyByte,
  readByParser,
  readBySpec,
  scan,
} from "./streams.ts";
import type { Told } from "./streams.ts";

interface Sent {
  readonly event?: string;
  readonly id?: string;
  readonly data: string;
}

type ToldEvent = Extract<Told, { event: string }>;

/** What a reader must make of `sent`: an event without an id has that of the one before it. */
function expectedOf(sent: readonly Sent[]): ToldEvent[] {
  let lastEventId = "";
  return sent.map(({ event = "message", id = lastEventId, data }) => {
    lastEventId = id.toWellFormed();
    return { event: event.toWellFormed(), data: asReceived(data), lastEventId };
  });
}

const anyEvents = fc.array(anyEvent, { maxLength: 30, size: "max" });

const FIXED: readonly Sent[] = [
  { data: "" },
  { data: "\n" },
  { data: "\r\n\r\n" },
  { data: " a\r b\n  c\n" },
  { event: "message", data: "\ufeff\u2028\u2029\u0085\0" },
  { event: " e:", id: " 1:", data: ": no comment" },
  { id: "\ufeff", data: "\ud800" },
  { data: "id: 2\nevent: x\n\ndata: y" },
  { data: "x".repeat(1024 * 1024) },
  { data: "é\n".repeat(50_000) },
];

describe("parse(encode(e)) equals e, S01", () => {
  test("for our scanner, WHATWG's text and eventsource-parser, at every byte", () => {
    fc.assert(
      fc.property(anyEvents, anySizes, (sent, sizes) => {
        const bytes = concat(...sent.map((event) => encodeEvent(event)));
        const expected = expectedOf(sent);
        expect(scan([bytes])).toEqual(expected);
        expect(scan(everyByte(bytes))).toEqual(expected);
        expect(readBySpec(bytes)).toEqual(expected);
        expect(readByParser([decodeAll(bytes)])).toEqual(expected);
        const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
        const texts = [...cutInto(bytes, sizes)].map((c) => decoder.decode(c, { stream: true }));
        expect(readByParser(texts)).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });

  test("for lines of 1 MiB and data of 50,000 lines", () => {
    const bytes = concat(...FIXED.map((event) => encodeEvent(event)));
    expect(scan(cutInto(bytes, [65_536]))).toEqual(expectedOf(FIXED));
    expect(readByParser([decodeAll(bytes)])).toEqual(expectedOf(FIXED));
  });

  test("for comments and retry", () => {
    fc.assert(
      fc.property(anyLine, fc.nat(), (comment, retry) => {
        const bytes = concat(encodeComment(comment), encodeEvent({ retry }));
        const expected = [{ comment: comment.toWellFormed() }, { retryMs: retry }];
        expect(scan([bytes])).toEqual(expected);
        expect(readByParser([decodeAll(bytes)])).toEqual(expected);
      }),
    );
  });
});

/** What the tests need of an EventSource, whoever made it. */
interface Source {
  addEventListener(type: string, listener: (event: never) => void): void;
  close(): void;
}

const LAST = "round-trip.last";

/** Every event of `names` that `source` dispatches before the event `LAST`; then it is closed. */
function collect(source: Source, names: ReadonlySet<string>): Promise<ToldEvent[]> {
  return new Promise((resolve, reject) => {
    const events: ToldEvent[] = [];
    const onEvent = (event: { type: string; data: string; lastEventId: string }) => {
      const { type, data, lastEventId } = event;
      events.push({ event: type, data, lastEventId });
    };
    for (const name of names) source.addEventListener(name, onEvent);
    source.addEventListener(LAST, () => {
      source.close();
      resolve(events);
    });
    source.addEventListener("error", (event: { message?: string }) => {
      source.close();
      reject(new Error(`the connection ended early: ${event.message ?? "no reason given"}`));
    });
  });
}

describe.each<[string, (url: string) => Source]>([
  ["the package eventsource", (url) => new PackageEventSource(url) as unknown as Source],
  ["undici's EventSource", (url) => new UndiciEventSource(url) as unknown as Source],
])("through a server, %s", (_name, open) => {
  let chunks: Iterable<Uint8Array> = [];
  let url = "";
  const server = createServer((_request, response) => {
    response.writeHead(200, streamHeaders("1.1"));
    response.flushHeaders();
    for (const chunk of chunks) response.write(chunk);
  });

  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  });

  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  async function received(sent: readonly Sent[], sizes: readonly number[]): Promise<ToldEvent[]> {
    const frames = [...sent, { event: LAST, data: "" }].map((event) => encodeEvent(event));
    chunks = cutInto(concat(...frames), sizes);
    return collect(open(url), new Set(expectedOf(sent).map(({ event }) => event)));
  }

  // EventSource dispatches events of these names itself, which is why publishing them is refused.
  const isOwnName = ({ event }: Sent) => event === "open" || event === "error";

  test("dispatches what was encoded, in order, S01", async () => {
    await fc.assert(
      fc.asyncProperty(anyEvents, anySizes, async (sent, sizes) => {
        fc.pre(!sent.some((event) => isOwnName(event)));
        expect(await received(sent, sizes)).toEqual(expectedOf(sent));
      }),
      { numRuns: 40 },
    );
  });

  test("dispatches lines of 1 MiB and data of 50,000 lines", async () => {
    expect(await received(FIXED, [65_536])).toEqual(expectedOf(FIXED));
  });
});
