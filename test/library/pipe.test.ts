import { describe, expect, test } from "vitest";
import { drain, openHub, take, told } from "./support.ts";

async function* tokens(count: number): AsyncGenerator<string> {
  for (let index = 1; index <= count; index += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    yield `token ${index}`;
  }
}

const expected = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `token ${index + 1}`);

describe("Topic.pipe", () => {
  test("publishes what the generator yields, then ends the topic", async () => {
    const topic = openHub().topic("answers/1");
    const reading = drain(topic.events());
    expect(await topic.pipe(tokens(50))).toEqual({ count: 50 });
    expect(await reading).toEqual([...expected(50), "[done]"]);
    await expect(topic.publish("late")).rejects.toMatchObject({ code: "topic_ended" });
  });

  test("outlives its readers: one that leaves costs the producer nothing (law 12, R03)", async () => {
    const hub = openHub();
    const topic = hub.topic("answers/1");
    const leaving = topic.events();
    const first = leaving.next();
    const piped = topic.pipe(tokens(50));
    await first;
    const { value } = await leaving.next();
    await leaving.return();
    expect(hub.core.subscribersNow).toBe(0);
    // Whoever comes back, with the last id seen, gets the rest; nobody was there meanwhile.
    const after = value?.type === "event" ? value.id : "";
    expect(await piped).toEqual({ count: 50 });
    expect(await drain(topic.events({ after }))).toEqual([...expected(50).slice(2), "[done]"]);
  });

  test("a second reader after the producer's end gets all of it (law 6)", async () => {
    const topic = openHub().topic("answers/1");
    await topic.pipe(tokens(20));
    expect(await drain(topic.events({ after: "earliest" }))).toEqual([...expected(20), "[done]"]);
    expect(await drain(topic.events({ after: "earliest" }))).toEqual([...expected(20), "[done]"]);
  });

  test("takes plain iterables, and events with names", async () => {
    const topic = openHub().topic("answers/1");
    await topic.pipe([{ event: "token", data: "a" }, "b"]);
    const items = await take(topic.events({ after: "earliest" }), 2);
    expect(items.map((item) => item.type === "event" && item.event)).toEqual(["token", "message"]);
  });

  test("the end says how it went: done", async () => {
    const hub = openHub();
    await hub.topic("answers/1").pipe(tokens(1));
    expect(await endOf(hub)).toBe("done");
  });

  test("an error of the source ends the topic with it, and is thrown again", async () => {
    const hub = openHub();
    const topic = hub.topic("answers/1");
    const mistake = new Error("the model is gone");
    async function* failing(): AsyncGenerator<string> {
      yield* tokens(2);
      throw mistake;
    }
    await expect(topic.pipe(failing())).rejects.toBe(mistake);
    expect(await drain(topic.events({ after: "earliest" }))).toEqual([...expected(2), "[error]"]);
    expect(await endOf(hub)).toBe("error");
  });

  test("an error of the source is the one that is thrown, also if the end cannot be appended", async () => {
    const hub = openHub();
    const mistake = new Error("the model is gone");
    async function* failing(): AsyncGenerator<string> {
      yield "1";
      await hub.close();
      throw mistake;
    }
    await expect(hub.topic("answers/1").pipe(failing())).rejects.toBe(mistake);
  });

  test("leaves the topic open when asked to", async () => {
    const topic = openHub().topic("answers/1");
    await topic.pipe(tokens(2), { endsTopic: false });
    await topic.publish("more");
    const items = topic.events({ after: "earliest" });
    expect(told(await take(items, 3))).toEqual(["token 1", "token 2", "more"]);
    await items.return();
  });

  test("asks the source for the next event when the one before is in the log", async () => {
    const topic = openHub().topic("answers/1");
    const pulls: number[] = [];
    async function* source(): AsyncGenerator<string> {
      for (let index = 1; index <= 5; index += 1) {
        pulls.push(index);
        yield String(index);
        expect(told(await take(topic.events({ after: "last:1" }), 1))).toEqual([String(index)]);
      }
    }
    await topic.pipe(source());
    expect(pulls).toEqual([1, 2, 3, 4, 5]);
  });

  test("a source that is refused lets its generator clean up", async () => {
    const topic = openHub().topic("answers/1");
    await topic.end();
    let hasCleanedUp = false;
    async function* source(): AsyncGenerator<string> {
      try {
        yield "refused";
      } finally {
        hasCleanedUp = true;
      }
    }
    await expect(topic.pipe(source())).rejects.toMatchObject({ code: "topic_ended" });
    expect(hasCleanedUp).toBe(true);
  });
});

/** The `end` entry's data: the library's iterator does not yield it. */
async function endOf(hub: ReturnType<typeof openHub>): Promise<string> {
  const { publications } = await hub.core.broker.read({
    tenant: "default",
    selection: { names: ["answers/1"], patterns: [] },
    from: { last: 1 },
    upTo: Number.MAX_SAFE_INTEGER,
    bytesMax: 1_024,
  });
  const [end] = publications;
  const frame = Buffer.alloc(end?.bytes ?? 0);
  end?.copyTo(frame, 0, "plain");
  const data = /^event: end\ndata: (.*)$/m.exec(frame.toString())?.[1] ?? "{}";
  return (JSON.parse(data) as { reason: string }).reason;
}
