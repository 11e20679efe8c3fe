import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { eventually, rawClient, send } from "../support.ts";
import { startFront, startOrigin } from "./support.ts";

describe("ordinary requests", () => {
  test("the origin's answer comes through as it is, byte for byte", async () => {
    const origin = await startOrigin((_request, response) => {
      response.writeHead(203, [
        ["Content-Type", "text/html"],
        ["Set-Cookie", "a=1"],
        ["Set-Cookie", "b=2"],
        ["X-Own", "é"],
        ["Content-Length", "5"],
      ] as never);
      response.end(Buffer.from("hello"));
    });
    const front = await startFront(origin);
    const reply = await send(front, "/page/%C3%A9?x=1&y=%20");
    expect(reply.status).toBe(203);
    expect(reply.text).toBe("hello");
    expect(reply.headers["set-cookie"]).toEqual(["a=1", "b=2"]);
    expect(reply.headers["x-own"]).toBe("é");
    expect(reply.headers["content-length"]).toBe("5");
    expect(origin.requests[0]?.url).toBe("/page/%C3%A9?x=1&y=%20");
  });

  test("S15: hop-by-hop headers go neither way, those that Connection names included", async () => {
    const origin = await startOrigin((_request, response) => {
      response.writeHead(200, { connection: "x-hop, close", "x-hop": "1", "x-kept": "1" });
      response.end("ok");
    });
    const front = await startFront(origin);
    const reply = await send(front, "/", {
      headers: {
        connection: "X-Secret, close",
        "x-secret": "1",
        te: "trailers",
        "proxy-authorization": "Basic x",
        "x-kept": "1",
      },
    });
    const headers = origin.requests[0]?.headers ?? {};
    for (const name of ["x-secret", "te", "proxy-authorization"]) {
      expect(headers).not.toHaveProperty(name);
    }
    expect(headers["x-kept"]).toBe("1");
    expect(reply.headers).not.toHaveProperty("x-hop");
    expect(reply.headers["x-kept"]).toBe("1");
  });

  test("the origin learns who asks, and what by; what a client says of itself counts for nothing", async () => {
    const origin = await startOrigin((_request, response) => response.end());
    const front = await startFront(origin);
    await send(front, "/", {
      headers: {
        "x-forwarded-for": "198.51.100.1",
        forwarded: "for=198.51.100.1",
        via: "1.1 edge",
      },
    });
    const headers = origin.requests[0]?.headers ?? {};
    expect(headers["x-forwarded-for"]).toBe("127.0.0.1");
    expect(headers["x-forwarded-proto"]).toBe("http");
    expect(headers["x-forwarded-host"]).toBe(`127.0.0.1:${front.port}`);
    expect(headers.host).toBe(`127.0.0.1:${origin.port}`);
    expect(headers.forwarded).toBeUndefined();
    expect(headers.via).toMatch(/^1\.1 edge, 1\.1 sluice-/);
  });

  test("a trusted proxy in front is believed, and appended to", async () => {
    const origin = await startOrigin((_request, response) => response.end());
    const admission = { trustedProxies: ["127.0.0.0/8"] };
    const front = await startFront(origin, {}, { gateway: { admission } });
    await send(front, "/", {
      headers: {
        "x-forwarded-for": "198.51.100.1",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "app.example",
      },
    });
    const headers = origin.requests[0]?.headers ?? {};
    expect(headers["x-forwarded-for"]).toBe("198.51.100.1, 127.0.0.1");
    expect(headers["x-forwarded-proto"]).toBe("https");
    expect(headers["x-forwarded-host"]).toBe("app.example");
  });

  test("an allow-list lets nothing else through but what describes the body", async () => {
    const origin = await startOrigin((_request, response) => response.end());
    const front = await startFront(origin, { headersAllow: ["x-allowed"] });
    await send(front, "/", {
      method: "POST",
      body: "{}",
      headers: { "x-allowed": "1", cookie: "a=1", authorization: "x", "content-type": "a/b" },
    });
    const headers = origin.requests[0]?.headers ?? {};
    expect(headers).toMatchObject({ "x-allowed": "1", "content-type": "a/b" });
    expect(headers).not.toHaveProperty("cookie");
    expect(headers).not.toHaveProperty("authorization");
  });

  test.each(["POST", "PUT", "PATCH", "DELETE"])(
    "%s carries its body, and the answer its own",
    async (method) => {
      const origin = await startOrigin((request, response) => {
        response.writeHead(200);
        request.pipe(response);
      });
      const front = await startFront(origin);
      const body = Buffer.alloc(1024 * 1024, "abcdefg");
      const reply = await send(front, "/echo", {
        method,
        body,
        headers: { "content-length": String(body.length) },
      });
      expect(reply.text.length).toBe(body.length);
      expect(Buffer.from(reply.text).equals(body)).toBe(true);
      expect(origin.requests[0]?.method).toBe(method);
    },
  );

  test("a chunked body arrives whole, and no request says both lengths", async () => {
    let length = 0;
    const origin = await startOrigin((request, response) => {
      request.on("data", (chunk: Buffer) => (length += chunk.length));
      request.on("end", () => response.end());
    });
    const front = await startFront(origin);
    await send(front, "/", {
      method: "POST",
      body: "x".repeat(100_000),
      headers: { "transfer-encoding": "chunked" },
    });
    expect(length).toBe(100_000);
    const headers = origin.requests[0]?.headers ?? {};
    expect("content-length" in headers && "transfer-encoding" in headers).toBe(false);
  });

  test("answers without a body have none: HEAD, 204, 304", async () => {
    const origin = await startOrigin((request, response) => {
      const status = Number(request.url?.slice(1));
      response.writeHead(status, status === 200 ? { "content-length": "1000" } : {});
      response.end();
    });
    const front = await startFront(origin);
    const head = await send(front, "/200", { method: "HEAD" });
    expect([head.status, head.headers["content-length"], head.text]).toEqual([200, "1000", ""]);
    for (const status of [204, 304]) {
      const reply = await send(front, `/${status}`);
      expect([reply.status, reply.text]).toEqual([status, ""]);
    }
  });

  test("OPTIONS and errors are the origin's to answer", async () => {
    const origin = await startOrigin((request, response) => {
      response.writeHead(request.method === "OPTIONS" ? 204 : 418, { "x-from": "origin" }).end();
    });
    const front = await startFront(origin);
    for (const method of ["OPTIONS", "GET"]) {
      const reply = await send(front, "/x", { method });
      expect(reply.headers["x-from"]).toBe("origin");
    }
  });

  test("Expect: 100-continue is answered when the origin is asked", async () => {
    const origin = await startOrigin((request, response) => {
      request.resume().on("end", () => response.end("done"));
    });
    const front = await startFront(origin);
    const client = rawClient(front.port);
    client.send(
      `POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n`,
    );
    await client.until("100 Continue");
    client.send("abc");
    await client.until("done");
    expect(origin.requests[0]?.headers).not.toHaveProperty("expect");
  });

  test("requests that are pipelined are answered in their order", async () => {
    const origin = await startOrigin((request, response) => response.end(`<${request.url}>`));
    const front = await startFront(origin);
    const client = rawClient(front.port);
    const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`;
    client.send(get("/1") + get("/2") + get("/3"));
    const text = await client.until("</3>");
    expect(text.match(/<\/\d>/g)).toEqual(["</1>", "</2>", "</3>"]);
  });

  test("a client of HTTP/1.0 gets the body without chunks", async () => {
    const origin = await startOrigin((_request, response) => {
      response.write("part ");
      response.end("whole");
    });
    const front = await startFront(origin);
    const client = rawClient(front.port);
    client.send("GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
    const text = await client.closed;
    expect(text).toMatch(/\r\n\r\npart whole$/);
  });
});

describe("what breaks", () => {
  test("law 12: a client that leaves takes the origin's work with it", async () => {
    const origin = await startOrigin(() => {});
    const front = await startFront(origin);
    const sent = httpRequest(`${front.url}/slow`, { agent: false });
    sent.on("error", () => {});
    sent.end();
    await eventually(() => origin.open.size === 1);
    sent.destroy();
    await eventually(() => origin.open.size === 0);
  });

  test("law 12: also in the middle of a body, both ways", async () => {
    const origin = await startOrigin((request, response) => {
      request.resume();
      response.write("x".repeat(1000));
    });
    const front = await startFront(origin);
    const sent = httpRequest(`${front.url}/slow`, { method: "POST", agent: false });
    sent.on("error", () => {});
    sent.write("y");
    const [response] = await once(sent, "response");
    await once(response, "data");
    sent.destroy();
    await eventually(() => origin.open.size === 0);
  });

  test("U10: a body that the origin cuts short never looks whole", async () => {
    const origin = await rawOrigin("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf");
    const front = await startFront(origin);
    const client = rawClient(front.port);
    client.send("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    const text = await client.closed;
    expect(text).toContain("half");
    const chunked = await rawOrigin(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    );
    const other = await startFront(chunked);
    const second = rawClient(other.port);
    second.send("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    expect(await second.closed).not.toContain("0\r\n\r\n");
  });

  test("an answer that comes before the whole request is the connection's last, and never stuck", async () => {
    const origin = await startOrigin((request, response) => {
      response.writeHead(Number(request.url?.slice(1))).end();
    });
    const front = await startFront(origin);
    for (const [method, status] of [
      ["POST", 413],
      ["POST", 204],
      ["HEAD", 200],
    ] as const) {
      const client = rawClient(front.port);
      const head = `Host: 127.0.0.1:${front.port}\r\n`;
      client.send(`${method} /${status} HTTP/1.1\r\n${head}Content-Length: 4000000\r\n\r\nabc`);
      expect(await client.until("\r\n\r\n")).toContain(`HTTP/1.1 ${status}`);
      client.send(Buffer.alloc(4_000_000 - 3));
      client.send(`GET /200 HTTP/1.1\r\n${head}\r\n`);
      expect(await client.closed).toMatch(/^connection: close\r$/im);
    }
    expect(origin.requests).toHaveLength(3);
  }, 20_000);

  test("law 12: a client that takes nothing of a download gives its socket back after the stall time", async () => {
    const block = Buffer.alloc(1024 * 1024);
    const origin = await startOrigin((_request, response) => {
      const pump = (): void => {
        while (response.write(block));
      };
      response.on("drain", pump);
      pump();
    });
    const front = await startFront(origin, {}, { hub: { heartbeat: { stallMs: 300 } } });
    const client = rawClient(front.port);
    client.socket.pause();
    client.send(`GET /big HTTP/1.1\r\nHost: 127.0.0.1:${front.port}\r\n\r\n`);
    await eventually(() => origin.requests.length === 1);
    await eventually(() => origin.open.size === 0);
  }, 20_000);

  test("U10, S15: what is no HTTP is one typed error", async () => {
    for (const bytes of [
      "SSH-2.0-OpenSSH\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
    ]) {
      const origin = await rawOrigin(bytes);
      const front = await startFront(origin);
      const reply = await send(front, "/");
      expect(reply.status, bytes).toBe(502);
      expect(reply.json["code"], bytes).toBe("upstream_protocol");
    }
  });

  test("an origin that is not there is 502, and says so", async () => {
    const origin = await startOrigin(() => {});
    const front = await startFront(origin);
    await origin.stop();
    const reply = await send(front, "/");
    expect([reply.status, reply.json["code"]]).toEqual([502, "upstream_unreachable"]);
  });

  test("U02: an origin that says nothing is 504 after the route's time", async () => {
    const origin = await startOrigin(() => {});
    const front = await startFront(origin, { headersMsMax: 200 });
    const reply = await send(front, "/");
    expect([reply.status, reply.json["code"]]).toEqual([504, "upstream_timeout"]);
    await eventually(() => origin.open.size === 0);
  });

  test("WebSocket upgrades are refused with 501", async () => {
    const origin = await startOrigin((_request, response) => response.end());
    const front = await startFront(origin);
    const reply = await send(front, "/ws", {
      headers: { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13" },
    });
    expect([reply.status, reply.json["code"]]).toEqual([501, "upgrade_unsupported"]);
    expect(origin.requests).toEqual([]);
  });

  test("an origin that leads back here is 508, not a storm", async () => {
    let target = "";
    let count = 0;
    const origin = await startOrigin((request, response) => {
      count += 1;
      const again = httpRequest(`${target}/`, { headers: request.headers, agent: false });
      again.on("response", (answer) => {
        response.writeHead(answer.statusCode ?? 0, answer.headers);
        answer.pipe(response);
      });
      again.end();
    });
    const front = await startFront(origin);
    target = front.url;
    const reply = await send(front, "/");
    expect([reply.status, reply.json["code"]]).toEqual([508, "upstream_loop"]);
    expect(count).toBe(1);
  });

  test("so are gateways that lead to one another, also where a stream is shared", async () => {
    const relay = createServer((socket) => {
      const out = connect(target, "127.0.0.1");
      socket.on("error", () => out.destroy()).pipe(out);
      out.on("error", () => socket.destroy()).pipe(socket);
    });
    relay.listen(0, "127.0.0.1");
    await once(relay, "listening");
    onTestFinished(() => void relay.close());
    const url = `http://127.0.0.1:${(relay.address() as AddressInfo).port}`;
    const first = await startFront({ url });
    const second = await startFront(first);
    const target = second.port;
    const reply = await send(first, "/s", { headers: { accept: "text/event-stream" } });
    expect([reply.status, reply.json["code"]]).toEqual([508, "upstream_loop"]);
  });

  test("Sluice's own paths stay its own", async () => {
    const origin = await startOrigin((_request, response) => response.end("origin"));
    const front = await startFront(origin);
    const reply = await send(front, "/v1/topics/a", {
      method: "POST",
      body: "x",
      headers: { "content-type": "text/plain" },
    });
    expect(reply.status).toBe(201);
    expect(origin.requests).toEqual([]);
    expect((await send(front, "/")).text).toBe("origin");
  });

  test("paths that no route names are 404", async () => {
    const origin = await startOrigin((_request, response) => response.end("origin"));
    const front = await startFront(origin, { match: "/app/**" });
    expect((await send(front, "/app/x")).text).toBe("origin");
    expect((await send(front, "/other")).status).toBe(404);
    expect((await send(front, "/app/../other")).status).toBe(400);
  });
});

/** Answers every connection with the same bytes, and closes it. */
async function rawOrigin(bytes: string): Promise<{ url: string }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("data", () => socket.end(bytes));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}
