import { describe, expect, test } from "vitest";
import type { Broker } from "../../src/core/broker.ts";
import { Bench, seqOf, texts } from "./bench.ts";

describe("the laws of correctness, on the core", () => {
  test("law 1: only log entries and the primer carry an id", async () => {
    const bench = new Bench();
    await bench.publish("a", "1");
    const client = await bench.join("a", { start: "x.y", hasHello: true });
    await bench.runtime.run(90_000);
    await bench.publish("a", "2");
    await bench.hub.end("t", "a", "done");
    await bench.runtime.run(1_000);
    expect(client.connection.endedBy).toBe("topic_ended");
    for (const block of client.text.split("\n\n").filter((text) => text !== "")) {
      const isEntry = /^(data: \d|event: end\n)/.test(block);
      const isPrimer = /(^|\n)id: [^\n]*$/.test(block) && !block.includes("data:");
      expect(block.includes("id: "), block).toBe(isEntry || isPrimer);
    }
    expect(client.blocks).toContain(": heartbeat");
    expect(client.blocks).toContain("gap malformed");
    expect(client.blocks.at(-1)).toBe("end@3");
  });

  test("law 2: ids are unique and strictly ordered within a tenant, inside one millisecond", async () => {
    const bench = new Bench();
    const client = await bench.join("**", { form: "enveloped" });
    await Promise.all(texts(50).map((text, index) => bench.publish(`t${index % 7}`, text, text)));
    await bench.runtime.runTurns();
    expect(client.seqs).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
  });

  test("law 3: a cursor of one hub is continued by another", async () => {
    const first = new Bench();
    const second = new Bench({ wrap: () => first.memory });
    const client = await first.join("a");
    await first.publish("a", "1");
    await first.runtime.runTurns();
    client.connection.cut();
    await first.publish("a", "2", "3");
    const resumed = await second.join("a", { start: client.lastEventId });
    expect([resumed.verdict, resumed.data]).toEqual(["exact", ["2", "3"]]);
  });

  test("law 4: topics whose newest events are equally old drop nothing where they are merged", async () => {
    const bench = new Bench();
    for (const topic of ["c", "a", "b", "a", "c"]) await bench.publish(topic, topic);
    const client = await bench.join(["a", "b", "c"], { start: "earliest" });
    expect(client.data).toEqual(["c", "a", "b", "a", "c"]);
  });

  test("law 5: history joins live exactly, wherever during the join something is published", async () => {
    for (let when = 0; when < 40; when += 1) {
      for (const start of ["earliest", "latest", "last:2", "cursor"]) {
        await joinWithPublishAt(when, start);
      }
    }
  });

  test("law 6: a topic is replayed after it has ended and its producer is gone", async () => {
    const bench = new Bench();
    await bench.publish("a", "1", "2");
    await bench.hub.end("t", "a", "done");
    await bench.runtime.run(60_000);
    const client = await bench.join("a", { start: "earliest" });
    expect(client.blocks).toEqual(["retry", "primer 0", "1@1", "2@2", "end@3"]);
  });

  test("law 7: a resume is exact, or a gap with its reason, or finished", async () => {
    const bench = new Bench();
    await bench.publish("a", ...texts(5));
    const { epoch } = (await bench.publish("a", "6")).last;
    await bench.hub.declare("t", "a", { retention: { countMax: 3 } });
    const openings = new Map<string, string>();
    for (const start of [
      `${epoch}.3`,
      `${epoch}.2`,
      `${epoch}.7`,
      "other.3",
      "-1",
      `${epoch}.03`,
    ]) {
      const { verdict, gap, ...opening } = await bench.subscribe("a", { start });
      openings.set(start.replace(epoch, "E"), gap === undefined ? verdict : gap.reason);
      opening.abandon();
    }
    expect(Object.fromEntries(openings)).toEqual({
      "E.3": "exact",
      "E.2": "trimmed",
      "E.7": "future",
      "other.3": "epoch",
      "-1": "malformed",
      "E.03": "malformed",
    });
    await bench.hub.end("t", "a", "done");
    expect((await bench.subscribe("a", { start: `${epoch}.7` })).verdict).toBe("finished");
  });

  test("law 7: another tenant's cursor is foreign, even where its number exists", async () => {
    const bench = new Bench();
    await bench.publish("a", "mine");
    const { last } = await bench.publishAs("other", "a", "theirs");
    const client = await bench.join("a", { start: `${last.epoch}.${last.seq}` });
    expect(client.blocks).toEqual(["retry", "gap epoch", "primer 0", "mine@1"]);
  });

  test("law 9: the first write holds retry, the gap, the primer and the first events, in this order", async () => {
    const bench = new Bench();
    await bench.hub.declare("t", "a", { retention: { countMax: 2 } });
    await bench.publish("a", ...texts(4));
    const { last } = await bench.publish("b", "5");
    const start = `${last.epoch}.1`;
    const client = await bench.join("a", { start, hasHello: true });
    expect(client.connection.batches).toHaveLength(1);
    expect(client.blocks).toEqual(["retry", "gap trimmed", "primer 2", "hello", "3@3", "4@4"]);
    const quiet = await bench.join("a");
    expect(quiet.blocks).toEqual(["retry", "primer 5"]);
  });

  test("law 9: a cut at any byte of the first write, and the resume behind it, lose nothing", async () => {
    const bench = new Bench();
    await bench.publish("a", ...texts(3));
    const whole = await bench.join("a", { start: "earliest" });
    for (let bytes = 0; bytes < whole.text.length; bytes += 1) {
      const opening = await bench.subscribe("a", { start: "earliest" });
      const client = bench.attach(opening, {});
      const cut = client.text.slice(0, bytes);
      const complete = cut.slice(0, cut.lastIndexOf("\n\n") + 1);
      const id = [...complete.matchAll(/id: (\S+)\n/g)].at(-1)?.[1];
      const seen = [...complete.matchAll(/data: (\d)\n/g)].map((match) => match[1]);
      const resumed = await bench.join("a", { start: id ?? "earliest" });
      expect([...seen, ...resumed.data], `cut at ${bytes}`).toEqual(["1", "2", "3"]);
      client.connection.cut();
    }
  });

  test("law 11: a full connection is neither closed nor ignored, and gets everything once", async () => {
    const bench = new Bench();
    const client = await bench.join("a");
    client.connection.block();
    for (const text of texts(5)) {
      await bench.publish("a", text);
      await bench.runtime.runTurns();
    }
    expect(client.connection.isOpen).toBe(true);
    expect(client.connection.batches.map(({ count }) => count)).toEqual([0, 1]);
    client.connection.release();
    await bench.runtime.runTurns();
    expect(client.data).toEqual(texts(5));
    expect(client.subscriber.state).toBe("live");
  });

  test("law 14: an end is delivered once: live, to the next, and to whoever resumes before it", async () => {
    const bench = new Bench();
    const live = await bench.join("a");
    const { last } = await bench.publish("a", "1");
    await bench.hub.end("t", "a", "done");
    await bench.runtime.runTurns();
    const late = await bench.join("a");
    const resumed = await bench.join("a", { start: `${last.epoch}.${last.seq}` });
    for (const { blocks, connection } of [live, late, resumed]) {
      expect(blocks.filter((block) => block === "end@2")).toHaveLength(1);
      expect(connection.endedBy).toBe("topic_ended");
    }
    await expect(bench.publish("a", "2")).rejects.toMatchObject({ code: "topic_ended" });
  });

  test("law 14: an end outlives the age of its topic's events", async () => {
    const bench = new Bench();
    await bench.hub.declare("t", "a", { retention: { ageMsMax: 1_000 } });
    await bench.publish("a", "1");
    await bench.hub.end("t", "a", "done");
    await bench.runtime.run(30_000);
    expect((await bench.join("a", { start: "earliest" })).blocks.slice(1)).toEqual([
      "primer 1",
      "end@2",
    ]);
  });

  test.each(["a\rb", "a\nb", "a\0b"])("law 18: %j in an event name is refused", async (event) => {
    const bench = new Bench();
    const events = [{ data: "1" }, { event, data: "2" }];
    const published = bench.hub.publish({ tenant: "t", topic: "a", events });
    await expect(published).rejects.toMatchObject({ code: "event_name_invalid" });
    expect((await bench.publish("a", "3")).first.seq).toBe(1);
  });
});

/** Publishes once the broker has been called or has answered `when` times, in the middle of a join. */
async function joinWithPublishAt(when: number, start: string): Promise<void> {
  let steps = 0;
  const step = async (): Promise<void> => {
    for (let tick = 0; tick < 5; tick += 1) {
      await Promise.resolve();
      steps += 1;
      if (steps === when) void bench.publish("a", "during", "during too");
    }
  };
  const wrap = (inner: Broker): Broker => ({
    ...bound(inner),
    attach: async (...args) => step().then(() => inner.attach(...args)),
    read: async (request) => {
      await step();
      const result = await inner.read(request);
      await step();
      return result;
    },
  });
  const bench: Bench = new Bench({ wrap });
  const { epoch } = (await bench.publish("a", ...texts(4))).last;
  const client = await bench.join("a", { start: start === "cursor" ? `${epoch}.2` : start });
  await bench.runtime.runTurns();
  await bench.publish("a", "after");
  await bench.runtime.runTurns();
  const place = seqOf(
    client.blocks.find((text) => text.startsWith("primer"))?.replace(" ", ".") ?? "",
  );
  const log =
    steps >= when && when > 0
      ? [...texts(4), "during", "during too", "after"]
      : [...texts(4), "after"];
  expect(client.data, `${start}, published at step ${when}`).toEqual(log.slice(place));
  const places = { earliest: [0], latest: [4, 6], "last:2": [2, 4], cursor: [2] };
  expect(places[start as "cursor"]).toContain(place);
  expect(client.subscriber.state).toBe("live");
}

function bound(broker: Broker): Broker {
  return {
    kind: broker.kind,
    attach: broker.attach.bind(broker),
    publish: broker.publish.bind(broker),
    read: broker.read.bind(broker),
    declare: broker.declare.bind(broker),
    end: broker.end.bind(broker),
    close: broker.close.bind(broker),
  };
}
