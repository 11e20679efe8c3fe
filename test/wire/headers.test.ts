import { describe, expect, test } from "vitest";
import { plainHeaders, streamHeadHeaders, streamHeaders } from "../../src/wire/headers.ts";

const VERSIONS = ["1.0", "1.1", "2"] as const;

describe.each(VERSIONS)("over HTTP/%s", (version) => {
  const stream = new Headers(streamHeaders(version));
  const plain = new Headers(plainHeaders(version, "application/problem+json"));

  test("a stream is typed, never stored, never transformed, never buffered", () => {
    expect(stream.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(stream.get("cache-control")).toBe("no-cache, no-store, no-transform");
    expect(stream.get("x-accel-buffering")).toBe("no");
  });

  test("a plain answer has its type and is never stored", () => {
    expect(plain.get("content-type")).toBe("application/problem+json");
    expect(plain.get("cache-control")).toBe("no-store");
  });

  test("every answer varies by what selects it and is not sniffed", () => {
    for (const headers of [stream, plain]) {
      expect(headers.get("vary")).toBe("Accept, Origin");
      expect(headers.get("x-content-type-options")).toBe("nosniff");
    }
  });

  test("framing is left to the server", () => {
    expect(stream.has("transfer-encoding")).toBe(false);
    expect(stream.has("content-length")).toBe(false);
    expect(stream.has("keep-alive")).toBe(false);
  });
});

test("a stream on HTTP/1 says that its connection ends with it", () => {
  expect(streamHeaders("1.0")["Connection"]).toBe("close");
  expect(streamHeaders("1.1")["Connection"]).toBe("close");
  expect(new Headers(streamHeaders("2")).has("connection")).toBe(false);
});

test("the answer to a HEAD says the same, but for the connection, which goes on on HTTP/1.1", () => {
  const { Connection, ...others } = streamHeaders("1.1");
  expect([Connection, streamHeadHeaders("1.1")]).toEqual(["close", others]);
  expect(streamHeadHeaders("1.0")).toBe(streamHeaders("1.0"));
});

test("HTTP/2 names are in lower case (RFC 9113, 8.2.1)", () => {
  for (const headers of [streamHeaders("2"), plainHeaders("2", "text/plain")]) {
    for (const name of Object.keys(headers)) expect(name).toBe(name.toLowerCase());
  }
});

test("the shared table cannot be changed by one response", () => {
  expect(Object.isFrozen(streamHeaders("1.1"))).toBe(true);
  expect(streamHeaders("1.1")).toBe(streamHeaders("1.1"));
});
