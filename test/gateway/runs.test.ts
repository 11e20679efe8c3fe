import { Agent, request } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { feedTenant } from "../../src/core/feed-tenant.ts";
import { selectTopics } from "../../src/core/selection.ts";
import { createHub, DEFAULT_TENANT } from "../../src/gateway/hub.ts";
import type { LocalHub, LocalRunOptions } from "../../src/gateway/hub.ts";
import { startServer } from "../../src/gateway/server.ts";
import { openStream, send } from "./support.ts";

async function startHub() {
  const hub = createHub();
  const server = await startServer(hub.core, {
    host: "127.0.0.1",
    port: 0,
    adminHost: "127.0.0.1",
    adminPort: 0,
  });
  onTestFinished(() => server.close());
  return { hub, server, url: server.url };
}

/** A run that says what the test tells it to. */
function spoken(hub: LocalHub, id: string, options: LocalRunOptions = {}) {
  const said: string[] = [];
  let wake = (): void => {};
  let isOver = false;
  const run = hub.run(
    id,
    async function* (signal) {
      signal.addEventListener("abort", () => wake());
      for (;;) {
        const next = said.shift();
        if (next !== undefined) yield next;
        else if (isOver || signal.aborted) return;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    },
    options,
  );
  return {
    run,
    say: (...texts: readonly string[]) => {
      said.push(...texts);
      wake();
    },
    end: () => {
      isOver = true;
      wake();
    },
  };
}

describe("/v1/runs/{id}", () => {
  test("R03 is read from the beginning, from any place, by anybody who has the id, also after its end", async () => {
    const { hub, url } = await startHub();
    const { run, say, end } = spoken(hub, "chat/1");
    say("a", "b");
    const path = `/v1/runs/${encodeURIComponent(run.id)}`;
    const first = await openStream({ url }, path);
    expect(first.headers["sluice-run"]).toBe("chat/1");
    const [a] = await first.take(2);
    first.cut();
    say("c");
    const second = await openStream({ url }, path, { "Last-Event-ID": a?.lastEventId ?? "" });
    await second.take(2);
    end();
    const rest = await second.take(3);
    expect(rest.map(({ data }) => data).slice(0, 2)).toEqual(["b", "c"]);
    expect(rest[2]?.event).toBe("end");
    expect(await second.ended).toBe(true);
    expect(await run.ended).toBe("done");
    const whole = await openStream({ url }, path);
    expect((await whole.take(4)).map(({ event }) => event).at(-1)).toBe("end");
    // Who has read all of it need not come again.
    const last = rest[2]?.lastEventId ?? "";
    expect((await send({ url }, path, { headers: { "Last-Event-ID": last } })).status).toBe(204);
    expect((await send({ url }, path, { method: "HEAD" })).headers["sluice-run"]).toBe("chat/1");
  });

  test("an unknown one is 404, with a hint; others cannot reach its topic", async () => {
    const { hub, url } = await startHub();
    spoken(hub, "r1").say("secret");
    const unknown = await send({ url }, "/v1/runs/nope");
    expect(unknown.status).toBe(404);
    expect(unknown.json).toMatchObject({ code: "run_unknown", hint: expect.any(String) });
    const everything = await openStream({ url }, "/v1/topics/**?last_event_id=earliest");
    await hub.publish("after", "x");
    const [only] = await everything.take(1);
    expect(only?.data).toContain('"x"');
    await hub.publish("runs/r1", "forged");
    const reader = await openStream({ url }, "/v1/runs/r1");
    expect((await reader.take(1)).map(({ data }) => data)).toEqual(["secret"]);
    expect((await send({ url }, "/v1/runs/r1", { method: "PUT" })).headers["allow"]).toBe(
      "GET, HEAD, DELETE, OPTIONS",
    );
  });

  test("DELETE stops it within 200 ms, tells its readers, and may be repeated", async () => {
    const { hub, url } = await startHub();
    const { run, say } = spoken(hub, "r");
    say("a");
    const reader = await openStream({ url }, "/v1/runs/r");
    await reader.take(1);
    const since = performance.now();
    expect((await send({ url }, "/v1/runs/r", { method: "DELETE" })).status).toBe(204);
    expect(await run.ended).toBe("stopped");
    expect(performance.now() - since).toBeLessThan(200);
    const [, end] = await reader.take(2);
    expect(JSON.parse(end?.data ?? "")).toMatchObject({ reason: "stopped" });
    expect((await send({ url }, "/v1/runs/r", { method: "DELETE" })).status).toBe(204);
    expect((await send({ url }, "/v1/runs/x", { method: "DELETE" })).status).toBe(404);
  });

  test("an id that is running is the same run; its readers decide whether it goes on", async () => {
    const { hub, url } = await startHub();
    const first = spoken(hub, "r", { onReadersGone: { kind: "cancel" } });
    let isStarted = false;
    const same = hub.run("r", async function* () {
      isStarted = true;
      yield "never";
    });
    first.say("a");
    const readers = [
      await openStream({ url }, "/v1/runs/r"),
      await openStream({ url }, "/v1/runs/r"),
    ];
    for (const reader of readers) await reader.take(1);
    readers[0]?.cut();
    await pause(50);
    expect(same.state).toBe("open");
    readers[1]?.cut();
    expect(await same.ended).toBe("stopped");
    expect(isStarted).toBe(false);
  });

  test("a finished run of 1 MB is resumed from each tenth of it, byte for byte", async () => {
    const { hub, url } = await startHub();
    const { run, say, end } = spoken(hub, "r");
    const words = Array.from({ length: 7_000 }, (_each, index) => `${index} `.padEnd(150, "é"));
    say(...words);
    end();
    await run.ended;
    const whole = await openStream({ url }, "/v1/runs/r");
    const events = await whole.take(words.length + 1);
    expect(events.slice(0, -1).map(({ data }) => data)).toEqual(words);
    for (let tenth = 1; tenth < 10; tenth += 1) {
      const index = tenth * 700;
      const place = events[index - 1]?.lastEventId ?? "";
      const rest = await openStream({ url }, `/v1/runs/r?last_event_id=${place}`);
      expect(await rest.take(words.length + 1 - index)).toEqual(events.slice(index));
    }
  });

  test("a producer that awaits nothing leaves the gateway its turns, and is stopped", async () => {
    const { hub, url } = await startHub();
    const run = hub.run("flood", async function* () {
      for (;;) yield "x".repeat(1_000);
    });
    const reader = await openStream({ url }, "/v1/runs/flood");
    await reader.take(100);
    expect((await send({ url }, "/v1/runs/flood", { method: "DELETE" })).status).toBe(204);
    expect(await run.ended).toBe("stopped");
  });

  test("a drain waits for it until the hard deadline, then it says so, once, and is stored", async () => {
    const { hub, server, url } = await startHub();
    const { run, say } = spoken(hub, "r");
    say("a");
    const reader = await openStream({ url }, "/v1/runs/r");
    await reader.take(1);
    const silent = spoken(hub, "no-reader");
    const drained = server.drain({ deadlineMs: 1_500, ackWaitMs: 100 });
    expect([await run.ended, await silent.run.ended]).toEqual(["error", "error"]);
    // What was stored, then what the reader saw before its connection ended.
    const topic = { tenant: feedTenant(DEFAULT_TENANT), selection: selectTopics(["runs/r"]) };
    const read = { from: "earliest" as const, upTo: Number.MAX_SAFE_INTEGER, bytesMax: 10_000 };
    const { publications } = await hub.core.broker.read({ ...topic, ...read });
    expect(publications.map(({ kind }) => kind)).toEqual(["event", "event", "end"]);
    expect((await drained).isForced).toBe(true);
    await reader.ended;
    const told = reader.events.map(({ event, data }) => [event, data]);
    expect(told.filter(([event]) => event === "error")).toEqual([
      ["error", JSON.stringify({ error: { code: "shutting_down", message: "shutdown" } })],
    ]);
    expect(told.filter(([event]) => event === "end")).toHaveLength(1);
  });

  test("a drain is over when the last run is, and its reader was not cut", async () => {
    const { hub, server, url } = await startHub();
    const { say, end } = spoken(hub, "r");
    say("a");
    const reader = await openStream({ url }, "/v1/runs/r");
    await reader.take(1);
    const drained = server.drain({ deadlineMs: 20_000, ackWaitMs: 100 });
    await pause(300);
    say("b");
    end();
    expect(await drained).toMatchObject({ isForced: false });
    expect(await reader.ended).toBe(true);
    expect(reader.events.map(({ event }) => event)).toEqual(["message", "message", "end"]);
  });
});

test("a client that queues its next request on the connection of a stream is not reset: it was told to open another", async () => {
  const { hub, url } = await startHub();
  const { say, end } = spoken(hub, "r");
  say("a");
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  const [first, second] = [get(agent, `${url}/v1/runs/r`), get(agent, `${url}/v1/runs/none`)];
  await vi.waitFor(() => expect(hub.core.connectionsNow).toBe(1));
  end();
  expect(await first).toBe(200);
  expect(await second).toBe(404);
});

function get(agent: Agent, url: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent }, (response) => {
      response.resume().on("end", () => resolve(response.statusCode ?? 0));
    });
    sent.on("error", reject).end();
  });
}

test("hub.run refuses options out of their bounds, and ids that are no names", () => {
  const hub = createHub();
  onTestFinished(() => hub.close());
  const none = (async function* () {})();
  for (const options of [{ ttlMs: -1 }, { onReadersGone: { kind: "later" } }, { bytesMax: 0 }]) {
    expect(() => hub.run("r", none, options as never)).toThrow(
      expect.objectContaining({ code: "parameter_invalid" }),
    );
  }
  expect(() => hub.run("a//b", none)).toThrow(
    expect.objectContaining({ code: "topic_name_invalid" }),
  );
});
