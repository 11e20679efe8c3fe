import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { publish, subscribe } from "../../src/client/index.ts";
import { FRONTS, keepAliveMsOf } from "../../src/gateway/config/keep-alive.ts";
import { describeWith, needs } from "../support/programs.ts";
import { eventually, openStream, post, rawClient, startWorld } from "./support.ts";

const TOPIC = "/v1/topics/a";
const PUBLISH = `POST ${TOPIC} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx`;

test("R04 a connection is kept for 50 s unless told, and its peer is told so", async () => {
  const world = await startWorld();
  const { headers } = await post(world, TOPIC, "x", { connection: "keep-alive" });
  expect(headers["keep-alive"]).toBe("timeout=50");
  expect(keepAliveMsOf({ timeout: 0, front: "none" })).toBe(50_000);
});

test("R04 an idle connection is closed after its window, one that is used is not, and no stream is", async () => {
  const world = await startWorld({ server: { keepAliveMs: 1_000 } });
  const stream = await openStream(world, TOPIC);
  const [idle, used] = [rawClient(world.port), rawClient(world.port)];
  for (const client of [idle, used]) {
    client.send(PUBLISH);
    await client.until("}\n");
    expect(client.text).toContain("\r\nKeep-Alive: timeout=1\r\n");
  }
  const startedAt = performance.now();
  // Again within each window, until the other is gone.
  for (let count = 2; !idle.socket.closed; count += 1) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    used.send(PUBLISH);
    await used.until("}\n", count);
  }
  const tookMs = performance.now() - startedAt;
  // Never before what was promised; a second later, so that a request that is under way still arrives.
  expect(tookMs).toBeGreaterThan(1_900);
  expect(tookMs).toBeLessThan(10_000);
  expect(used.socket.closed).toBe(false);
  const { id } = (await post(world, TOPIC, "to the stream")).json;
  const count = Number(String(id).split(".")[1]);
  expect((await stream.take(count)).at(-1)?.data).toBe("to the stream");
});

test("R04 the window for each front is longer than what that front keeps for reuse", () => {
  for (const [front, { reuseMs, timeoutMs }] of Object.entries(FRONTS)) {
    expect(timeoutMs, front).toBeGreaterThan(reuseMs);
    expect(keepAliveMsOf({ timeout: 0, front: front as keyof typeof FRONTS })).toBe(timeoutMs);
    expect(keepAliveMsOf({ timeout: 5_000, front: front as keyof typeof FRONTS })).toBe(5_000);
  }
});

/** The open sockets of this process that `isIt` picks. */
function sockets(isIt: (socket: Socket) => boolean): Socket[] {
  // The only way to those that others made; it is there on every Node line.
  const handles = (process as unknown as { _getActiveHandles(): unknown[] })._getActiveHandles();
  return handles.filter((handle) => handle instanceof Socket).filter((socket) => isIt(socket));
}

describeWith({ perl: needs("perl") }, "what the kernel says of a socket", ({ perl }) => {
  /** Another process inherits the socket and asks: the answer is the kernel's, not that of a flag of ours. */
  function isUndelayed(socket: Socket): boolean {
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
    // IPPROTO_TCP is 6, TCP_NODELAY is 1.
    const script = `open(my $s, "+<&=", 3) or die; print unpack("i", getsockopt($s, 6, 1))`;
    const { stdout } = spawnSync(perl, ["-e", script], {
      stdio: ["ignore", "pipe", "inherit", fd],
      encoding: "utf8",
    });
    expect(stdout).toMatch(/^[01]$/);
    return stdout === "1";
  }

  test("R08 Nagle is off at both ends of a stream and of a publish, with our client too", async () => {
    const world = await startWorld();
    await publish({ url: world.url, topic: "a", data: "x" });
    const stop = new AbortController();
    onTestFinished(() => stop.abort());
    const options = { url: world.url, topics: ["a"], from: "earliest", signal: stop.signal };
    for await (const item of subscribe(options)) {
      expect(item.type).toBe("event");
      const atServer = sockets(({ localPort }) => localPort === world.port);
      const atClient = sockets(({ remotePort }) => remotePort === world.port);
      // One that published and is kept, and the stream. Ours of the first holds up no process, so it is not listed.
      expect([atServer.length, atClient.length]).toEqual([2, 1]);
      expect([...atServer, ...atClient].map(isUndelayed)).toEqual([true, true, true]);
      break;
    }
    // As soon as it is accepted; and at its other end, where nobody asked for it, the answer is no.
    const { socket } = rawClient(world.port);
    await once(socket, "connect");
    const accepted = (): Socket[] => sockets(({ remotePort }) => remotePort === socket.localPort);
    await eventually(() => accepted().length === 1);
    expect([...accepted(), socket].map(isUndelayed)).toEqual([true, false]);
  });
});

describeWith({ ss: needs("ss") }, "what the kernel says of the listener", ({ ss }) => {
  test("R04 4,096 connections may wait to be accepted, or as many as somaxconn allows", async () => {
    const { port } = await startWorld();
    const { stdout } = spawnSync(ss, ["-ltnH", `sport = :${port}`], { encoding: "utf8" });
    const somaxconn = Number(readFileSync("/proc/sys/net/core/somaxconn", "utf8"));
    expect(Number(stdout.trim().split(/\s+/)[2])).toBe(Math.min(4_096, somaxconn));
  });
});

test("R04 a burst of connections while the loop is busy is accepted to the last", async () => {
  const world = await startWorld();
  const count = 600;
  const clients = Array.from({ length: count }, () => connect(world.port, "127.0.0.1"));
  onTestFinished(() => clients.forEach((client) => client.destroy()));
  let refused = 0;
  for (const client of clients) client.on("error", () => (refused += 1));
  const answers = clients.map(
    (client) => new Promise((resolve) => client.once("data", resolve).once("error", resolve)),
  );
  for (const client of clients) client.write(`HEAD ${TOPIC} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  // Nobody accepts meanwhile; the kernel does, up to its backlog.
  const until = performance.now() + 300;
  while (performance.now() < until);
  await Promise.all(answers);
  expect(refused).toBe(0);
});
