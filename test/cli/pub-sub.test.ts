import { ensureBuilt } from "../support/built.ts";
import { spawn } from "node:child_process";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { post, send, startWorld } from "../gateway/support.ts";
import { startProxy } from "../client/proxy.ts";
import { Lines, MAIN, cleanEnv, ended, sluice, start } from "./support.ts";

beforeAll(ensureBuilt, 60_000);

interface Line {
  readonly id: string;
  readonly topic: string;
  readonly event: string;
  readonly data: string;
}

const parse = (text: string): Line[] =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);

test("what pub publishes sub prints: ten lines of valid NDJSON", async () => {
  const { url } = await startWorld();
  const env = { SLUICE_URL: url };
  const ids: string[] = [];
  for (const data of ["hello", "", 'with "quotes"\nand lines', "\u001b[31mred"]) {
    const { code, stdout } = await sluice(["pub", "a/b", data, "--event", "tick"], { env });
    expect(code).toBe(0);
    ids.push((JSON.parse(stdout) as { id: string }).id);
  }
  await sluice(["pub", "a/b", "--lines"], { env, input: "1\r\n2\n\n4\n5\n6" });
  const { code, stdout, stderr } = await sluice(
    ["sub", "a/b", "--from", "earliest", "--count", "10"],
    { env },
  );
  expect([code, stderr]).toEqual([0, ""]);
  const lines = parse(stdout);
  expect(lines.map(({ data }) => data)).toEqual([
    "hello",
    "",
    'with "quotes"\nand lines',
    "\u001b[31mred",
    "1",
    "2",
    "",
    "4",
    "5",
    "6",
  ]);
  expect(lines.slice(0, 4).map(({ id }) => id)).toEqual(ids);
  expect(lines[0]).toEqual({ id: ids[0], topic: "a/b", event: "tick", data: "hello" });
});

test("all of standard input is one event, without its last line end", async () => {
  const { url } = await startWorld();
  const { code, stdout } = await sluice(["pub", "a", "--url", url], { input: "one\ntwo\n" });
  expect(code).toBe(0);
  expect(Object.keys(JSON.parse(stdout) as object)).toEqual(["id", "durability"]);
  const read = await sluice(["sub", "a", "--url", url, "--from", "last:1", "--count", "1"]);
  expect(parse(read.stdout)[0]?.data).toBe("one\ntwo");
});

test("NDJSON is sent in batches as it comes, and every value is one event, verbatim", async () => {
  const { url, hub } = await startWorld();
  const child = start(["pub", "a", "--ndjson", "--url", url]);
  const receipts = new Lines(child.stdout);
  child.stdin?.write('{"n": 1}\n\n{"n":  2}\n{"n"');
  // The first batch is in the log while the input is still open.
  expect(JSON.parse((await receipts.take(1))[0] ?? "")).toMatchObject({ count: 2 });
  expect(hub.metrics.plain.sluice_publications_total).toBe(2);
  child.stdin?.end(":3}");
  expect((await ended(child)).code).toBe(0);
  const { stdout } = await sluice(["sub", "a", "--url", url, "--from", "earliest", "--count", "3"]);
  expect(parse(stdout).map(({ data }) => data)).toEqual(['{"n": 1}', '{"n":  2}', '{"n":3}']);
});

test("100,000 lines of NDJSON arrive whole and in order", async () => {
  const { url } = await startWorld({ broker: { memoryBytesMax: 256 * 1024 * 1024 } });
  await send({ url }, "/v1/topics/a", {
    method: "PUT",
    body: '{"retention":{"count":1000000}}',
    headers: { "Content-Type": "application/json" },
  });
  const input = Array.from({ length: 100_000 }, (_, index) => `{"n":${index}}`).join("\n");
  const published = await sluice(["pub", "a", "--ndjson", "--url", url], { input });
  expect([published.code, published.stderr]).toEqual([0, ""]);
  const args = ["sub", "a", "--url", url, "--from", "earliest", "--count", "100000"];
  const { stdout } = await sluice(args);
  const numbers = parse(stdout).map(({ data }) => (JSON.parse(data) as { n: number }).n);
  expect(numbers.length).toBe(100_000);
  expect(numbers.every((value, index) => value === index)).toBe(true);
});

test("a bad line says which lines were published, with exit code 1", async () => {
  const { url } = await startWorld();
  const { code, stderr } = await sluice(["pub", "a", "--ndjson", "--url", url], {
    input: "1\nx\n",
  });
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /^sluice: The body is not JSON: .*line 2.* \(in the batch from line 1; nothing before it was published\)/,
  );
  expect(stderr).toMatch(/\n  hint: Mend the JSON/);
});

test("an error of the server is printed as title, detail and hint, without control characters", async () => {
  const { url } = await startWorld();
  const { code, stdout, stderr } = await sluice(["pub", "a\u009b2Jb", "x", "--url", url]);
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(/^sluice: Not a topic name: .*\n  hint: Use 1-255 bytes of .*\n$/);
  expect(stderr).not.toContain("\u009b");
});

test("without a gateway pub says so, and how to start one", async () => {
  const proxy = await startProxy("http://127.0.0.1:1");
  await proxy.stop();
  const { code, stderr } = await sluice(["pub", "a", "x", "--url", proxy.url]);
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /^sluice: no answer from http:\/\/127.* \(connect ECONNREFUSED .*\)\n  hint: start a gateway with `sluice serve`/,
  );
});

test.each([
  ["sub", "a"],
  ["pub", "a", "x"],
])("%s at a port that fetch blocks fails at once and says so", async (...args) => {
  const { code, stderr } = await sluice([...args, "--url", "http://127.0.0.1:9"]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^sluice: fetch blocks port 9, .*\n$/);
});

test("the same idempotency key publishes once, and says so", async () => {
  const { url } = await startWorld();
  const args = ["pub", "a", "x", "--idempotency-key", "k", "--url", url];
  const [first, second] = [await sluice(args), await sluice(args)];
  expect(JSON.parse(second.stdout)).toEqual({ ...JSON.parse(first.stdout), duplicate: true });
});

test("sub resumes by itself when it is cut mid-stream, and says so", async () => {
  const world = await startWorld();
  const proxy = await startProxy(world.url);
  const child = start(["sub", "a", "--from", "earliest", "--url", proxy.url, "--count", "30"]);
  const [out, err] = [new Lines(child.stdout), new Lines(child.stderr)];
  for (let index = 0; index < 30; index += 1) {
    await post(world, "/v1/topics/a", `event ${index}`);
    if (index % 10 !== 5) continue;
    await out.take(index - 1);
    await proxy.stop();
    await post(world, "/v1/topics/a", "while away");
    await proxy.restart();
  }
  const lines = (await out.take(30)).map((line) => JSON.parse(line) as Line);
  expect(lines.map(({ id }) => Number(id.split(".")[1]))).toEqual(
    Array.from({ length: 30 }, (_, index) => index + 1),
  );
  expect(await err.until("next attempt in")).toMatch(/^sluice: .*; next attempt in \d+\.\d s$/);
  expect((await ended(child)).code).toBe(0);
});

test("a gap is told loudly on standard error", async () => {
  const world = await startWorld();
  await post(world, "/v1/topics/a", "kept");
  const args = ["sub", "a", "--from", "foreign.1", "--count", "1", "--url", world.url];
  const { code, stdout, stderr } = await sluice(args);
  expect(code).toBe(0);
  expect(parse(stdout)[0]?.data).toBe("kept");
  expect(stderr).toMatch(
    /^sluice: GAP \(epoch\): events after the cursor up to .* cannot be delivered\n$/,
  );
});

test("the end of the topic ends sub with exit code 0", async () => {
  const world = await startWorld();
  await post(world, "/v1/topics/a", "last");
  await send(world, "/v1/topics/a", { method: "DELETE" });
  const { code, stdout, stderr } = await sluice([
    "sub",
    "a",
    "--from",
    "earliest",
    "--url",
    world.url,
  ]);
  expect([code, parse(stdout).length]).toEqual([0, 1]);
  expect(stderr).toBe("sluice: the topic a has ended (deleted)\n");
});

test.each(["SIGINT", "SIGTERM"] as const)("%s ends sub with exit code 0", async (signal) => {
  const world = await startWorld();
  const child = start(["sub", "a", "--from", "earliest", "--url", world.url]);
  await post(world, "/v1/topics/a", "x");
  await new Lines(child.stdout).take(1);
  child.kill(signal);
  expect((await ended(child)).code).toBe(0);
});

test("P24 `sub | head` ends both when head has enough", async () => {
  const world = await startWorld();
  const pour = setInterval(() => {
    post(world, "/v1/topics/a", "x".repeat(1_000)).catch(() => {});
  }, 2);
  onTestFinished(() => clearInterval(pour));
  const command = `"${process.execPath}" "${MAIN}" sub a --url ${world.url}; echo "exit code $?" >&2`;
  const shell = spawn("sh", ["-c", `(${command}) | head -2`], { env: cleanEnv(), cwd: "/" });
  const { code, stdout, stderr } = await ended(shell);
  expect([code, parse(stdout).length, stderr]).toEqual([0, 2, "exit code 0\n"]);
});

test("a reader that is slow is waited for: sub neither drops nor hoards", async () => {
  const world = await startWorld();
  for (let index = 0; index < 40; index += 1) {
    await post(world, "/v1/topics/a", `${index} ${"x".repeat(100_000)}`);
  }
  const child = start(["sub", "a", "--from", "earliest", "--url", world.url, "--count", "40"]);
  let text = "";
  // Each chunk is taken a turn after the one before.
  child.stdout?.on("data", (chunk: Buffer) => {
    text += chunk.toString();
    child.stdout?.pause();
    setImmediate(() => child.stdout?.resume());
  });
  expect(await new Promise<number | null>((resolve) => child.once("close", resolve))).toBe(0);
  expect(parse(text).map(({ data }) => Number.parseInt(data, 10))).toEqual(
    Array.from({ length: 40 }, (_, index) => index),
  );
});
