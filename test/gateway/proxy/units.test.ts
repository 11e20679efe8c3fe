import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { endToEnd, streamHead } from "../../../src/gateway/proxy/forward-headers.ts";
import { FeedWindow } from "../../../src/upstreams/feed-window.ts";
import { routeFinder } from "../../../src/gateway/proxy/match.ts";
import { retryAfterMs } from "../../../src/gateway/proxy/patience.ts";
import { ROUTE_DEFAULTS } from "../../../src/gateway/proxy/route.ts";
import type { ProxyRoute } from "../../../src/gateway/proxy/route.ts";
import { keyOf, sharingOf } from "../../../src/gateway/proxy/sharing.ts";
import { Shelves, whenceOf } from "../../../src/gateway/proxy/shelf.ts";
import { VirtualRuntime } from "../../../src/testing/index.ts";
import { parseOrigin } from "../../../src/upstreams/origin.ts";
import type { HeaderList } from "../../../src/upstreams/message.ts";

function routeTo(match: string, port = 3000): ProxyRoute {
  const origin = parseOrigin(`http://127.0.0.1:${port}`, { isNamed: true });
  return { ...ROUTE_DEFAULTS, match, origin };
}

describe("paths", () => {
  const find = routeFinder([routeTo("/chat/*", 1), routeTo("/api/**", 2), routeTo("/exact", 3)]);
  const portOf = (path: string): number | undefined => find(path)?.origin.port;

  test("a star is one segment, two at the end are all that follow", () => {
    expect(
      ["/chat/a", "/chat/a/b", "/chat", "/api", "/api/", "/api/x/y", "/exact", "/exact/"].map(
        portOf,
      ),
    ).toEqual([1, undefined, undefined, 2, 2, 2, 3, undefined]);
  });

  test.each([
    "/api/../x",
    "/api/%2e%2E/x",
    "/api/.",
    "/api/%2e",
    "/api/..%5cx",
    "/api/a\\..\\b",
    "/api/..%2fx",
    "/api/x%2F%2e%2e",
    "/api/..;/x",
    "/api/..%3bv=1/x",
  ])("S16: %s is refused, as the origin may take it for another path", (path) => {
    expect(() => find(path)).toThrow(expect.objectContaining({ code: "request_target_invalid" }));
  });

  test("dots inside of names are none of our business, nor are slashes and semicolons", () => {
    expect(portOf("/api/a..b/.well-known/...")).toBe(2);
    expect(portOf("/api/@a%2fb/v;a=..b")).toBe(2);
  });
});

describe("headers", () => {
  test("S15: hop-by-hop headers, and those that Connection names, are not forwarded", () => {
    const headers: HeaderList = [
      ["connection", "close, X-Secret"],
      ["x-secret", "1"],
      ["keep-alive", "timeout=5"],
      ["te", "trailers"],
      ["trailer", "x"],
      ["upgrade", "h2c"],
      ["proxy-authorization", "Basic x"],
      ["x-kept", "a"],
      ["x-kept", "b"],
    ];
    expect(endToEnd(headers)).toEqual([
      ["x-kept", "a"],
      ["x-kept", "b"],
    ]);
  });

  test("S16: Content-Length does not go on beside Transfer-Encoding", () => {
    const headers: HeaderList = [
      ["content-length", "5"],
      ["transfer-encoding", "chunked"],
    ];
    expect(endToEnd(headers)).toEqual([]);
  });

  test("a header may have the name of what every object has; what is Sluice's own is not the origin's to say", () => {
    const own: HeaderList = [
      ["sluice-run", "x"],
      ["sluice-connection", "x"],
      ["link", '</v1/runs/x>; rel="alternate"'],
    ];
    const head = streamHead([["constructor", "a"], ["link", "</x>"], ...own], false);
    expect(Object.entries(head)).toEqual([
      ["constructor", "a"],
      ["link", "</x>"],
    ]);
  });

  test("pages that the origin lets in see the id of a run", () => {
    const allowed: HeaderList = [["access-control-allow-origin", "https://a.example"]];
    const exposed = (headers: HeaderList) =>
      streamHead(headers, true)["access-control-expose-headers"];
    expect(exposed([])).toBeUndefined();
    expect(exposed(allowed)).toContain("Sluice-Run");
    const both = exposed([...allowed, ["access-control-expose-headers", "X-A"]]);
    expect(both).toMatch(/^X-A, .*Sluice-Run/);
  });

  test("S06: what the origin says to one reader is not for those who share its stream", () => {
    const headers: HeaderList = [
      ["content-type", "text/event-stream"],
      ["set-cookie", "sid=1"],
      ["set-cookie", "b=2"],
      ["x-vercel-ai-ui-message-stream", "v1"],
    ];
    expect(streamHead(headers, true)).toEqual({ "x-vercel-ai-ui-message-stream": "v1" });
    expect(streamHead(headers, false)).toEqual({
      "set-cookie": ["sid=1", "b=2"],
      "x-vercel-ai-ui-message-stream": "v1",
    });
  });
});

describe("sharing", () => {
  const route = routeTo("/**");
  const keyFor = (headers: HeaderList, path = "/a"): string => sharingOf(route, path, headers).key;

  test("law 21, S03: keys are length-prefixed, so distinct parts never make one key", () => {
    expect(keyOf(["ab", "c"])).not.toBe(keyOf(["a", "bc"]));
    expect(keyOf(["1:a"])).not.toBe(keyOf(["1", "a"]));
    expect(keyFor([["cookie", "a=1"]])).not.toBe(keyFor([["cookie", "a=1 "]]));
    expect(
      keyFor([
        ["x-a", "1"],
        ["x-b", "2"],
      ]),
    ).not.toBe(keyFor([["x-a", "12:x"]]));
  });

  test("law 21: a cookie, a token or any header that is not on the list of exceptions parts two readers", () => {
    const plain = keyFor([]);
    for (const name of [
      "cookie",
      "authorization",
      "x-api-key",
      "accept-language",
      "origin",
      "x-forwarded-host",
    ]) {
      expect(keyFor([[name, "a"]])).not.toBe(plain);
      expect(keyFor([[name, "a"]])).not.toBe(keyFor([[name, "b"]]));
    }
  });

  test("S06: what is not in the key is not sent upstream", () => {
    const sharing = sharingOf(route, "/a", [
      ["user-agent", "x"],
      ["sec-fetch-mode", "cors"],
      ["x-forwarded-for", "192.0.2.1"],
      ["traceparent", "00-1-2-3"],
      ["last-event-id", "7"],
      ["accept-language", "de"],
      ["via", "1.0 other, 1.1 sluice-a-Z_45678901"],
    ]);
    expect(sharing.key).toBe(keyFor([["accept-language", "de"]]));
    expect(sharing.headers).toEqual([
      ["accept-language", "de"],
      ["accept", "text/event-stream"],
      ["user-agent", "sluice"],
      ["via", "1.1 sluice-a-Z_45678901"],
    ]);
  });

  test("the order of different headers makes no difference, that of equal ones does", () => {
    expect(
      keyFor([
        ["x-a", "1"],
        ["x-b", "2"],
      ]),
    ).toBe(
      keyFor([
        ["x-b", "2"],
        ["x-a", "1"],
      ]),
    );
    expect(
      keyFor([
        ["x-a", "1"],
        ["x-a", "2"],
      ]),
    ).not.toBe(
      keyFor([
        ["x-a", "2"],
        ["x-a", "1"],
      ]),
    );
  });
});

describe("places", () => {
  test("law 22: a place that Sluice may have given never goes upstream", () => {
    expect(whenceOf(undefined).kind).toBe("fresh");
    expect(whenceOf("").kind).toBe("fresh");
    expect(whenceOf("AAAAbbbb0000.7").kind).toBe("own");
    for (const id of ["7", "1700000000000-0", "e.7", "AAAAbbbb0000.07", "x".repeat(500)]) {
      expect(whenceOf(id)).toEqual({ kind: "foreign", id });
    }
  });
});

test("keys that were streams cost little, however long they are", () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const shelves = new Shelves();
  collect();
  const before = process.memoryUsage().heapUsed;
  // Of their own, as those of requests are: no slices of one string.
  for (let at = 0; at < 2_000; at += 1) {
    shelves.noteStream("t", Buffer.alloc(16_000, `${at}-`).toString("latin1"));
  }
  collect();
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(8_000_000);
  expect(shelves.isStream("t", Buffer.alloc(16_000, "1999-").toString("latin1"))).toBe(true);
});

describe("Retry-After", () => {
  test("is read as seconds and as a date", () => {
    const now = Date.parse("2026-01-01T00:00:00Z");
    expect(retryAfterMs([["retry-after", "7"]], now)).toBe(7_000);
    expect(retryAfterMs([["retry-after", "Thu, 01 Jan 2026 00:00:09 GMT"]], now)).toBe(9_000);
    expect(retryAfterMs([["retry-after", "Wed, 31 Dec 2025 00:00:00 GMT"]], now)).toBe(0);
    expect(retryAfterMs([["retry-after", "soon"]], now)).toBeUndefined();
    expect(retryAfterMs([], now)).toBeUndefined();
  });
});

describe("the window of a feed", () => {
  test("U11: the upstream waits while half of it is unread by everybody, and goes on with the fastest", async () => {
    const runtime = new VirtualRuntime();
    const window = new FeedWindow(runtime, 32 * 1024, 100);
    let place = 100;
    let seq = 100;
    let wait: Promise<void> | undefined;
    while (wait === undefined) {
      seq += 1;
      window.add(1024);
      window.mark(seq);
      wait = window.room(() => place);
    }
    expect(seq - 100).toBe(17);
    let isOver = false;
    void wait.then(() => (isOver = true));
    await runtime.run(1_000);
    expect(isOver).toBe(false);
    place = 110;
    await runtime.run(100);
    expect(isOver).toBe(true);
    expect(window.room(() => place)).toBeUndefined();
  });

  test("nobody waits for a window that is closed", async () => {
    const runtime = new VirtualRuntime();
    const window = new FeedWindow(runtime, 4096, 0);
    window.add(100_000);
    const wait = window.room(() => 0);
    window.close();
    await runtime.run(100);
    await wait;
    expect(window.room(() => 0)).toBeUndefined();
  });
});
