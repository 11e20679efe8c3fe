import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { WireError } from "../../src/wire/errors.ts";
import {
  encodeComment,
  encodeEvent,
  encodeFields,
  envelope,
  frameBytes,
  idLine,
  writeFrame,
} from "../../src/wire/frame.ts";
import { anyEvent, anyLine, anyText, asReceived, concat, scan, utf8 } from "./streams.ts";

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

function frameOf(fields: Uint8Array, id: string): Uint8Array {
  const target = new Uint8Array(frameBytes(fields, id));
  expect(writeFrame(target, 0, fields, id)).toBe(target.length);
  return target;
}

describe("fields", () => {
  test.each([
    ["one line", undefined, "hello", "data: hello\n"],
    ["with an event", "tick", "1", "event: tick\ndata: 1\n"],
    ["with the default event's name", "message", "1", "event: message\ndata: 1\n"],
    ["empty data", undefined, "", "data: \n"],
    ["LF, CRLF and CR", undefined, "a\nb\r\nc\rd", "data: a\ndata: b\ndata: c\ndata: d\n"],
    ["LF CR, two ends", undefined, "a\n\rb", "data: a\ndata: \ndata: b\n"],
    ["line ends alone", undefined, "\r\n\n", "data: \ndata: \ndata: \n"],
    ["leading spaces", "  e", "  d", "event:   e\ndata:   d\n"],
    ["what are no line ends", undefined, "a\u2028b\u0085c\vd", "data: a\u2028b\u0085c\vd\n"],
    ["a BOM", undefined, "\ufeffa", "data: \ufeffa\n"],
    ["lone surrogates", "\ud800", "\udc00", "event: \ufffd\ndata: \ufffd\n"],
  ])("of %s", (_name, event, data, expected) => {
    expect(text(encodeFields(event, data))).toBe(expected);
  });

  test("are the same from a string and from its bytes", () => {
    fc.assert(
      fc.property(fc.option(anyLine, { nil: undefined }), anyText, (event, data) => {
        expect(text(encodeFields(event, utf8(data)))).toBe(text(encodeFields(event, data)));
      }),
    );
  });

  test("are a copy of the bytes they came from", () => {
    const data = utf8("a");
    const fields = encodeFields(undefined, data);
    data.fill(0);
    expect(text(fields)).toBe("data: a\n");
  });
});

describe("a frame", () => {
  test("is the fields, the id and a blank line, written in place", () => {
    fc.assert(
      fc.property(anyText, fc.stringMatching(/^[!-~]{1,81}$/), (data, id) => {
        const fields = encodeFields("e", data);
        expect(frameOf(fields, id)).toEqual(concat(fields, idLine(id), utf8("\n")));
      }),
    );
  });

  test("is written behind what is there and touches nothing else", () => {
    const fields = utf8("data: a\n");
    const target = new Uint8Array(30).fill(0x2e);
    const end = writeFrame(target, 3, fields, "e.1");
    expect(text(target)).toBe("...data: a\nid: e.1\n\n..........");
    expect(end).toBe(3 + frameBytes(fields, "e.1"));
  });

  test.each([
    ["retry", { retry: 2500 }, "retry: 2500\n\n"],
    ["primer", { id: "e.7" }, "id: e.7\n\n"],
    ["close", { event: "close", data: "pool_draining" }, "event: close\ndata: pool_draining\n\n"],
    [
      "all fields, retry first and id last",
      { id: "e.1", data: "a\nb", event: "x", retry: 0 },
      "retry: 0\nevent: x\ndata: a\ndata: b\nid: e.1\n\n",
    ],
  ])("of control: %s", (_name, fields, expected) => {
    expect(text(encodeEvent(fields))).toBe(expected);
  });

  test("of a comment dispatches nothing", () => {
    expect(text(encodeComment("heartbeat"))).toBe(": heartbeat\n\n");
    expect(scan([encodeComment("heartbeat")])).toEqual([{ comment: "heartbeat" }]);
  });
});

describe("CR, LF and NUL, S01, law 18", () => {
  const refused = expect.objectContaining({ name: "WireError", code: "field_invalid" });
  const poisoned = fc
    .tuple(anyLine, fc.constantFrom("\r", "\n", "\0", "\r\n"), anyLine, fc.integer({ max: 2 }))
    .map(([a, bad, b, where]) => (where === 0 ? bad + b : where === 1 ? a + bad : a + bad + b));

  test("are refused in event, id and comment, wherever they stand; never stripped", () => {
    fc.assert(
      fc.property(poisoned, (bad) => {
        expect(() => encodeFields(bad, "d")).toThrow(refused);
        expect(() => encodeFields(bad, utf8("d"))).toThrow(refused);
        expect(() => encodeEvent({ event: bad, data: "d" })).toThrow(refused);
        expect(() => encodeEvent({ id: bad, data: "d" })).toThrow(refused);
        expect(() => idLine(bad)).toThrow(refused);
        expect(() => encodeComment(bad)).toThrow(refused);
        expect(() => writeFrame(new Uint8Array(999), 0, utf8("data: d\n"), bad)).toThrow(refused);
      }),
    );
  });

  test("so are an empty event and id, which would mean their absence", () => {
    expect(() => encodeFields("", "d")).toThrow(refused);
    expect(() => encodeEvent({ event: "", data: "d" })).toThrow(refused);
    expect(() => encodeEvent({ id: "" })).toThrow(refused);
    expect(() => idLine("")).toThrow(refused);
  });

  test("so is an id that is not visible ASCII where it is written byte by byte", () => {
    for (const id of [" ", "é", "\x7f", "🎉"]) {
      expect(() => writeFrame(new Uint8Array(99), 0, utf8("data: d\n"), id)).toThrow(refused);
    }
  });

  test("so is a retry that is not a count of milliseconds", () => {
    for (const retry of [-1, 0.5, NaN, Infinity]) {
      expect(() => encodeEvent({ retry })).toThrow(refused);
    }
  });

  test("the message names the field and shows a bounded piece of the value", () => {
    const error = (() => {
      try {
        return encodeFields(`${"x".repeat(5000)}\n`, "");
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(error).toBeInstanceOf(WireError);
    expect((error as WireError).message).toMatch(/^event may not be empty or hold CR, LF or NUL/);
    expect((error as WireError).message.length).toBeLessThan(150);
  });
});

describe("the enveloped form", () => {
  test("names the topic, and keeps event and id", () => {
    const frame = frameOf(encodeFields("tick", 'a"\nb'), "e.5");
    expect(text(envelope(frame, "room/1"))).toBe(
      'event: tick\ndata: {"topic":"room/1","data":"a\\"\\nb"}\nid: e.5\n\n',
    );
  });

  test("of a frame without event or id has neither", () => {
    expect(text(envelope(encodeEvent({ data: "" }), "t"))).toBe(
      'data: {"topic":"t","data":""}\n\n',
    );
  });

  test("tells the same event whatever the data, as one data line", () => {
    fc.assert(
      fc.property(anyEvent, fc.string(), (event, topic) => {
        const frame = encodeEvent(event);
        const enveloped = envelope(frame, topic);
        const [plain] = scan([frame]);
        const [wrapped] = scan([enveloped]);
        expect(wrapped).toEqual({ ...plain, data: expect.any(String) });
        const body = (wrapped as { data: string }).data;
        expect(JSON.parse(body)).toEqual({ topic, data: asReceived(event.data) });
        expect(body).not.toMatch(/[\r\n]/);
      }),
    );
  });

  test("does not exist for a frame without data", () => {
    expect(() => envelope(encodeEvent({ id: "e.1" }), "t")).toThrow(RangeError);
    expect(() => envelope(new Uint8Array(0), "t")).toThrow(RangeError);
  });
});
