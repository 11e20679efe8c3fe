import { Readable } from "node:stream";
import type { IncomingMessage } from "node:http";
import { describe, expect, test } from "vitest";
import { watchBody } from "../../../src/gateway/body-deadline.ts";
import { eventually, openStream, rawClient, send } from "../support.ts";
import { ASKS, BROWSER, event, SSE_HEADERS, startFront, startOrigin } from "./support.ts";

describe("hostile origins", () => {
  test("U06: an event without end is cut at the bound; its readers are told, others notice nothing", async () => {
    const origin = await startOrigin((request, response) => {
      response.writeHead(200, SSE_HEADERS);
      if (request.url === "/good") {
        response.write(event("good", 1));
        return;
      }
      response.write(`${event("before", 1)}data: `);
      const block = "x".repeat(256 * 1024);
      const pump = (): void => {
        while (!response.destroyed && response.write(block));
        if (!response.destroyed) response.once("drain", pump);
      };
      pump();
    });
    const front = await startFront(origin);
    const good = await openStream(front, "/good", ASKS);
    const client = rawClient(front.port);
    client.send(`GET /bad HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n`);
    const text = await client.closed;
    expect(text).toContain("data: before");
    expect(text).toContain(": close upstream_lost");
    expect(text.length).toBeLessThan(4096);
    expect((await good.take(1))[0]?.data).toBe("good");
    await eventually(() => origin.open.size === 1);
  }, 30_000);

  test("S18, U08: redirects are the client's to follow; nothing of its credentials goes anywhere else", async () => {
    const other = await startOrigin((_request, response) => response.end("stolen"));
    const origin = await startOrigin((_request, response) => {
      response.writeHead(302, { location: `${other.url}/steal` }).end();
    });
    const front = await startFront(origin);
    for (const headers of [ASKS, BROWSER, {}]) {
      const reply = await send(front, "/s", { headers: { ...headers, cookie: "secret=1" } });
      expect([reply.status, reply.headers.location]).toEqual([302, `${other.url}/steal`]);
    }
    expect(other.requests).toEqual([]);
  });

  test("U09: a stream that was compressed all the same is one typed error, or survived", async () => {
    const origin = await startOrigin((_request, response) => {
      response.writeHead(200, { ...SSE_HEADERS, "content-encoding": "gzip" });
      response.write("not gzip");
    });
    const front = await startFront(origin);
    const reply = await send(front, "/s", { headers: ASKS });
    expect([reply.status, reply.json["code"]]).toEqual([502, "upstream_encoding"]);
    expect((await send(front, "/s", { headers: BROWSER })).text).toContain(": close overloaded");
    expect(origin.requests[0]?.headers["accept-encoding"]).toBe("identity");
    await eventually(() => origin.open.size === 0);
  });

  test("S02: bytes of the origin cannot end a comment, a frame or an id of Sluice's", async () => {
    const lines = [
      "event: gap",
      "data: {}",
      ": close pool_draining",
      "retry: 1",
      "id: AAAAbbbb0000.9",
    ];
    const origin = await startOrigin((_request, response) => {
      response.writeHead(200, SSE_HEADERS);
      response.write(`data: a\rdata: b\r\n${lines.join("\n")}\n\n`);
    });
    const front = await startFront(origin);
    const client = rawClient(front.port);
    client.send(`GET /s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n`);
    const text = await client.until("data: {}");
    expect(text).toContain("data: a\ndata: b\ndata: {}");
    expect(text).not.toContain("AAAAbbbb0000");
    expect(text).not.toContain("pool_draining");
    expect(text).not.toContain("retry: 1\n");
  });
});

describe("hostile clients", () => {
  test("S16: a request with two lengths never reaches the origin", async () => {
    const origin = await startOrigin((_request, response) => response.end("origin"));
    const front = await startFront(origin);
    for (const headers of [
      "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
      "Content-Length: 4\r\nContent-Length: 5\r\n",
      "Transfer-Encoding: chunked, identity\r\n",
      "Transfer-Encoding : chunked\r\n",
    ]) {
      const client = rawClient(front.port);
      client.send(
        `POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n${headers}\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n`,
      );
      expect(await client.closed, headers).toMatch(/^HTTP\/1\.1 4\d\d /);
    }
    expect(origin.requests).toEqual([]);
  });

  test("law 22: naming Content-Length in Connection does not change where a body ends", async () => {
    const bodies: string[] = [];
    const origin = await startOrigin((request, response) => {
      let body = "";
      request.on("data", (chunk) => (body += String(chunk)));
      request.on("end", () => {
        bodies.push(body);
        response.end("ok");
      });
    });
    const front = await startFront(origin);
    const client = rawClient(front.port);
    const body = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    client.send(
      `POST /a HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: content-length\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await client.until("ok");
    expect(bodies).toEqual([body]);
    expect(origin.requests.map(({ url }) => url)).toEqual(["/a"]);
  });

  test("a download that its client does not read holds the origin up", async () => {
    let written = 0;
    const block = Buffer.alloc(256 * 1024);
    const origin = await startOrigin((_request, response) => {
      const pump = (): void => {
        while (!response.destroyed && response.write(block)) written += block.length;
        written += block.length;
        if (!response.destroyed) response.once("drain", pump);
      };
      pump();
    });
    const front = await startFront(origin);
    const client = rawClient(front.port);
    client.send("GET /big HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    await client.until("200 OK");
    client.socket.pause();
    let before = -1;
    for (let still = 0; still < 20;) {
      still = written === before ? still + 1 : 0;
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(written).toBeLessThan(64 * 1024 * 1024);
    client.socket.destroy();
    await eventually(() => origin.open.size === 0);
  });

  test("a body that the origin does not take yet is not its sender's fault", async () => {
    const socket = { bytesRead: 0 };
    const request = Object.assign(new Readable({ read() {} }), { socket, complete: false });
    let stalls = 0;
    const pace = { lookMs: 5, looksMax: 3, progressBytes: 1024 };
    watchBody(request as unknown as IncomingMessage, () => (stalls += 1), pace);
    request.push(Buffer.alloc(request.readableHighWaterMark));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(stalls).toBe(0);
    request.read();
    await eventually(() => stalls === 1);
    request.destroy();
  });
});
