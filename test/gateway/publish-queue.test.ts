import { connect, Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { PublishQueue, beginPublish, endPublish } from "../../src/gateway/publish-queue.ts";
import { VirtualRuntime } from "../../src/testing/index.ts";
import { startWorld } from "./support.ts";

test("publishes are spread over turns, in order for one connection", async () => {
  const runtime = new VirtualRuntime();
  const queue = new PublishQueue(runtime);
  const socket = new Socket();
  const begun: number[] = [];
  const publish = async (index: number, bytes: number): Promise<void> => {
    await queue.turn("t", socket, bytes);
    begun.push(index);
  };
  const all = [publish(0, 1_000_000)];
  for (let index = 1; index < 400; index += 1) all.push(publish(index, 1_000));
  await runtime.settle();
  expect(begun).toEqual([0]);
  let turns = 0;
  for (; begun.length < 400; turns += 1) {
    const before = begun.length;
    await runtime.runTurn();
    expect(begun.length - before).toBeLessThanOrEqual(100);
    expect(turns).toBeLessThan(20);
  }
  expect(turns).toBeGreaterThanOrEqual(4);
  expect(begun).toEqual([...begun].sort((a, b) => a - b));
  await Promise.all(all);
  await runtime.runTurns();
  expect(runtime.deferredNow).toBe(0);
  expect(queue.turn("t", socket, 1)).toBeUndefined();
});

test("connections of one tenant that wait take turns: one that floods delays another by one publish", async () => {
  const { runtime, begun, publish } = startQueue();
  const [noisy, quiet] = [new Socket(), new Socket()];
  for (let index = 0; index < 500; index += 1) void publish("noisy", noisy, "noisy");
  void publish("noisy", quiet, "quiet");
  await runtime.settle();
  expect(begun).not.toContain("quiet");
  const before = begun.length;
  await runtime.runTurn();
  expect(begun).toContain("quiet");
  expect(begun.indexOf("quiet")).toBeLessThanOrEqual(before + 1);
  await runtime.runTurns();
  expect(begun).toHaveLength(501);
});

test("a tenant's share of a turn is its own, however many others have used up theirs; all shares are one turn more", async () => {
  const { runtime, begun, publish } = startQueue();
  const socket = new Socket();
  for (let index = 0; index < 500; index += 1) void publish("noisy", socket, "noisy");
  await runtime.settle();
  const ofTurn = begun.length;
  for (let index = 0; index < 10; index += 1) void publish("quiet", socket, "quiet");
  await runtime.settle();
  // 12 KiB each: the third ends a share of 32 KiB.
  expect(begun.filter((name) => name === "quiet")).toHaveLength(3);
  for (let index = 0; index < 100; index += 1) void publish(`${index}`, socket, "other");
  await runtime.settle();
  expect(begun.length).toBeGreaterThan(ofTurn + 3);
  expect(begun.length).toBeLessThanOrEqual(2 * ofTurn + 1);
  await runtime.runTurn();
  // Those that wait take turns: after one turn each has at least one more.
  expect(begun.filter((name) => name === "quiet").length).toBeGreaterThan(3);
  await runtime.runTurns();
  expect(begun).toHaveLength(610);
});

function startQueue() {
  const runtime = new VirtualRuntime();
  const queue = new PublishQueue(runtime);
  const begun: string[] = [];
  const publish = async (of: string, socket: Socket, name: string): Promise<void> => {
    await queue.turn(of, socket, 10_000);
    begun.push(name);
  };
  return { runtime, begun, publish };
}

test("a connection with too many publishes under way is not read until half of them are answered", () => {
  const socket = new Socket();
  for (let count = 1; count < 32; count += 1) beginPublish(socket);
  expect(socket.isPaused()).toBe(false);
  beginPublish(socket);
  beginPublish(socket);
  expect(socket.isPaused()).toBe(true);
  for (let left = 32; left > 16; left -= 1) {
    expect(socket.isPaused()).toBe(true);
    endPublish(socket);
  }
  endPublish(socket);
  expect(socket.isPaused()).toBe(false);
});

test("thousands of pipelined publishes are all answered, in order, and another client is not kept waiting for them", async () => {
  const COUNT = 5_000;
  const world = await startWorld();
  const client = connect({ port: world.port, host: "127.0.0.1" });
  onTestFinished(() => void client.destroy());
  const one = (n: number): string =>
    `POST /v1/topics/flood HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${`${n}`.length}\r\n\r\n${n}`;
  client.write(Array.from({ length: COUNT }, (_each, index) => one(index)).join(""));
  const other = fetch(`${world.url}/v1/topics/other`, { method: "POST", body: "x" });
  let text = "";
  let answeredWhenOther = -1;
  void other.then(() => (answeredWhenOther = text.split("HTTP/1.1 201").length - 1));
  for await (const chunk of client) {
    text += (chunk as Buffer).toString("latin1");
    if (text.split("HTTP/1.1 201").length - 1 === COUNT) break;
  }
  expect((await other).status).toBe(201);
  expect(answeredWhenOther).toBeLessThan(COUNT);
  const seqs = [...text.matchAll(/"id":"[^".]+\.(\d+)"/g)].map(([, seq]) => Number(seq));
  expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
  const page = await fetch(`${world.url}/v1/topics/flood?last_event_id=last:1`);
  const reader = page.body?.pipeThrough(new TextDecoderStream()).getReader();
  let seen = "";
  while (!seen.includes(`data: ${COUNT - 1}\n`)) seen += (await reader?.read())?.value ?? "";
  await reader?.cancel();
});
