import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { createSecureServer } from "node:http2";
import type { ServerHttp2Stream } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import { createServer } from "node:net";
import type { Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import type { TLSSocket } from "node:tls";
import { describe, expect, onTestFinished, test } from "vitest";
import { parseOrigin } from "../../../src/upstreams/origin.ts";
import { describeWith, needs } from "../../support/programs.ts";
import { dial, dialHttp2, get, listen, makeIdentity, named, textOf } from "./origins.ts";

const LOCAL = { lookup: () => Promise.resolve([{ address: "127.0.0.1", family: 4 as const }]) };

/** A port on which nothing listens. */
async function deadPort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  server.close();
  await once(server, "close");
  return port;
}

describe("TCP", () => {
  test("a named origin on loopback: a socket for HTTP/1.1, without Nagle", async () => {
    const port = await listen(createServer());
    const dialed = await dial(named(`http://127.0.0.1:${port}`));
    expect(dialed.kind).toBe("http1");
  });

  test("nobody listens: upstream_unreachable, which says so", async () => {
    const port = await deadPort();
    await expect(dial(named(`http://127.0.0.1:${port}`))).rejects.toMatchObject({
      code: "upstream_unreachable",
      message: `http://127.0.0.1:${port}: nothing listens there`,
    });
  });

  test("addresses are tried in turn until one answers", async () => {
    const port = await listen(createServer(), "127.0.0.3");
    const addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
    const lookup = () =>
      Promise.resolve(addresses.map((address) => ({ address, family: 4 as const })));
    const dialed = await dial(named(`http://app.example:${port}`), { book: { lookup } });
    expect(dialed.kind === "http1" && dialed.socket.remoteAddress).toBe("127.0.0.3");
  });

  test("S20 the connection goes to the address that was checked; the name is not asked again", async () => {
    const port = await listen(createServer());
    let asked = 0;
    const lookup = () => {
      asked += 1;
      return Promise.resolve([{ address: "127.0.0.1", family: 4 as const }]);
    };
    await dial(named(`http://no-such-host.invalid:${port}`), { book: { lookup } });
    expect(asked).toBe(1);
  });

  test.each(["127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "localhost"])(
    "S20 U08 an origin that a request has named never gets to loopback: %s",
    async (host) => {
      const server = createServer();
      let connections = 0;
      server.on("connection", () => (connections += 1));
      const port = await listen(server);
      const origin = parseOrigin(`http://${host}:${port}`, { isNamed: false });
      await expect(dial(origin)).rejects.toMatchObject({ code: "upstream_forbidden" });
      expect(connections).toBe(0);
    },
  );

  test("P22 DNS that is silent: upstream_timeout within the deadline of the connection", async () => {
    const lookup = () => new Promise<never>(() => {});
    const attempt = dial(named("http://app.example"), {
      options: { connectMsMax: 100 },
      book: { lookup },
    });
    await expect(attempt).rejects.toMatchObject({ code: "upstream_timeout" });
  });

  test("an abort ends the attempt with its reason", async () => {
    const controller = new AbortController();
    const attempt = dial(named("http://app.example"), {
      options: { signal: controller.signal },
      book: { lookup: () => new Promise<never>(() => {}) },
    });
    controller.abort(new Error("not wanted"));
    await expect(attempt).rejects.toThrow("not wanted");
  });

  test("prior knowledge: HTTP/2 without TLS; who does not speak it is told apart", async () => {
    const port = await listen(
      createServer((socket) => {
        socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
      }),
    );
    await expect(dialHttp2(port)).rejects.toMatchObject({ code: "upstream_protocol" });
  });

  test("who accepts and says nothing: upstream_timeout, and the socket is closed", async () => {
    const server = createServer();
    const accepted = once(server, "connection") as Promise<[Socket]>;
    const port = await listen(server);
    const attempt = dialHttp2(port, { options: { connectMsMax: 100 } });
    await expect(attempt).rejects.toMatchObject({ code: "upstream_timeout" });
    const [socket] = await accepted;
    socket.resume();
    if (!socket.closed) await once(socket, "close");
  });
});

describeWith({ openssl: needs("openssl") }, "TLS", ({ openssl }) => {
  test("ALPN decides: an origin that offers both gets HTTP/2", async () => {
    const identity = makeIdentity(openssl);
    const server = createSecureServer({ ...identity, allowHTTP1: true });
    server.on("stream", (stream: ServerHttp2Stream) => {
      stream.respond({ ":status": 200 });
      stream.end("over h2");
    });
    const port = await listen(server);
    const origin = named(`https://localhost:${port}`);
    const dialed = await dial(origin, { options: { ca: identity.cert }, book: LOCAL });
    if (dialed.kind !== "http2") throw new Error("not HTTP/2");
    const { body, status } = await dialed.session.request({ ...get(port), origin });
    expect([status, await textOf(body)]).toEqual([200, "over h2"]);
    const off = await dial(origin, { options: { ca: identity.cert, http2: "off" }, book: LOCAL });
    expect(off.kind).toBe("http1");
  });

  test("an origin without ALPN gets HTTP/1.1, by name with SNI, by address without", async () => {
    const identity = makeIdentity(openssl);
    const names: (string | false)[] = [];
    const server = createHttpsServer(identity);
    server.on("secureConnection", (socket: TLSSocket) => {
      names.push((socket as unknown as { servername: string | false }).servername);
    });
    const port = await listen(server);
    for (const host of ["localhost", "127.0.0.1"]) {
      const origin = named(`https://${host}:${port}`);
      const dialed = await dial(origin, { options: { ca: identity.cert }, book: LOCAL });
      expect(dialed.kind).toBe("http1");
    }
    await expect.poll(() => names).toEqual(["localhost", false]);
  });

  test.each([
    ["an expired certificate", -1, "localhost", "its certificate has expired"],
    ["the wrong name", 2, "other.example", "its certificate is not for other.example"],
    ["the wrong address", 2, "127.0.0.2", "its certificate is not for 127.0.0.2"],
  ])("U17 %s: closed, with a message that says it", async (_, days, host, message) => {
    const identity = makeIdentity(openssl, days);
    const server = createHttpsServer(identity);
    const requests: string[] = [];
    server.on("request", ({ url }) => requests.push(url ?? ""));
    const port = await listen(server, "0.0.0.0");
    const origin = named(`https://${host}:${port}`);
    const attempt = dial(origin, { options: { ca: identity.cert }, book: LOCAL });
    await expect(attempt).rejects.toMatchObject({
      code: "upstream_tls",
      message: expect.stringContaining(message),
    });
    expect(requests).toEqual([]);
  });

  test("U17 an authority that nobody knows: closed, also if the environment would allow it", async () => {
    const before = process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
    process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
    onTestFinished(() => {
      if (before === undefined) delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
      else process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = before;
    });
    const port = await listen(createHttpsServer(makeIdentity(openssl)));
    await expect(dial(named(`https://localhost:${port}`), { book: LOCAL })).rejects.toMatchObject({
      code: "upstream_tls",
      message: expect.stringContaining("signed by nobody who is trusted"),
    });
  });

  test.each(["TLSv1", "TLSv1.1"] as const)("U17 %s only: closed, and said", async (version) => {
    const identity = makeIdentity(openssl);
    const old = { minVersion: version, maxVersion: version, ciphers: "DEFAULT@SECLEVEL=0" };
    const server = createTlsServer({ ...identity, ...old });
    server.on("tlsClientError", () => {});
    const port = await listen(server);
    const attempt = dial(named(`https://localhost:${port}`), {
      options: { ca: identity.cert },
      book: LOCAL,
    });
    await expect(attempt).rejects.toMatchObject({
      code: "upstream_tls",
      message: expect.stringContaining("no TLS 1.2 or newer"),
    });
  });

  test.each([
    ["plain HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", "it does not speak TLS on this port"],
    ["nothing, and hangs up", "", "it closed the connection during the handshake"],
  ])("U17 where TLS is expected an origin says %s", async (_, said, message) => {
    const port = await listen(createServer((socket) => socket.end(said)));
    const attempt = dial(named(`https://localhost:${port}`), { book: LOCAL });
    await expect(attempt).rejects.toMatchObject({
      code: "upstream_tls",
      message: expect.stringContaining(message),
    });
  });

  test("U17 nothing in the source switches the verification off", () => {
    const source = new URL("../../../src/", import.meta.url);
    const files = readdirSync(source, { recursive: true, encoding: "utf8" });
    const code = files.filter((file) => file.endsWith(".ts"));
    expect(code.length).toBeGreaterThan(100);
    const off = /rejectUnauthorized\W+(?!true)\w|NODE_TLS_REJECT_UNAUTHORIZED["'\]\s]*=[^=0]/;
    expect(code.filter((file) => off.test(readFileSync(new URL(file, source), "utf8")))).toEqual(
      [],
    );
  });

  test("a handshake that never ends: upstream_timeout", async () => {
    const port = await listen(createServer());
    const options = { connectMsMax: 100 };
    const attempt = dial(named(`https://localhost:${port}`), { options, book: LOCAL });
    await expect(attempt).rejects.toMatchObject({ code: "upstream_timeout" });
  });
});
