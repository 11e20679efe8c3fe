import { describe, expect, test } from "vitest";
import { eventually, openStream, rawClient, send } from "../support.ts";
import { event, SSE_HEADERS, startFront, startOrigin } from "./support.ts";
import type { Front, Handler } from "./support.ts";

/** Says one token for each word of the request's body, then `[DONE]`, when it is told to go on. */
function model(gate: { next: Promise<void> }): Handler {
  return (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => void say());
    const say = async (): Promise<void> => {
      response.writeHead(200, { ...SSE_HEADERS, "x-model": "m1" });
      for (const word of Buffer.concat(chunks).toString().split(" ")) {
        response.write(event(word));
        await gate.next;
      }
      response.end(event("[DONE]"));
    };
  };
}

function openGate() {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { next: promise, open: resolve };
}

function postRaw(front: Front, body: string, headers: Record<string, string> = {}) {
  const client = rawClient(front.port);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  client.send(
    `POST /chat HTTP/1.1\r\nHost: 127.0.0.1:${front.port}\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n${lines.join("")}\r\n${body}`,
  );
  return client;
}

const runOf = (text: string): string => /^Sluice-Run: (.+)$/m.exec(text)?.[1]?.trim() ?? "";

describe("runs", () => {
  test("the stream that a POST is answered with is a run: named, with the origin's own headers, and whole", async () => {
    const gate = openGate();
    const origin = await startOrigin(model(gate));
    const front = await startFront(origin);
    const client = postRaw(front, "one two");
    await client.until("data: one");
    gate.open();
    const text = await client.closed;
    expect(text).toMatch(/^Sluice-Run: [\w-]{22}\r$/m);
    expect(text).toMatch(/^Link: <\/v1\/runs\/[\w-]{22}>; rel="alternate"/m);
    expect(text).toMatch(/^x-model: m1\r$/m);
    expect([...text.matchAll(/^data: (.+)$/gm)].map((match) => match[1])).toEqual([
      "one",
      "two",
      "[DONE]",
    ]);
    expect(text).toContain(": end ");
    expect(text).not.toMatch(/^event:/m);
  });

  test("a second POST with the same key reads the same run; one upstream call is made", async () => {
    const gate = openGate();
    const origin = await startOrigin(model(gate));
    const front = await startFront(origin);
    const key = { "Idempotency-Key": "k1" };
    // Both before the origin has answered anything.
    const clients = [postRaw(front, "a b c", key), postRaw(front, "a b c", key)];
    await Promise.all(clients.map((client) => client.until("data: a")));
    gate.open();
    const texts = await Promise.all(clients.map(({ closed }) => closed));
    expect(origin.requests).toHaveLength(1);
    expect(runOf(texts[0] ?? "")).toBe(runOf(texts[1] ?? ""));
    const late = await postRaw(front, "a b c", key).closed;
    expect(late).toContain("data: [DONE]");
    expect(late).toMatch(/^x-model: m1\r$/m);
    expect(origin.requests).toHaveLength(1);
    const other = await send(front, "/chat", {
      method: "POST",
      body: "other",
      headers: { "idempotency-key": "k1", "content-type": "text/plain" },
    });
    expect([other.status, other.json["code"]]).toEqual([409, "idempotency_conflict"]);
  });

  test("S06: the same key of somebody with other credentials is another run", async () => {
    const gate = openGate();
    gate.open();
    const origin = await startOrigin(model(gate));
    const front = await startFront(origin);
    const texts = await Promise.all(
      ["alice", "mallory"].map(
        (cookie) => postRaw(front, "x", { "Idempotency-Key": "k", Cookie: cookie }).closed,
      ),
    );
    expect(origin.requests).toHaveLength(2);
    expect(runOf(texts[0] ?? "")).not.toBe(runOf(texts[1] ?? ""));
  });

  test("S06: an API key is a credential too", async () => {
    const gate = openGate();
    gate.open();
    const origin = await startOrigin(model(gate));
    const front = await startFront(origin);
    for (const user of ["alice", "mallory"]) {
      await postRaw(front, "x", { "Idempotency-Key": "k", "X-Api-Key": user }).closed;
    }
    expect(origin.requests).toHaveLength(2);
  });

  test("who has left while another request of its key was under way is not asked for", async () => {
    const gate = openGate();
    const origin = await startOrigin((_request, response) => {
      void gate.next.then(() => response.writeHead(500).end());
    });
    const front = await startFront(origin);
    const key = { "Idempotency-Key": "k" };
    const first = postRaw(front, "x", key);
    await eventually(() => origin.requests.length === 1);
    const second = postRaw(front, "x", key);
    const third = postRaw(front, "x", key);
    await new Promise((resolve) => setTimeout(resolve, 100));
    second.socket.destroy();
    await second.closed;
    await new Promise((resolve) => setTimeout(resolve, 100));
    gate.open();
    await first.until("500");
    await third.until("500");
    expect(origin.requests).toHaveLength(2);
  });

  test("one that is forgotten while its reader waits for its turn is 404, not a stream of nothing", async () => {
    const gate = openGate();
    gate.open();
    const origin = await startOrigin(model(gate));
    const admission = { perSecond: 1, burst: 1 };
    const front = await startFront(origin, { runTtlMs: 200 }, { gateway: { admission } });
    await openStream(front, "/v1/topics/t");
    const id = runOf(await postRaw(front, "x").closed);
    expect((await send(front, `/v1/runs/${id}`)).json["code"]).toBe("run_unknown");
  });

  test("law 23: what the log has no room for lets go of its upstream", async () => {
    const origin = await startOrigin((_request, response) => {
      response.writeHead(200, SSE_HEADERS);
      response.write(event("x"));
    });
    const front = await startFront(origin, {}, { broker: { topicsMax: 1 } });
    await postRaw(front, "x").until("data: x");
    expect(await postRaw(front, "x").until("\r\n\r\n")).toContain(" 507 ");
    await eventually(() => origin.open.size === 1);
    expect((await send(front, "/s", { headers: { accept: "*/*" } })).status).toBe(507);
    await eventually(() => origin.open.size === 1);
    expect(origin.requests).toHaveLength(3);
  });

  test("a run of another gateway behind this one is named once, by this one", async () => {
    const gate = openGate();
    gate.open();
    const inner = await startFront(await startOrigin(model(gate)));
    const outer = await startFront(inner);
    const text = await postRaw(outer, "x").closed;
    for (const name of ["Sluice-Run", "Sluice-Connection", "Link"]) {
      expect(text.match(new RegExp(`^${name}:`, "gim"))).toHaveLength(1);
    }
    expect((await send(outer, `/v1/runs/${runOf(text)}`)).text).toContain("data: [DONE]");
  });

  test("the stream of a GET with a body is a run: it cannot be asked for again", async () => {
    const origin = await startOrigin((_request, response) => {
      response.writeHead(200, SSE_HEADERS);
      response.write(event("x", 1), () => setTimeout(() => response.destroy(), 20));
    });
    const front = await startFront(origin);
    const client = rawClient(front.port);
    client.send(`GET /s HTTP/1.1\r\nHost: 127.0.0.1:${front.port}\r\nContent-Length: 2\r\n\r\nhi`);
    const text = await client.closed;
    expect(runOf(text)).not.toBe("");
    expect(text).toContain('"code":"upstream_lost"');
    expect(origin.requests).toHaveLength(1);
  });

  test("law 12: when its only reader leaves and the route says cancel, the upstream is aborted", async () => {
    const origin = await startOrigin(model(openGate()));
    const front = await startFront(origin, { onReadersGone: { kind: "cancel" } });
    const client = postRaw(front, "one two");
    await client.until("data: one");
    client.socket.destroy();
    await eventually(() => origin.open.size === 0);
  });

  test("law 12: who leaves before the origin has answered takes the request along", async () => {
    const origin = await startOrigin(() => {});
    const front = await startFront(origin);
    const client = postRaw(front, "one two");
    await eventually(() => origin.open.size === 1);
    client.socket.destroy();
    await eventually(() => origin.open.size === 0);
  });

  test("an upstream that breaks in the middle ends the run with one typed error", async () => {
    const origin = await startOrigin((_request, response) => {
      response.writeHead(200, SSE_HEADERS);
      response.write(event("half"), () => setTimeout(() => response.destroy(), 20));
    });
    const front = await startFront(origin);
    const text = await postRaw(front, "x").closed;
    expect(text.match(/^event: error$/gm)).toHaveLength(1);
    expect(text).toContain('"code":"upstream_lost"');
    expect(text).toContain("data: half");
  });

  test("answers to a POST that are no stream pass through, with a key or without", async () => {
    const origin = await startOrigin((_request, response) => {
      response.writeHead(201, { "content-type": "application/json" }).end('{"ok":true}');
    });
    const front = await startFront(origin);
    const replies = await Promise.all(
      [{}, { "idempotency-key": "k" }, { "idempotency-key": "k" }].map((headers) =>
        send(front, "/api", { method: "POST", body: "{}", headers: headers as never }),
      ),
    );
    for (const reply of replies) expect([reply.status, reply.text]).toEqual([201, '{"ok":true}']);
    expect(origin.requests).toHaveLength(3);
  });
});

describe("a GET that did not ask for an event stream, and is given one", () => {
  test("is a stream that can be resumed where it was", async () => {
    const origin = await startOrigin((_request, response) => {
      response.writeHead(200, SSE_HEADERS);
      for (let id = 1; id <= 5; id += 1) response.write(event(`e${id}`, id));
    });
    const front = await startFront(origin);
    const curl = await openStream(front, "/s", { accept: "*/*" });
    await curl.take(5);
    const place = curl.events[1]?.lastEventId ?? "";
    curl.cut();
    const again = await openStream(front, "/s", {
      accept: "text/event-stream",
      "last-event-id": place,
    });
    await again.take(3);
    expect(again.events.map(({ data }) => data)).toEqual(["e3", "e4", "e5"]);
    expect(origin.requests).toHaveLength(1);
  });

  test("law 22: the origin's own id goes to it again when the stream breaks", async () => {
    const origin = await startOrigin((_request, response) => {
      response.writeHead(200, SSE_HEADERS).flushHeaders();
      if (origin.requests.length === 1) setTimeout(() => response.destroy(), 20);
      else response.write(event("e6", 6));
    });
    const front = await startFront(origin);
    const curl = await openStream(front, "/s", { accept: "*/*", "last-event-id": "5" });
    await curl.take(1);
    expect(origin.requests.map(({ headers }) => headers["last-event-id"])).toEqual(["5", "5"]);
  }, 20_000);

  test("S06: it is nobody else's, and what the origin said to its reader is said to nobody else", async () => {
    const origin = await startOrigin((request, response) => {
      response.writeHead(200, { ...SSE_HEADERS, "set-cookie": "session=1" });
      response.write(event(`for ${String(request.headers["x-forwarded-for"])}`, 1));
    });
    const front = await startFront(origin);
    const first = await openStream(front, "/s", { accept: "*/*" });
    await first.take(1);
    expect(first.headers["set-cookie"]).toEqual(["session=1"]);
    const place = first.events[0]?.lastEventId ?? "";
    const own = await openStream(front, "/s", { accept: "*/*", "last-event-id": place });
    expect(own.headers).not.toHaveProperty("set-cookie");
    const other = rawClient(front.port, "127.0.0.3");
    other.send(
      `GET /s HTTP/1.1\r\nHost: 127.0.0.1:${front.port}\r\nAccept: */*\r\nLast-Event-ID: ${place}\r\n\r\n`,
    );
    const text = await other.until("data: ");
    expect(text).toContain(": gap ");
    expect(text).not.toContain("for 127.0.0.1");
    expect(text).not.toContain("Set-Cookie");
    for (const { headers } of origin.requests) {
      expect(headers).not.toHaveProperty("last-event-id");
    }
  });

  test("law 13: from then on those who ask in the same way share one", async () => {
    const origin = await startOrigin((_request, response) => {
      response.writeHead(200, SSE_HEADERS);
      response.write(event("e1", 1));
    });
    const front = await startFront(origin);
    const first = await openStream(front, "/s", { accept: "*/*" });
    await first.take(1);
    const others = await Promise.all(
      Array.from({ length: 20 }, () => openStream(front, "/s", { accept: "*/*" })),
    );
    for (const stream of others) await stream.take(1);
    expect(origin.requests).toHaveLength(2);
  });
});
