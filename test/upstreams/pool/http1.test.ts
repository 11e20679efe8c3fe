import { once } from "node:events";
import type { Socket } from "node:net";
import { PassThrough, Readable } from "node:stream";
import { expect, test } from "vitest";
import { get, textOf } from "./origins.ts";
import { brokenOff, codeOf, http1Origin, openPool, rawHttp1Origin, until } from "./pool-world.ts";

test("One socket carries one request after another, without Nagle's delay", async () => {
  const origin = await http1Origin((request, response) => response.end(request.url));
  const { pool, metrics, status } = openPool();
  for (let index = 0; index < 10; index += 1) {
    const {
      body,
      status: answered,
      httpVersion,
    } = await pool.request(get(origin.port, `/${index}`));
    expect([answered, httpVersion, await textOf(body)]).toEqual([200, "1.1", `/${index}`]);
    await until(() => expect(status().sockets).toMatchObject({ idle: 1, leased: 0 }));
  }
  expect(origin.acceptedTotal).toBe(1);
  expect(metrics.plain.sluice_upstream_acquired_total).toBe(10);
  expect(metrics.plain.sluice_upstream_opened_total).toBe(1);
  expect(metrics.plain.sluice_upstream_double_releases_total).toBe(0);
});

test("S15: hop-by-hop headers go neither way; others keep order and number", async () => {
  const origin = await http1Origin((request, response) => {
    response.writeHead(207, [
      ["Set-Cookie", "a=1"],
      ["Set-Cookie", "b=2"],
      ["X-Private", "1"],
      ["Connection", "keep-alive, X-Private"],
    ] as never);
    response.end(JSON.stringify(request.rawHeaders));
  });
  const { pool } = openPool();
  const headers = [
    ["x-first", "1"],
    ["cookie", "one"],
    ["connection", "x-hop"],
    ["x-hop", "never"],
    ["te", "trailers"],
    ["transfer-encoding", "chunked"],
    ["cookie", "two"],
  ] as const;
  const response = await pool.request(get(origin.port, "/", { headers }));
  expect(response.status).toBe(207);
  expect(response.headers.filter(([name]) => name === "set-cookie")).toEqual([
    ["set-cookie", "a=1"],
    ["set-cookie", "b=2"],
  ]);
  const names = response.headers.map(([name]) => name);
  for (const name of ["connection", "x-private", "transfer-encoding", "keep-alive"]) {
    expect(names).not.toContain(name);
  }
  const sent = JSON.parse(await textOf(response.body)) as string[];
  expect(sent).toEqual(
    [
      ["host", `127.0.0.1:${origin.port}`],
      ["x-first", "1"],
      ["cookie", "one"],
      ["cookie", "two"],
      ["Connection", "keep-alive"],
    ].flat(),
  );
});

test("Bodies are sent as they are: bytes, streams of known and of unknown length, none", async () => {
  const origin = await http1Origin((request, response) => {
    void textOf(request).then((text) => {
      const { "content-length": length, "transfer-encoding": encoding } = request.headers;
      response.end(`${length ?? encoding ?? "none"}:${text}`);
    });
  });
  const { pool } = openPool();
  const send = async (body: Buffer | Readable | undefined, length?: string): Promise<string> => {
    const headers = length === undefined ? [] : ([["content-length", length]] as const);
    const request = get(origin.port, "/", { method: "POST", body, headers });
    return textOf((await pool.request(request)).body);
  };
  const stream = (): Readable => Readable.from([Buffer.from("ab"), Buffer.from("c")]);
  expect(await send(Buffer.from("abc"), "7")).toBe("3:abc");
  expect(await send(stream())).toBe("chunked:abc");
  expect(await send(stream(), "3")).toBe("3:abc");
  expect(await send(undefined, "9")).toBe("0:");
  expect(origin.acceptedTotal).toBe(1);
});

test("S15: a body that is longer or shorter than its Content-Length ends its socket", async () => {
  const origin = await http1Origin((request, response) => {
    request.resume().once("end", () => response.end("ok"));
  });
  const { pool, status } = openPool();
  for (const length of ["2", "4"]) {
    const body = Readable.from([Buffer.from("abc")]);
    const headers = [["content-length", length]] as const;
    const request = get(origin.port, "/", { method: "POST", body, headers });
    await expect(pool.request(request)).rejects.toThrow(/bytes/);
  }
  await until(() => expect(origin.sockets.size).toBe(0));
  expect(status().circuit).toBe("closed");
});

test("A body that breaks off is told of as it broke, and counts against nobody", async () => {
  const origin = await http1Origin((request) => request.on("error", () => {}));
  const { pool, status } = openPool({ breaker: { failures: 1 } });
  const body = new PassThrough();
  const asked = pool.request(get(origin.port, "/", { method: "POST", body }));
  body.write("half");
  await until(() => expect(origin.sockets.size).toBe(1));
  body.destroy(new Error("the client went"));
  await expect(asked).rejects.toThrow("the client went");
  await until(() => expect(origin.sockets.size).toBe(0));
  expect(status().circuit).toBe("closed");
});

test("A body that was read by somebody else cannot be sent, and is not waited for", async () => {
  const origin = await http1Origin((request) => request.on("error", () => {}));
  for (const autoDestroy of [true, false]) {
    const { pool, status } = openPool();
    const body = new PassThrough({ autoDestroy });
    body.resume().end();
    await once(body, autoDestroy ? "close" : "end");
    const asked = pool.request(get(origin.port, "/", { method: "POST", body }));
    await expect(asked).rejects.toThrow("broke off");
    expect(status().streamsNow).toBe(0);
  }
});

test("What has no body leaves its socket, whether somebody looks or not", async () => {
  const origin = await http1Origin((request, response) => {
    response.writeHead(request.url === "/204" ? 204 : 200, { "content-length": 0 }).end();
  });
  const { pool, status } = openPool();
  for (const [method, path] of [
    ["HEAD", "/"],
    ["GET", "/204"],
    ["GET", "/"],
  ] as const) {
    await pool.request(get(origin.port, path, { method }));
    await until(() => expect(status().sockets.idle).toBe(1));
  }
  expect(origin.acceptedTotal).toBe(1);
});

test("A body is read no faster than its reader reads, and whole", async () => {
  const chunk = Buffer.alloc(64 * 1024, "x");
  let isHeld = false;
  const origin = await http1Origin((_request, response) => {
    let left = 256;
    const write = (): void => {
      while (left > 0) {
        left -= 1;
        if (!response.write(chunk)) return void ((isHeld = true), response.once("drain", write));
      }
      response.end();
    };
    write();
  });
  const { pool, status } = openPool();
  const { body } = await pool.request(get(origin.port));
  await until(() => expect(isHeld).toBe(true));
  await until(() => expect(body.readableLength).toBeGreaterThanOrEqual(64 * 1024));
  expect(body.readableLength).toBeLessThan(256 * 1024);
  expect(status().sockets.leased).toBe(1);
  expect((await textOf(body)).length).toBe(256 * chunk.length);
  await until(() => expect(status().sockets.idle).toBe(1));
});

test("U15 law 22: a response that was not read to its end takes its socket with it", async () => {
  const origin = await http1Origin((request, response) => {
    response.write(`${request.url}:`);
    if (request.url === "/next") response.end();
  });
  const { pool, metrics } = openPool();
  const { body } = await pool.request(get(origin.port, "/stream"));
  body.destroy();
  await until(() => expect(origin.sockets.size).toBe(0));
  expect(metrics.get("sluice_upstream_evicted_total", "unfinished")).toBe(1);
  const next = await pool.request(get(origin.port, "/next"));
  expect(await textOf(next.body)).toBe("/next:");
  expect(origin.acceptedTotal).toBe(2);
});

test("U15: bytes behind the end of a response are nobody's: their socket is not used again", async () => {
  const whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  for (const delayed of [true, false]) {
    const port = await rawHttp1Origin((socket, _head, index) => {
      const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
      if (index > 0) return void socket.write(whole);
      if (delayed) socket.write(whole, () => setImmediate(() => socket.write(poison)));
      else socket.write(whole + poison);
    });
    const { pool, status } = openPool();
    expect(await textOf((await pool.request(get(port))).body)).toBe("ok");
    await until(() => expect(status().evictedTotal).toBe(1));
    expect(await textOf((await pool.request(get(port))).body)).toBe("ok");
    expect(status().openedTotal).toBe(2);
  }
});

test("An answer before the request was sent whole is an answer; its socket is not used again", async () => {
  const port = await rawHttp1Origin((socket) => {
    socket.write("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!");
  });
  const { pool, status } = openPool();
  const body = new PassThrough();
  body.write("a part");
  const response = await pool.request(get(port, "/", { method: "POST", body }));
  expect([response.status, await textOf(response.body)]).toEqual([413, "no!"]);
  await until(() => expect(status().sockets).toMatchObject({ idle: 0, leased: 0 }));
});

test("An abort ends a request at once, before and after its head", async () => {
  const origin = await http1Origin((request, response) => {
    if (request.url === "/head") response.write("x");
  });
  const { pool, status } = openPool({ breaker: { failures: 1 } });
  const before = new AbortController();
  const silent = pool.request(get(origin.port, "/silent", { signal: before.signal }));
  await until(() => expect(origin.sockets.size).toBe(1));
  before.abort(new Error("gone"));
  await expect(silent).rejects.toThrow("gone");
  const after = new AbortController();
  const { body } = await pool.request(get(origin.port, "/head", { signal: after.signal }));
  const broke = once(body, "error");
  after.abort(new Error("gone too"));
  expect(await broke).toEqual([new Error("gone too")]);
  await until(() => expect(origin.sockets.size).toBe(0));
  expect(status()).toMatchObject({ circuit: "closed", streamsNow: 0 });
});

test("S15: what would break the framing is refused, and the socket is as good as before", async () => {
  const origin = await http1Origin((_request, response) => response.end("ok"));
  const { pool, status } = openPool();
  for (const more of [
    { headers: [["x", "a\r\nHost: evil"]] },
    { headers: [["x y", "a"]] },
    { path: "/a b" },
    { path: "/\r\n" },
    { method: "GET /x HTTP/1.1\r\nX:" },
    { method: "CONNECT" },
  ] as const) {
    expect(await codeOf(pool.request(get(origin.port, "/", more)))).toBe("request_malformed");
  }
  expect(await textOf((await pool.request(get(origin.port))).body)).toBe("ok");
  expect(status().openedTotal).toBe(1);
});

const OK = "HTTP/1.1 200 OK\r\n";
const CHUNKED = `${OK}Transfer-Encoding: chunked\r\n\r\n`;
const hostile: readonly (readonly [name: string, answer: string, where: "head" | "body"])[] = [
  ["no HTTP at all", "SSH-2.0-OpenSSH_9.2\r\n\r\n", "head"],
  ["a bad chunk size", `${CHUNKED}zz\r\nab\r\n0\r\n\r\n`, "body"],
  ["a chunk size beyond 64 bits", `${CHUNKED}fffffffffffffffff\r\nab\r\n`, "body"],
  ["a chunk longer than its size", `${CHUNKED}1\r\nabc\r\n0\r\n\r\n`, "body"],
  ["two Content-Lengths", `${OK}Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc`, "head"],
  ["two equal Content-Lengths", `${OK}Content-Length: 2\r\nContent-Length: 2\r\n\r\nab`, "head"],
  [
    "both framings",
    `${OK}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`,
    "head",
  ],
  ["a negative Content-Length", `${OK}Content-Length: -1\r\n\r\n`, "head"],
  ["a header line without a colon", `${OK}garbage\r\n\r\n`, "head"],
  ["a folded header", `${OK}X: a\r\n b\r\nContent-Length: 0\r\n\r\n`, "head"],
  ["a NUL in a header", `${OK}X: a\0b\r\nContent-Length: 0\r\n\r\n`, "head"],
  ["64 KB of headers", `${OK}X: ${"x".repeat(65_536)}\r\nContent-Length: 0\r\n\r\n`, "head"],
  ["64 KB in many headers", `${OK}${"X: y\r\n".repeat(11_000)}\r\n`, "head"],
  ["1,000 informational responses", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1_000), "head"],
  ["an upgrade that nobody asked for", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "head"],
];

for (const [name, answer, where] of hostile) {
  test(`U10 S15: ${name} is one upstream_protocol, and ends its socket`, async () => {
    const port = await rawHttp1Origin((socket) => socket.write(answer, "latin1"));
    const { pool, metrics, status } = openPool();
    const asked = pool.request(get(port));
    const told = where === "head" ? asked : asked.then(({ body }) => textOf(body));
    expect(await codeOf(told)).toBe("upstream_protocol");
    expect(metrics.get("sluice_upstream_errors_total", "upstream_protocol")).toBe(1);
    await until(() => expect(status().sockets).toMatchObject({ leased: 0, idle: 0, dead: 0 }));
    expect(status()).toMatchObject({ streamsNow: 0, tenants: 0 });
  });
}

test("S15: a flood of chunk extensions ends as upstream_protocol, or is read at the body's length", async () => {
  const extension = `;${"x".repeat(1_000_000)}`;
  const port = await rawHttp1Origin((socket) => {
    socket.write(`${CHUNKED}2${extension}\r\nab\r\n0\r\n\r\n`);
  });
  const { pool } = openPool();
  const { body } = await pool.request(get(port));
  expect(await codeOf(textOf(body))).toBe("upstream_protocol");
});

for (const [name, bytes] of [
  ["Content-Length", `${OK}Content-Length: 10\r\n\r\nabc`],
  ["chunks", `${CHUNKED}3\r\nabc\r\n`],
] as const) {
  test(`U10: a response that is cut short of its ${name} ends in upstream_protocol`, async () => {
    const port = await rawHttp1Origin((socket) => socket.end(bytes));
    const { pool, status } = openPool();
    const { body } = await pool.request(get(port));
    expect(await codeOf(textOf(body))).toBe("upstream_protocol");
    expect(status().circuit).toBe("closed");
  });
}

test("A body that ends with its connection is whole, trailers or an old protocol do no harm", async () => {
  const answers = [
    "HTTP/1.0 200 OK\r\n\r\nok",
    `${OK}\r\nok`,
    `${CHUNKED}2\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n`,
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" +
      `${OK}Content-Length: 2\r\n\r\nok`,
  ];
  for (const answer of answers) {
    const port = await rawHttp1Origin((socket) => socket.end(answer));
    const { pool } = openPool();
    expect(await textOf((await pool.request(get(port))).body)).toBe("ok");
  }
});

test("An error of a body that nobody listens to does not end the process", async () => {
  const port = await rawHttp1Origin((socket) => {
    socket.write(`${OK}Content-Length: 10\r\n\r\n`);
    setImmediate(() => socket.resetAndDestroy());
  });
  const { pool, metrics } = openPool();
  const { body } = await pool.request(get(port));
  await until(() => expect(body.destroyed).toBe(true));
  expect(metrics.get("sluice_upstream_errors_total", "upstream_protocol")).toBe(1);
});

test("U10: what came in one packet with broken framing is read before the error", async () => {
  const port = await rawHttp1Origin((socket) => {
    socket.write(`${CHUNKED}9\r\ndata: 1\n\n\r\nzz\r\n`);
  });
  const { pool } = openPool();
  const { body } = await pool.request(get(port));
  expect(await brokenOff(body)).toEqual({ text: "data: 1\n\n", code: "upstream_protocol" });
});

test("U10: what came before the end of a connection is read first, however slowly", async () => {
  const sockets: Socket[] = [];
  const half = "x".repeat(90_000);
  const port = await rawHttp1Origin((socket) => {
    sockets.push(socket);
    socket.end(`${OK}Content-Length: 100000\r\n\r\n${half}`);
  });
  const { pool, status } = openPool();
  const { body } = await pool.request(get(port));
  await until(() => expect(status().streamsNow).toBe(0));
  expect(body.destroyed).toBe(false);
  expect(await brokenOff(body)).toEqual({ text: half, code: "upstream_protocol" });
});

test("A response that is whole stays so, though its connection breaks before it is read", async () => {
  const sockets: Socket[] = [];
  const whole = "x".repeat(100_000);
  const port = await rawHttp1Origin((socket) => {
    sockets.push(socket);
    socket.write(`${OK}Content-Length: ${whole.length}\r\n\r\n${whole}`);
  });
  const { pool, status } = openPool();
  const { body } = await pool.request(get(port));
  await once(body, "readable");
  await until(() => expect(body.readableLength).toBeGreaterThanOrEqual(64 * 1024));
  sockets[0]?.resetAndDestroy();
  await until(() => expect(status().sockets).toMatchObject({ leased: 0, dead: 0 }));
  expect(await textOf(body)).toBe(whole);
});

for (const path of [
  "http://other/",
  "//",
  "*",
  "",
  "/a b",
  "/a\r\nX: y",
  "/\0",
  "/\x7f",
  "/\u012f",
]) {
  const code = path === "//" ? "resolved" : "request_malformed";
  test(`S15: the target ${JSON.stringify(path)}: ${code}`, async () => {
    const targets: (string | undefined)[] = [];
    const origin = await http1Origin((request, response) => {
      targets.push(request.url);
      response.end();
    });
    const { pool, status } = openPool({ breaker: { failures: 1 } });
    expect(await codeOf(pool.request(get(origin.port, path)))).toBe(code);
    expect(targets).toEqual(code === "resolved" ? [path] : []);
    expect(status().circuit).toBe("closed");
  });
}
