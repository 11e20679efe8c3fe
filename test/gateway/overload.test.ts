import { spawn } from "node:child_process";
import { EventSource } from "eventsource";
import { chromium as playwright } from "playwright-core";
import { expect, onTestFinished, test, vi } from "vitest";
import { describeWith, needs } from "../support/programs.ts";
import { openStream, post, rawClient, send, startWorld } from "./support.ts";
import type { OpenStream, World, WorldOptions } from "./support.ts";

const TOPIC = "/v1/topics/a";
const BODY = "Connection pool exhausted. Retry in 30s.";
const BROWSER = {
  accept: "text/event-stream",
  "sec-fetch-mode": "cors",
  "user-agent": "Mozilla/5.0",
};
type Gateway = NonNullable<WorldOptions["gateway"]>;
type Admission = Gateway["admission"];

/** A gateway that admits one connection, and has it. */
async function fullWorld(
  admission: Admission = {},
  gateway: Gateway = {},
): Promise<World & { only: OpenStream }> {
  const world = await startWorld({
    gateway: { ...gateway, admission: { maxConnections: 10, openPercent: 10, ...admission } },
  });
  const only = await openStream(world, TOPIC);
  return { ...world, only };
}

function rawSubscribe(world: World, headers: readonly string[] = [], path = TOPIC) {
  const client = rawClient(world.port);
  const lines = ["Host: localhost", ...headers].map((line) => `${line}\r\n`).join("");
  client.send(`GET ${path} HTTP/1.1\r\n${lines}\r\n`);
  return client;
}

test("the refusal is 503 with Retry-After, text/plain, Date, Connection, Cache-Control and Vary, and nothing else: byte for byte", async () => {
  const world = await fullWorld();
  const text = await rawSubscribe(world).closed;
  const [head = "", body] = text.split("\r\n\r\n");
  const [status, ...fields] = head.split("\r\n");
  expect(status).toBe("HTTP/1.1 503 Service Unavailable");
  expect(body).toBe(BODY);
  const date = fields.find((field) => field.startsWith("Date: ")) ?? "";
  expect(Date.parse(date.slice(6))).not.toBeNaN();
  expect(fields.filter((field) => field !== date).toSorted()).toEqual([
    "Cache-Control: no-store",
    "Connection: close",
    "Content-Type: text/plain",
    "Retry-After: 30",
    "Vary: Accept, Origin",
  ]);
  expect(world.hub.metrics.get("sluice_rejected_total", "capacity")).toBe(1);
});

test("on HTTP/1.0 and to HEAD the refusal is the same, to HEAD without its body", async () => {
  const world = await fullWorld();
  const old = rawClient(world.port);
  old.send(`GET ${TOPIC} HTTP/1.0\r\n\r\n`);
  expect(await old.closed).toMatch(
    /^HTTP\/1\.1 503 [^]*\r\nRetry-After: 30\r\n[^]*\r\n\r\nConnection pool exhausted\. Retry in 30s\.$/,
  );
  const head = rawClient(world.port);
  head.send(
    `HEAD ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Mode: cors\r\nAccept: text/event-stream\r\n\r\n`,
  );
  const text = await head.closed;
  expect(text).toMatch(/^HTTP\/1\.1 503 [^]*\r\n\r\n$/);
  expect(text).toContain("\r\nRetry-After: 30\r\n");
  expect(text).not.toMatch(/content-length|transfer-encoding|nosniff/i);
});

test("a page of an allowed origin can read the refusal", async () => {
  const world = await fullWorld({}, { corsOrigins: ["https://app.example.org"] });
  const { status, headers } = await send(world, TOPIC, {
    headers: { origin: "https://app.example.org" },
  });
  expect(status).toBe(503);
  expect(headers["access-control-allow-origin"]).toBe("https://app.example.org");
  expect(headers["access-control-expose-headers"]).toContain("Retry-After");
});

test("the soft form is an event stream that says when to come back and why it ends, and ends cleanly", async () => {
  const world = await fullWorld();
  const text = await rawSubscribe(world, ["Accept: text/event-stream", "Sec-Fetch-Mode: cors"])
    .closed;
  const [head = "", body = ""] = text.split("\r\n\r\n");
  expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  expect(head).toContain("\r\nContent-Type: text/event-stream; charset=utf-8\r\n");
  expect(head).toContain("\r\nCache-Control: no-cache, no-store, no-transform\r\n");
  expect(head).toContain("\r\nConnection: close");
  expect(head).not.toContain("Sluice-Connection");
  const [, retryMs] = /^retry: (\d+)$/m.exec(text) ?? [];
  expect(Number(retryMs)).toBeGreaterThanOrEqual(15_000);
  expect(Number(retryMs)).toBeLessThanOrEqual(45_000);
  expect(text).toContain(`retry: ${retryMs}

event: close
data: overloaded

`);
  // The last chunk, and not a cut.
  expect(text.endsWith("\r\n0\r\n\r\n")).toBe(true);
  expect(body).not.toMatch(/^id:/m);
});

test("retry: of the soft form is another one for each client, around retryAfter", async () => {
  const world = await fullWorld({ retryAfterMs: 10_000 });
  const retries = new Set<string>();
  for (let index = 0; index < 12; index += 1) {
    const { text } = await send(world, TOPIC, { headers: BROWSER });
    const retry = /^retry: (\d+)$/m.exec(text)?.[1] ?? "";
    expect(Number(retry)).toBeGreaterThanOrEqual(5_000);
    expect(Number(retry)).toBeLessThanOrEqual(15_000);
    retries.add(retry);
  }
  expect(retries.size).toBeGreaterThan(6);
});

test("Retry-After is what was configured, longer by the jitter, and the body says the same number", async () => {
  const world = await fullWorld({ retryAfterMs: 10_000, retryAfterJitter: 2 });
  const seen = new Set<number>();
  for (let index = 0; index < 20; index += 1) {
    const { headers, text } = await send(world, TOPIC);
    const seconds = Number(headers["retry-after"]);
    expect(text).toBe(`Connection pool exhausted. Retry in ${seconds}s.`);
    expect(seconds).toBeGreaterThanOrEqual(10);
    expect(seconds).toBeLessThanOrEqual(30);
    seen.add(seconds);
  }
  expect(seen.size).toBeGreaterThan(3);
});

// What a request is, and which form it gets by response: auto, status, soft.
const FORMS: [string, string, Record<string, string>, string, [number, number, number]][] = [
  ["a browser's EventSource", "GET", BROWSER, "", [200, 503, 200]],
  [
    "an old browser's EventSource, without Fetch metadata",
    "GET",
    { accept: "text/event-stream", "user-agent": "Mozilla/5.0 (X11)" },
    "",
    [200, 503, 200],
  ],
  [
    "npm eventsource, which fetches",
    "GET",
    { accept: "text/event-stream", "sec-fetch-mode": "cors", "user-agent": "node" },
    "",
    [200, 503, 200],
  ],
  ["curl", "GET", { accept: "*/*", "user-agent": "curl/8.14.1" }, "", [503, 503, 200]],
  [
    "curl that accepts event streams",
    "GET",
    { accept: "text/event-stream", "user-agent": "curl/8.14.1" },
    "",
    [503, 503, 200],
  ],
  [
    "fetch",
    "GET",
    { accept: "*/*", "sec-fetch-mode": "cors", "user-agent": "node" },
    "",
    [503, 503, 200],
  ],
  ["a health probe", "GET", { "user-agent": "kube-probe/1.31" }, "", [503, 503, 200]],
  [
    "a page that fetches JSON or streams",
    "GET",
    { ...BROWSER, accept: "text/event-stream, application/json" },
    "",
    [200, 503, 200],
  ],
  ["a client that reads statuses", "GET", BROWSER, "?on_overload=status", [503, 503, 503]],
  [
    "a client that reads statuses, among other parameters",
    "GET",
    BROWSER,
    "?hello=1&on_overload=status&form=plain",
    [503, 503, 503],
  ],
  [
    "a client that cannot read statuses",
    "GET",
    { accept: "*/*" },
    "?on_overload=soft",
    [200, 503, 200],
  ],
  ["a HEAD", "HEAD", BROWSER, "", [503, 503, 503]],
];

test.each(FORMS)(
  "law 16 %s gets the form that it survives",
  async (_who, method, headers, query, statuses) => {
    for (const [index, response] of (["auto", "status", "soft"] as const).entries()) {
      const world = await fullWorld({ response });
      const { status, headers: got } = await send(world, TOPIC + query, { method, headers });
      expect([response, status]).toEqual([response, statuses[index]]);
      expect(got["content-type"]).toBe(
        status === 200 ? "text/event-stream; charset=utf-8" : "text/plain",
      );
    }
  },
);

test("what is no value of on_overload is refused as a parameter", async () => {
  const world = await startWorld();
  const { status, json } = await send(world, `${TOPIC}?on_overload=both`);
  expect([status, json["code"]]).toEqual([400, "parameter_invalid"]);
});

test("while subscriptions are refused, publishes and what is open go on", async () => {
  const world = await fullWorld();
  expect((await send(world, TOPIC)).status).toBe(503);
  expect((await post(world, TOPIC, "x")).status).toBe(201);
  expect((await send(world, TOPIC, { method: "PUT" })).status).toBe(204);
  const [event] = await world.only.take(1);
  expect(event?.data).toBe("x");
});

test("what is pipelined behind a refused subscription is not done", async () => {
  const world = await fullWorld();
  const client = rawClient(world.port);
  client.send(
    `GET ${TOPIC} HTTP/1.1\r\nHost: localhost\r\n\r\nPOST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx`,
  );
  expect((await client.closed).match(/HTTP\/1\.1/g)).toHaveLength(1);
  expect(world.hub.metrics.plain.sluice_publications_total).toBe(0);
});

test("P11 a subscription that waits for its turn when the drain begins gets the form that it survives, to come back soon", async () => {
  const hubWorld = await startWorld({
    gateway: { retryMs: 1_000, admission: { perSecond: 1, burst: 1 } },
  });
  const first = await openStream(hubWorld, TOPIC);
  const browser = rawSubscribe(hubWorld, ["Accept: text/event-stream", "Sec-Fetch-Mode: cors"]);
  const other = rawSubscribe(hubWorld);
  const { plain } = hubWorld.hub.metrics;
  await vi.waitFor(() => expect(plain.sluice_admission_waiting).toBe(2));
  const drained = hubWorld.drain();
  const soft = await browser.closed;
  expect(soft).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  const retryMs = Number(/^retry: (\d+)$/m.exec(soft)?.[1]);
  expect(retryMs).toBeGreaterThanOrEqual(500);
  expect(retryMs).toBeLessThanOrEqual(1_500);
  expect(soft).toContain("event: close\ndata: overloaded\n\n");
  expect(await other.closed).toMatch(/^HTTP\/1\.1 503 [^]*Retry in 30s\.$/);
  // So does one that comes later.
  await first.take(1);
  expect((await send(hubWorld, TOPIC)).text).toBe(BODY);
  expect((await send(hubWorld, TOPIC, { headers: BROWSER })).text).toContain("data: overloaded");
  first.cut();
  await drained;
  expect(plain.sluice_admission_waiting).toBe(0);
});

test("law 16 the npm package eventsource comes back by itself after a refusal, and resumes", async () => {
  const world = await fullWorld({ retryAfterMs: 1_000 });
  const source = new EventSource(`${world.url}${TOPIC}`);
  onTestFinished(() => source.close());
  const closes: string[] = [];
  const messages: string[] = [];
  source.addEventListener("close", ({ data }) => closes.push(String(data)));
  source.addEventListener("message", ({ data }) => messages.push(String(data)));
  await vi.waitFor(() => expect(closes).toEqual(["overloaded"]), { timeout: 10_000 });
  world.only.cut();
  await vi.waitFor(() => expect(world.hub.connectionsNow).toBe(0), { timeout: 5_000 });
  await vi.waitFor(() => expect(world.hub.connectionsNow).toBe(1), { timeout: 15_000 });
  await post(world, TOPIC, "after");
  await vi.waitFor(() => expect(messages).toEqual(["after"]), { timeout: 10_000 });
});

test("fetch sees the status and when to come back", async () => {
  const world = await fullWorld();
  const response = await fetch(`${world.url}${TOPIC}`);
  expect([response.status, response.headers.get("retry-after")]).toEqual([503, "30"]);
  expect(await response.text()).toBe(BODY);
  const declared = await fetch(`${world.url}${TOPIC}?on_overload=status`, {
    headers: { accept: "text/event-stream" },
  });
  expect([declared.status, await declared.text()]).toEqual([503, BODY]);
});

describeWith({ curl: needs("curl") }, "curl", ({ curl }) => {
  test.each([[[]], [["-H", "Accept: text/event-stream"]]])(
    "law 16 curl %j sees 503, and takes the body as complete",
    async (args) => {
      const world = await fullWorld();
      const url = `${world.url}${TOPIC}`;
      const { code, stdout } = await run(curl, ["-sS", "-w", " %{http_code}", ...args, url]);
      expect([code, stdout]).toEqual([0, `${BODY} 503`]);
      const failing = await run(curl, ["-sf", ...args, url]);
      expect(failing.code).toBe(22);
    },
  );
});

describeWith({ chromium: needs("chromium") }, "a real browser", ({ chromium }) => {
  test("law 16 native EventSource comes back by itself after overload, with its place; a 503 would strand it", async () => {
    const browser = await playwright.launch({
      executablePath: chromium,
      args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    });
    onTestFinished(() => browser.close());
    const outcomes: Record<string, { states: number[]; data: string[]; closes: string[] }> = {};
    for (const response of ["auto", "status"] as const) {
      const world = await startWorld({
        gateway: {
          retryMs: 200,
          hasPlayground: true,
          admission: { maxConnections: 100, openPercent: 1, retryAfterMs: 1_000, response },
        },
      });
      const page = await browser.newPage();
      // A page of the same origin that holds no stream of its own.
      await page.goto(`${world.url}/v1/topics/none/such?form=broken`);
      const holder = await openStream(world, TOPIC);
      await post(world, TOPIC, "before");
      await page.evaluate((path) => {
        // The browser's; this file knows no DOM.
        const scope = globalThis as unknown as {
          seen: { states: number[]; data: string[]; closes: string[] };
          EventSource: typeof EventSource;
        };
        const seen = (scope.seen = {
          states: [] as number[],
          data: [] as string[],
          closes: [] as string[],
        });
        const source = new scope.EventSource(path);
        source.addEventListener("message", ({ data }) => seen.data.push(String(data)));
        source.addEventListener("close", ({ data }) => seen.closes.push(String(data)));
        source.addEventListener("error", () => seen.states.push(source.readyState));
      }, `${TOPIC}?last_event_id=earliest`);
      const seen = (): Promise<{ states: number[]; data: string[]; closes: string[] }> =>
        page.evaluate(
          () =>
            (
              globalThis as unknown as {
                seen: { states: number[]; data: string[]; closes: string[] };
              }
            ).seen,
        );
      await vi.waitFor(async () => expect((await seen()).states.length).toBeGreaterThan(0), {
        timeout: 15_000,
      });
      holder.cut();
      if (response === "auto") {
        await vi.waitFor(async () => expect((await seen()).data).toEqual(["before"]), {
          timeout: 20_000,
        });
      }
      outcomes[response] = await seen();
      await page.close();
    }
    // CONNECTING (0) after each refusal, and what it asked for in the end.
    expect(outcomes["auto"]?.closes).toContain("overloaded");
    expect(new Set(outcomes["auto"]?.states)).toEqual(new Set([0]));
    // CLOSED (2): it never comes back.
    expect(outcomes["status"]).toEqual({ states: [2], data: [], closes: [] });
  }, 60_000);
});

function run(
  program: string,
  args: readonly string[],
): Promise<{ code: number | null; stdout: string }> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "ignore"] });
  let stdout = "";
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  return new Promise((resolve) => child.once("close", (code) => resolve({ code, stdout })));
}
