import { Writable } from "node:stream";
import { expect, test } from "vitest";
import { LogSink, createLogger } from "../../src/cli/log.ts";

/** A pipe whose reader takes nothing until it is asked to. */
class Pipe extends Writable {
  readonly lines: string[] = [];
  #pending: (() => void) | undefined;
  #isOpen = false;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.lines.push(chunk.toString());
    if (this.#isOpen) done();
    else this.#pending = done;
  }

  open(): void {
    this.#isOpen = true;
    this.#pending?.();
  }
}

test("P24 lines that a blocked pipe does not take are dropped beyond a bound, counted, and told", async () => {
  const pipe = new Pipe();
  let dropped = 0;
  const sink = new LogSink(pipe, () => (dropped += 1));
  const line = `${"x".repeat(999)}\n`;
  for (let count = 0; count < 3_000; count += 1) sink.write(line);
  expect(pipe.writableLength).toBeLessThan(1_100_000);
  expect(dropped).toBeGreaterThan(1_900);
  const drained = new Promise((resolve) => pipe.once("drain", resolve));
  pipe.open();
  await drained;
  await sink.flush(1_000);
  const told = JSON.parse(pipe.lines.find((text) => text.includes("dropped")) ?? "{}") as object;
  expect(told).toMatchObject({
    level: "warn",
    count: dropped,
    msg: "log lines were dropped",
  });
});

test("P24 a pipe that is closed takes nothing more, and nothing throws", async () => {
  const pipe = new Pipe();
  let dropped = 0;
  const sink = new LogSink(pipe, () => (dropped += 1));
  pipe.destroy(new Error("EPIPE"));
  await new Promise((resolve) => pipe.once("close", resolve));
  expect(sink.write("x\n")).toBe(false);
  await sink.flush(1_000);
  expect(dropped).toBe(1);
});

test("flushing ends when nobody takes what waits", async () => {
  const pipe = new Pipe();
  const sink = new LogSink(pipe, () => {});
  sink.write("a\n");
  sink.write("b\n");
  await sink.flush(5);
  expect(pipe.writableLength).toBeGreaterThan(0);
});

test("S25 each line is one JSON object, whatever is in it", async () => {
  const pipe = new Pipe();
  pipe.open();
  const logger = await createLogger("info", new LogSink(pipe, () => {}), false);
  logger.info({ topic: 'a"\n{"level":"fatal"}\u001b\u2028' }, "line\nline");
  logger.debug("not said");
  expect(pipe.lines).toHaveLength(1);
  expect(pipe.lines[0]?.trimEnd()).not.toContain("\n");
  expect(JSON.parse(pipe.lines[0] ?? "")).toMatchObject({ level: "info", msg: "line\nline" });
});

test("on a terminal lines are for people", async () => {
  const pipe = new Pipe();
  pipe.open();
  const logger = await createLogger("info", new LogSink(pipe, () => {}), true);
  logger.warn({ url: "http://x" }, "look");
  expect(pipe.lines.join("")).toMatch(/WARN.*look/);
  expect(pipe.lines.join("")).not.toContain('"level"');
});
