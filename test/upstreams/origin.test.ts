import { expect, test } from "vitest";
import { authorityOf, parseOrigin, shownOrigin } from "../../src/upstreams/origin.ts";

test.each([
  ["http://app:3000", "http://app:3000", "app:3000"],
  ["HTTP://APP", "http://app:80", "app"],
  ["https://example.org/", "https://example.org:443", "example.org"],
  ["https://example.org.:8443", "https://example.org:8443", "example.org:8443"],
  ["http://[::1]:3000", "http://[::1]:3000", "[::1]:3000"],
  ["http://0x7f.1", "http://127.0.0.1:80", "127.0.0.1"],
  ["http://2130706433:81", "http://127.0.0.1:81", "127.0.0.1:81"],
  ["http://127.1", "http://127.0.0.1:80", "127.0.0.1"],
  ["http://[::ffff:127.0.0.1]", "http://[::ffff:7f00:1]:80", "[::ffff:7f00:1]"],
  ["https://bücher.example", "https://xn--bcher-kva.example:443", "xn--bcher-kva.example"],
  ["http://ｌｏｃａｌｈｏｓｔ", "http://localhost:80", "localhost"],
])("S20 %s is %s", (text, key, authority) => {
  const origin = parseOrigin(text, { isNamed: true });
  expect(origin.key).toBe(key);
  expect(authorityOf(origin)).toBe(authority);
  expect(parseOrigin(shownOrigin(origin), { isNamed: true })).toEqual(origin);
});

test("S20 one that a request has named never shares a key with the configuration's", () => {
  const named = parseOrigin("http://127.0.0.1:80", { isNamed: true });
  const asked = parseOrigin("http://127.0.0.1:80", { isNamed: false });
  expect(asked.key).not.toBe(named.key);
  expect({ ...asked, key: "", isNamed: true }).toEqual({ ...named, key: "" });
});

test.each([
  "",
  "app:3000",
  "/path",
  "ftp://app",
  "file:///etc/passwd",
  "http://",
  "http://.",
  "http://a..",
  "http://app:0",
  "http://app:65536",
  "http://app/path",
  "http://app?a=b",
  "http://app/#a",
  "http://a b",
  "http://a%00b",
  "http://1.2.3.4.5",
  "http://[::1",
  `http://${"a".repeat(2_000)}`,
])("%j is no origin", (text) => {
  expect(() => parseOrigin(text, { isNamed: true })).toThrow(
    expect.objectContaining({ code: "parameter_invalid" }),
  );
});

test("a password is refused, and not shown", () => {
  const parse = (): unknown => parseOrigin("http://me:secret@app", { isNamed: true });
  expect(parse).toThrow(/no user name/);
  expect(parse).not.toThrow(/secret/);
});
