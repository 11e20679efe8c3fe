// P01: kill -9 of the gateway between the bytes of one frame. The client drops the half event; the
// memory log is gone with the process, so that the resume is a gap with its reason, never silence.
import { connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { Checker } from "../../src/testing/checker.ts";
import { Dice, seededRandom } from "../../src/testing/random.ts";
import { openRaw } from "../support/raw-stream.ts";
import { GatewayProcess } from "./gateway-process.ts";
import { Nemesis } from "./nemesis.ts";
import { publishAll } from "./publisher.ts";
import { Reader } from "./reader.ts";

async function start(yaml = "", port = 0): Promise<GatewayProcess> {
  const gateway = await GatewayProcess.start(yaml, port);
  onTestFinished(() => gateway.stop("SIGKILL"));
  return gateway;
}

async function publish(port: number, topic: string, body: string): Promise<string> {
  const url = `http://127.0.0.1:${port}/v1/topics/${topic}`;
  const answer = await fetch(url, { method: "POST", body });
  expect(answer.status).toBe(201);
  return ((await answer.json()) as { id: string }).id;
}

/** Forwards everything to the client up to `marker`, and never what follows. */
async function startHolder(targetPort: number, marker: string): Promise<number> {
  const holder = createServer((client) => {
    const server = connect({ port: targetPort, host: "127.0.0.1" });
    let isHeld = false;
    client.pipe(server);
    server.on("data", (bytes: Buffer) => {
      if (isHeld) return;
      const at = bytes.indexOf(marker);
      isHeld = at !== -1;
      client.write(isHeld ? bytes.subarray(0, at) : bytes);
    });
    server.on("error", () => {});
    client.on("error", () => {});
    server.on("close", () => client.end());
  });
  await new Promise<void>((resolve) => holder.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void holder.close());
  return (holder.address() as AddressInfo).port;
}

test("an event that the kill cut in half is dropped, and the resume is told why it is none (P01)", async () => {
  const first = await start();
  const port = await startHolder(first.port, "SECOND HALF");
  const path = "/v1/topics/orders";
  const stream = openRaw({ port, path });
  await stream.until(() => stream.places.length === 1, "the primer");
  await publish(first.port, "orders", "1");
  const id = await publish(first.port, "orders", "2");
  await publish(first.port, "orders", "FIRST HALF, SECOND HALF");
  await stream.until(() => stream.body.endsWith("data: FIRST HALF, "), "the first half");
  await first.stop("SIGKILL");
  await stream.closed();
  expect(stream.data).toEqual(["1", "2"]);
  expect([stream.reader.isFinished, stream.lastEventId]).toEqual([false, id]);

  const second = await start("", first.port);
  const headers = { "Last-Event-ID": id };
  const refused = openRaw({ port: second.port, path: `${path}?on_gap=refuse`, headers });
  await refused.until(() => refused.reader.isFinished, "the refusal");
  expect(refused.reader.status).toBe(409);
  expect(JSON.parse(refused.body)).toMatchObject({ code: "gap_refused", gap: { reason: "epoch" } });

  const resumed = openRaw({ port: second.port, path, headers });
  await resumed.until(() => resumed.places.length === 1, "the primer");
  const fresh = await publish(second.port, "orders", "3");
  await resumed.until(() => resumed.events.length === 2, "the gap and the event");
  expect(resumed.events.map(({ event }) => event)).toEqual(["gap", "message"]);
  expect(JSON.parse(resumed.data[0] ?? "")).toMatchObject({ reason: "epoch", from: null });
  expect([resumed.data[1], resumed.lastEventId]).toEqual(["3", fresh]);
  // The new log's places resume exactly.
  const again = openRaw({
    port: second.port,
    path,
    headers: { "Last-Event-ID": resumed.places[0] ?? "" },
  });
  await again.until(() => again.events.length === 1, "the event");
  expect(again.data).toEqual(["3"]);
});

test("gateways killed in full flight: readers see each log whole, and are told of each loss", async () => {
  const seed = Number(process.env["SLUICE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  const repeat = `repeat it with: SLUICE_SEED=${seed} npx vitest run test/soak/kill.test.ts`;
  const dice = new Dice(seededRandom(seed));
  const checker = new Checker();
  const config = 'topics: [{ match: "**", retention: { count: 1000000, bytes: 100MiB } }]\n';
  let gateway = await start(config);
  const { port } = gateway;
  const budget = (each: Dice): number => Math.floor(2 ** (each.integer(700, 2_200) / 100));
  const nemesis = await Nemesis.start({ targetPort: port, dice, budget });
  onTestFinished(() => nemesis.stop());
  const readers = Array.from(
    { length: 12 },
    (_, index) =>
      new Reader({
        name: `reader ${index}`,
        port: nemesis.port,
        path: index % 2 === 0 ? "/v1/topics/kill/a" : "/v1/events?topic=kill/*",
        topics: index % 2 === 0 ? ["kill/a"] : ["kill/*"],
        isEnveloped: index % 2 === 1,
        checker,
        topicOf: () => "kill/a",
      }),
  );
  onTestFinished(() => readers.forEach((reader) => reader.stop()));
  const shared = { checker, dice, linesMax: 20, paddingMax: 2_000 };
  for (let life = 1; ; life += 1) {
    const publishing = ["a", "b"].map((topic) =>
      publishAll({
        ...shared,
        name: `${topic}${life}`,
        topic: `kill/${topic}`,
        port,
        count: 2_000,
      }),
    );
    const [a = "", b = ""] = await Promise.all(publishing);
    if (life === 4) {
      await Promise.all(readers.map((reader, index) => reader.reached(index % 2 === 0 ? a : b)));
      break;
    }
    // Some readers have everything, most are in the middle of it.
    await readers[dice.integer(0, readers.length - 1)]?.reached(a);
    await gateway.stop("SIGKILL");
    gateway = await start(config, port);
    await Promise.all(readers.map((reader) => reader.told(life)));
  }
  for (const reader of readers) reader.stop();
  const verdict = checker.verdict();
  const halves = readers.reduce((sum, reader) => sum + reader.halves, 0);
  const { published, delivered, gapsTold } = verdict;
  console.log(`kill: ${JSON.stringify({ seed, published, delivered, gapsTold, halves })}`);
  for (const { failure } of readers) expect(failure, repeat).toBeUndefined();
  expect(verdict.failures, repeat).toEqual([]);
  expect(gapsTold, repeat).toBeGreaterThanOrEqual(3 * readers.length);
  expect(halves).toBeGreaterThan(0);
}, 60_000);
