// The examples, as users run them: against the built package, each in a process of its own.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { run as runTool } from "../../scripts/support/run.ts";
import { GatewayProcess } from "../soak/gateway-process.ts";
import { ensureBuilt } from "../support/built.ts";
import { describeWith, needs } from "../support/programs.ts";
import { openRaw } from "../support/raw-stream.ts";

const run = promisify(execFile);
const folder = fileURLToPath(new URL("../../examples/", import.meta.url));

interface Example {
  readonly port: number;
  /** Asks it to end; resolves with its exit code. */
  readonly stop: () => Promise<number | null>;
}

/** Starts an example; when the test is over it is asked to end, and must. */
async function start(name: string): Promise<Example> {
  const child = spawn(process.execPath, [`${folder}${name}`], {
    env: { ...process.env, PORT: "0" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const exited = once(child, "exit").then(([code]) => code as number | null);
  const listening = new Promise<number>((resolve) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const url = /^listening on (http:\/\/\S+)$/.exec(line)?.[1];
      if (url !== undefined) resolve(Number(new URL(url).port));
    });
  });
  const ended = exited.then((code) => {
    throw new Error(`${name} ended with ${code}`);
  });
  ended.catch(() => {});
  const port = await Promise.race([listening, ended]);
  const stop = (): Promise<number | null> => {
    child.kill("SIGTERM");
    return exited;
  };
  return { port, stop };
}

const post = (port: number, path: string, body: string, type = "text/plain"): Promise<Response> =>
  fetch(`http://127.0.0.1:${port}${path}`, {
    method: "POST",
    headers: { "Content-Type": type },
    body,
  });

beforeAll(ensureBuilt);

test("every example compiles against the package as users have it", async () => {
  const { isOk, output } = await runTool(["tsc", "-p", "test/examples/tsconfig.json"], {
    isQuiet: true,
  });
  expect(isOk, output).toBe(true);
});

describe("an example streams, and ends cleanly when asked to", () => {
  test("node-http", async () => {
    const { port, stop } = await start("node-http.ts");
    const stream = openRaw({ port, path: "/v1/topics/clock?last_event_id=earliest" });
    await stream.until(() => stream.events.length > 0, "a tick");
    expect(stream.events[0]?.event).toBe("tick");
    await post(port, "/v1/topics/clock", "hello");
    await stream.until(() => stream.data.includes("hello"), "what was posted");
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toContain("/v1/topics/");
    expect(await stop()).toBe(0);
    await stream.closed();
    expect([stream.events.at(-1)?.event, stream.reader.isFinished]).toEqual(["close", true]);
  });

  test.each(["express.ts", "fastify.ts"])("%s", async (name) => {
    const { port, stop } = await start(name);
    const stream = openRaw({ port, path: "/v1/topics/orders" });
    await stream.until(() => stream.places.length === 1, "the primer");
    const answer = await post(port, "/orders", '{"item":"tea"}', "application/json");
    expect(answer.status).toBe(201);
    const { eventId } = (await answer.json()) as { eventId: string };
    expect((await post(port, "/v1/topics/orders", "{}", "application/json")).status).toBe(201);
    await stream.until(() => stream.events.length === 2, "both events");
    expect(stream.events[0]).toMatchObject({ event: "created", lastEventId: eventId });
    expect(JSON.parse(stream.data[0] ?? "")).toMatchObject({ item: "tea" });
    expect(stream.data[1]).toBe("{}");
    expect(await stop()).toBe(0);
    await stream.closed();
    expect(stream.reader.isFinished).toBe(true);
  });

  test("token-stream: the answer goes on without a reader, and is whole for whoever comes back", async () => {
    const { port, stop } = await start("token-stream.ts");
    const asked = await post(port, "/ask", "Why?");
    expect(asked.status).toBe(202);
    const path = (await asked.text()).trim();
    const first = openRaw({ port, path });
    await first.until(() => first.events.length >= 3, "a few tokens");
    const { lastEventId } = first;
    const seen = first.data;
    first.socket.resetAndDestroy();
    const second = openRaw({ port, path, headers: { "Last-Event-ID": lastEventId } });
    await second.closed();
    expect(second.events.at(-1)?.event).toBe("end");
    const answer = [...seen, ...second.data.slice(0, -1)].join(" ");
    expect(answer).toBe("You asked: Why? A sluice lets through what it should, and loses nothing.");
    expect(await stop()).toBe(0);
  });

  test("browser-page", async () => {
    const { port, stop } = await start("browser-page.ts");
    const page = await fetch(`http://127.0.0.1:${port}/`);
    expect(page.headers.get("content-type")).toContain("text/html");
    expect(await page.text()).toContain("new EventSource(");
    const stream = openRaw({ port, path: "/v1/topics/chat?last_event_id=earliest" });
    await post(port, "/v1/topics/chat", "hello");
    await stream.until(() => stream.events.length === 1, "what was said");
    expect(stream.data).toEqual(["hello"]);
    expect(await stop()).toBe(0);
  });
});

describeWith({ curl: needs("curl"), sh: needs("sh") }, "with curl alone", ({ sh }) => {
  test("runs.sh is cut off, reads the whole answer, resumes and stops", async () => {
    const { port, stop } = await start("origin.ts");
    const gateway = await GatewayProcess.start(`upstream: http://127.0.0.1:${port}\n`);
    onTestFinished(() => gateway.stop());
    const { stdout } = await run(sh, [`${folder}runs.sh`, `http://127.0.0.1:${gateway.port}`]);
    const [, cut = "", whole = "", resumed = "", stopped = ""] = stdout.split(/^# .*$/m);
    const data = (part: string): string[] => part.match(/(?<=^data: ).*$/gm) ?? [];
    const tokens = "You asked: why? Ask again.".split(" ");
    const answer = [...tokens.map((token) => JSON.stringify({ token })), "[DONE]"];
    expect(data(whole)).toEqual(answer);
    expect(whole).toMatch(/^: end .*"done"/m);
    expect(data(cut).length).toBeLessThan(answer.length);
    expect(data(resumed)).toEqual(answer.slice(2));
    expect(stopped).toMatch(/^204$/m);
    expect(stopped).toMatch(/^: end .*"stopped"/m);
    expect(await stop()).toBe(0);
  });

  test("curl.sh publishes, reads and resumes", async () => {
    const gateway = await GatewayProcess.start();
    onTestFinished(() => gateway.stop());
    const url = `http://127.0.0.1:${gateway.port}`;
    const { stdout } = await run(sh, [`${folder}curl.sh`, url]);
    expect(stdout.match(/^data: .*$/gm)?.map((line) => line.slice(6))).toEqual([
      "hello",
      '{"n":1}',
      '{"n":2}',
      "ready",
      expect.stringContaining("deleted"),
      '{"n":1}',
      '{"n":2}',
      "ready",
      expect.stringContaining("deleted"),
    ]);
    expect(stdout).toMatch(/\n204\n$/);
  });
});
