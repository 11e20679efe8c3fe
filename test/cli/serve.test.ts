import { ensureBuilt } from "../support/built.ts";
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { subscribe } from "../../src/client/index.ts";
import { folderWith } from "../config/support.ts";
import {
  FREE_PORTS,
  Lines,
  MAIN,
  cleanEnv,
  ended,
  openAcking,
  serve,
  sluice,
  start,
} from "./support.ts";

beforeAll(ensureBuilt, 60_000);

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Until something listens there. The test's own limit bounds it. */
async function answering(url: string): Promise<Response> {
  for (;;) {
    try {
      return await fetch(url);
    } catch {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

test("piped, it says where it listens in one JSON line, and serves there", async () => {
  const { url, adminUrl, stdout } = await serve();
  const line = JSON.parse(stdout.all[0] ?? "") as Record<string, unknown>;
  expect(line).toEqual({
    level: "info",
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/) as string,
    url,
    adminUrl,
    msg: "listening",
  });
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:[1-9]\d*$/);
  expect((await fetch(`${adminUrl}/readyz`)).status).toBe(200);
  const posted = await fetch(`${url}/v1/topics/a`, { method: "POST", body: "x" });
  expect(posted.status).toBe(201);
});

test.each(["SIGTERM", "SIGINT"] as const)(
  "P06 %s: a client that acknowledges is let go at once, and the process ends with exit code 0 within a second",
  async (signal) => {
    const { url, child, exited, stdout } = await serve();
    const stream = await openAcking(url);
    const at = performance.now();
    child.kill(signal);
    // A body that is cut instead of ended would reject.
    expect(await stream.text).toMatch(/retry: \d+\n\nevent: close\ndata: pool_draining\n\n$/);
    expect(await exited).toBe(0);
    expect(performance.now() - at).toBeLessThan(1_000);
    expect(JSON.parse(await stdout.until('"drained"'))).toMatchObject({
      total: 1,
      byHow: { ack: 1 },
      isForced: false,
    });
    await stdout.until('"closed"');
  },
);

test("law 20 a client that reads nothing does not hold up the end beyond the deadline, and the exit code tells", async () => {
  const { url, child, exited, stdout } = await serve(["--drain-deadline", "600ms"]);
  const reading = new AbortController();
  onTestFinished(() => reading.abort());
  const response = await fetch(`${url}/v1/topics/a`, { signal: reading.signal });
  const data = `${JSON.stringify("x".repeat(500_000))}\n`.repeat(16);
  // More than both kernels' buffers take (10 MiB).
  for (let batch = 0; batch < 4; batch += 1) {
    await fetch(`${url}/v1/topics/a`, {
      method: "POST",
      body: data,
      headers: { "Content-Type": "application/x-ndjson" },
    });
  }
  const at = performance.now();
  child.kill("SIGTERM");
  expect(await exited).toBe(75);
  expect(performance.now() - at).toBeLessThan(2_500);
  expect(await stdout.until('"drained"')).toContain('"deadline":1');
  // Kept until here: fetch closes the connection of a response that is garbage.
  expect(response.bodyUsed).toBe(false);
});

test("Ctrl-C under npm arrives twice: streams are ended cleanly all the same", async () => {
  const { url, child, exited } = await serve();
  const stream = await openAcking(url);
  child.kill("SIGINT");
  child.kill("SIGINT");
  expect(await stream.text).toMatch(/event: close\ndata: pool_draining\n\n$/);
  expect(await exited).toBe(0);
});

test("P23 a port in use is told with the next free one, and that command works", async () => {
  const first = await serve();
  const { port } = new URL(first.url);
  const { code, stderr, stdout } = await sluice(["serve", "--port", port]);
  expect([code, stdout]).toEqual([69, ""]);
  const [, flags] =
    /^sluice: cannot listen on 127\.0\.0\.1:\d+: EADDRINUSE \(another program listens there\)\n  hint: the next free port: sluice serve (.*)\n$/.exec(
      stderr,
    ) ?? [];
  expect(flags).toMatch(/^--port [0-9]+ --admin-port 0$/);
  const second = start(["serve", ...(flags ?? "").split(" ")]);
  await new Lines(second.stdout).until('"listening"');
});

test("P23 an admin port in use is told as the admin port", async () => {
  const first = await serve();
  const { port } = new URL(first.adminUrl);
  const { code, stderr } = await sluice(["serve", "--port", "0", "--admin-port", port]);
  expect(code).toBe(69);
  expect(stderr).toMatch(
    /\n {2}hint: the next free port: sluice serve --port 0 --admin-port \d+\n$/,
  );
});

test("P23 the command that is suggested keeps every flag that was said, ready for a shell", async () => {
  const first = await serve();
  const port = await freePort();
  const folder = folderWith({ "my config.yaml": "retry: 1s\n" });
  const args = ["--port", `${port}`, "--admin-port", new URL(first.adminUrl).port];
  const more = ["-c", "my config.yaml", "--insecure", "--cors-origin", "http://a.example"];
  const { stderr } = await sluice(
    ["serve", ...args, ...more, "--cors-origin", "http://b.example"],
    {
      folder,
    },
  );
  const [, flags = ""] = /\n {2}hint: .*: sluice serve (.*)\n$/.exec(stderr) ?? [];
  expect(flags.split(/ (?=--)/).toSorted()).toEqual([
    expect.stringMatching(/^--admin-port \d+$/),
    "--config 'my config.yaml'",
    "--cors-origin http://a.example",
    "--cors-origin http://b.example",
    "--insecure",
    `--port ${port}`,
  ]);
});

test("P23 the port that is suggested is not the one said for the admin listener", async () => {
  const first = await serve();
  const { port } = new URL(first.url);
  const { stderr } = await sluice(["serve", "--port", port, "--admin-port", `${Number(port) + 1}`]);
  const [, free, admin] = /sluice serve --port (\d+) --admin-port (\d+)\n$/.exec(stderr) ?? [];
  expect(Number(admin)).toBe(Number(port) + 1);
  expect(free).not.toBe(admin);
});

test("P23 an address that is not this machine's is told, with exit code 69", async () => {
  const args = ["serve", "--host", "192.0.2.1", "--insecure", ...FREE_PORTS];
  const { code, stderr } = await sluice(args);
  expect(code).toBe(69);
  expect(stderr).toContain("cannot listen on 192.0.2.1:0: EADDRNOTAVAIL (this machine has no such");
});

test("P23 a port that needs a right is told", async () => {
  // Root has the right; `nobody` has not.
  const uid = process.getuid?.() === 0 ? 65_534 : undefined;
  const { code, stderr } = await sluice(["serve", "--port", "80", "--admin-port", "0"], { uid });
  expect(code).toBe(69);
  expect(stderr).toContain("cannot listen on 127.0.0.1:80: EACCES (ports below 1024 need a right");
});

test("P23 IPv6 works where there is some, and where it is off that is told", async () => {
  const hasIpv6 = Object.values(networkInterfaces()).some((all) =>
    all?.some(({ address }) => address === "::1"),
  );
  const child = start(["serve", "--host", "::1", ...FREE_PORTS]);
  if (hasIpv6) {
    const line = await new Lines(child.stdout).until('"listening"');
    expect(line).toMatch(/"url":"http:\/\/\[::1\]:\d+"/);
  } else {
    const { code, stderr } = await ended(child);
    expect(code).toBe(69);
    expect(stderr).toMatch(/cannot listen on \[::1\]:0: (EADDRNOTAVAIL|EAFNOSUPPORT) \(this/);
  }
});

test("with --insecure it listens, and warns loudly on both outputs", async () => {
  const { stdout, stderr, url } = await serve(["--host", "0.0.0.0", "--insecure"]);
  expect(await stderr.until("WARNING")).toMatch(
    /^sluice: WARNING: INSECURE: listening on 0\.0\.0\.0/,
  );
  expect(await stdout.until("INSECURE")).toContain('"level":"warn"');
  const { port } = new URL(url);
  const host = "anything.example";
  const { status } = await fetch(`http://127.0.0.1:${port}/v1/topics/a`, {
    method: "POST",
    body: "x",
    headers: { "X-Forwarded-Host": host },
  });
  expect(status).toBe(201);
});

test("options reach the gateway: topic rules, event size, retry", async () => {
  const folder = folderWith({
    "sluice.config.yaml":
      "eventBytesMax: 10\nretry: 100ms\ntopics:\n  - match: short/*\n    retention: {count: 2}\n",
  });
  const { url } = await serve([], { folder });
  const post = (path: string, body: string): Promise<Response> =>
    fetch(`${url}/v1/topics/${path}`, { method: "POST", body });
  expect((await post("a", "x".repeat(11))).status).toBe(413);
  for (const body of ["1", "2", "3"]) await post("short/a", body);
  const seen: unknown[] = [];
  for await (const item of subscribe({ url, topics: ["short/a"], from: "earliest" })) {
    seen.push(item.type === "event" ? item.data : item.type);
    if (seen.length === 2) break;
  }
  expect(seen).toEqual(["2", "3"]);
  const stream = await fetch(`${url}/v1/topics/a`);
  const reader = stream.body?.getReader();
  const head = new TextDecoder().decode((await reader?.read())?.value);
  await reader?.cancel();
  expect(Number(/^retry: (\d+)/.exec(head)?.[1])).toBeLessThanOrEqual(150);
});

test("P24 when nobody reads its output any more, it goes on serving", async () => {
  const port = await freePort();
  const command = `"${process.execPath}" "${MAIN}" serve --port ${port} --admin-port 0 2>&1 | true`;
  const shell = spawn("sh", ["-c", `${command}; exit 0`], {
    env: cleanEnv(),
    detached: true,
    cwd: "/",
  });
  onTestFinished(() => void process.kill(-(shell.pid as number), "SIGKILL"));
  const url = `http://127.0.0.1:${port}`;
  await answering(`${url}/v1/nothing`);
  for (let count = 0; count < 20; count += 1) {
    expect((await fetch(`${url}/v1/topics/a`, { method: "POST", body: "x" })).status).toBe(201);
  }
});

test("P24 when nobody empties the pipe of its output, it serves, and ends within a second", async () => {
  const port = await freePort();
  // The pipe is full before the first line: a write that waits for its reader would wait for ever.
  const fill = "head -c 65536 /dev/zero";
  const run = `exec "${process.execPath}" "${MAIN}" serve --port ${port} --admin-port 0 --log-level trace`;
  const shell = spawn("sh", ["-c", `(${fill}; ${run}) | (echo; sleep 60)`], {
    env: cleanEnv(),
    detached: true,
    cwd: "/",
  });
  onTestFinished(() => void process.kill(-(shell.pid as number), "SIGKILL"));
  const url = `http://127.0.0.1:${port}`;
  await answering(`${url}/v1/nothing`);
  const stream = await openAcking(url);
  const at = performance.now();
  process.kill(-(shell.pid as number), "SIGTERM");
  expect(await stream.text).toContain("pool_draining");
  let isUp = true;
  while (isUp)
    isUp = await fetch(`${url}/v1/nothing`).then(
      () => true,
      () => false,
    );
  expect(performance.now() - at).toBeLessThan(1_200);
});

test("P25 an error that nobody catches is logged, all streams are ended, and the exit code is 70", async () => {
  const trap = 'process.on("SIGUSR2", () => { Promise.reject(new Error("boom")); });';
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(trap)}` };
  const { url, child, exited, stdout } = await serve([], { env });
  const response = await fetch(`${url}/v1/topics/a`);
  child.kill("SIGUSR2");
  expect(await response.text()).toContain("event: close");
  expect(await exited).toBe(70);
  expect(JSON.parse(await stdout.until("crashed"))).toMatchObject({
    level: "fatal",
    origin: "unhandledRejection",
    err: { message: "boom" },
  });
});
