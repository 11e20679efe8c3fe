// What people have on their machines: curl, and the npm package `eventsource`. Each receives what
// `curl -d` publishes to a real gateway, and resumes at exactly the next event when it is cut.
import { execFile, spawn } from "node:child_process";
import { promisify } from "node:util";
import { EventSource } from "eventsource";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { Dice, seededRandom } from "../../src/testing/random.ts";
import { createScanner } from "../../src/wire/scan.ts";
import { describeWith, needs } from "../support/programs.ts";
import { GatewayProcess } from "./gateway-process.ts";
import { Nemesis } from "./nemesis.ts";

const run = promisify(execFile);
const seed = Number(process.env["SLUICE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const REPEAT = `repeat it with: SLUICE_SEED=${seed} npx vitest run test/soak/clients.test.ts`;
const COUNT = 40;
const expected = Array.from({ length: COUNT }, (_, index) => `event ${index + 1} & more = %20`);

describeWith({ curl: needs("curl") }, "clients that are cut", ({ curl }) => {
  let gateway: GatewayProcess;
  beforeAll(async () => {
    gateway = await GatewayProcess.start();
  });
  afterAll(() => gateway.stop());

  const startNemesis = async (): Promise<Nemesis> => {
    const nemesis = await Nemesis.start({
      targetPort: gateway.port,
      dice: new Dice(seededRandom(seed)),
      // In the head, in the prelude, and between the bytes of some event.
      budget: (dice) => dice.integer(100, 900),
    });
    onTestFinished(() => nemesis.stop());
    return nemesis;
  };

  /** Publishes with `curl -d`; resolves with the ids. */
  const publish = async (topic: string): Promise<string[]> => {
    const ids: string[] = [];
    for (const data of expected) {
      const url = `http://127.0.0.1:${gateway.port}/v1/topics/${topic}`;
      const { stdout } = await run(curl, ["-sS", "--fail-with-body", "-d", data, url]);
      ids.push((JSON.parse(stdout) as { id: string }).id);
    }
    return ids;
  };

  test("eventsource receives what curl -d publishes, each event once, in order", async () => {
    const nemesis = await startNemesis();
    const url = `http://127.0.0.1:${nemesis.port}/v1/topics/es?last_event_id=earliest`;
    const source = new EventSource(url);
    onTestFinished(() => source.close());
    const seen: { data: string; id: string }[] = [];
    let errors = 0;
    source.addEventListener("error", () => (errors += 1));
    const all = new Promise<void>((resolve) => {
      source.addEventListener("message", ({ data, lastEventId }) => {
        seen.push({ data: data as string, id: lastEventId });
        if (seen.length >= COUNT) resolve();
      });
      source.addEventListener("gap", ({ data }) => seen.push({ data: `gap ${data}`, id: "" }));
    });
    const ids = await publish("es");
    await all;
    expect(seen, REPEAT).toEqual(expected.map((data, index) => ({ data, id: ids[index] })));
    expect(nemesis.cuts).toBeGreaterThan(2);
    expect(errors).toBeGreaterThan(2);
  });

  test("curl -N receives what curl -d publishes, and goes on with -H Last-Event-ID", async () => {
    const nemesis = await startNemesis();
    const url = `http://127.0.0.1:${nemesis.port}/v1/topics/curl?last_event_id=earliest`;
    const seen: { data: string; id: string }[] = [];
    let lastEventId = "";
    let runs = 0;
    let halves = 0;
    const publishing = publish("curl");
    while (seen.length < COUNT) {
      runs += 1;
      const header = lastEventId === "" ? [] : ["-H", `Last-Event-ID: ${lastEventId}`];
      const child = spawn(curl, ["-sN", ...header, url], { stdio: ["ignore", "pipe", "inherit"] });
      onTestFinished(() => void child.kill());
      const scanner = createScanner({
        lastEventId,
        onEvent: (event) => seen.push({ data: event.data, id: event.lastEventId }),
      });
      await new Promise<void>((resolve) => {
        child.stdout.on("data", (bytes: Buffer) => {
          scanner.push(bytes);
          if (seen.length >= COUNT) child.kill();
        });
        child.once("close", () => resolve());
      });
      if (scanner.end()) halves += 1;
      ({ lastEventId } = scanner);
    }
    const ids = await publishing;
    expect(seen, REPEAT).toEqual(expected.map((data, index) => ({ data, id: ids[index] })));
    expect(runs).toBeGreaterThan(2);
    expect(halves).toBeGreaterThan(0);
  });

  test("each resumes at exactly the next event after a cut between two events", async () => {
    const nemesis = await Nemesis.start({
      targetPort: gateway.port,
      dice: new Dice(seededRandom(seed)),
      budget: () => Infinity,
    });
    onTestFinished(() => nemesis.stop());
    const post = (data: string): Promise<unknown> =>
      run(curl, ["-sS", "-d", data, `http://127.0.0.1:${gateway.port}/v1/topics/between`]);
    const source = new EventSource(`http://127.0.0.1:${nemesis.port}/v1/topics/between`);
    onTestFinished(() => source.close());
    const seen: string[] = [];
    let wake = (): void => {};
    source.addEventListener("open", () => wake());
    source.addEventListener("message", ({ data }) => {
      seen.push(data as string);
      wake();
    });
    const woken = (): Promise<void> => new Promise((resolve) => (wake = resolve));
    await woken();
    await Promise.all([woken(), post("1")]);
    // Nobody is connected when these come.
    nemesis.strike();
    await post("2");
    await post("3");
    while (seen.length < 3) await woken();
    expect(seen).toEqual(["1", "2", "3"]);
  });
});
