import { spawn } from "node:child_process";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { subscribe } from "../../src/client/index.ts";
import { ensureBuilt } from "../support/built.ts";
import { describeWith, needs } from "../support/programs.ts";
import { Lines, MAIN, cleanEnv, openAcking, serve, sluice, start } from "./support.ts";

beforeAll(ensureBuilt, 60_000);

/** Signals closer together than this are one. */
const APART_MS = 350;

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

test("without a connection the exit is immediate", async () => {
  const { child, exited } = await serve();
  const at = performance.now();
  child.kill("SIGTERM");
  expect(await exited).toBe(0);
  expect(performance.now() - at).toBeLessThan(1_000);
});

test("P07 clients that never acknowledge cost the ACK's deadline, are ended cleanly, and the exit code is 0", async () => {
  const { url, child, exited, stdout } = await serve(["--drain-ack-wait", "700ms"]);
  const response = await fetch(`${url}/v1/topics/a`);
  child.kill("SIGTERM");
  // Clean: it would reject otherwise. Behind goodbye there are comments only.
  expect(await response.text()).toMatch(
    /\nretry: \d+\n\nevent: close\ndata: pool_draining\n\n(: heartbeat\n\n)*$/,
  );
  expect(await exited).toBe(0);
  expect(JSON.parse(await stdout.until('"drained"'))).toMatchObject({
    byHow: { ack_timeout: 1 },
    isForced: false,
  });
});

test("P08 a second SIGTERM ends the rest at once, with exit code 0", async () => {
  const { url, child, exited, stdout } = await serve();
  const response = await fetch(`${url}/v1/topics/a`);
  child.kill("SIGTERM");
  await stdout.until('"draining"');
  await pause(APART_MS);
  const at = performance.now();
  child.kill("SIGTERM");
  expect(await response.text()).toContain("data: pool_draining\n\n");
  expect(await exited).toBe(0);
  expect(performance.now() - at).toBeLessThan(1_500);
});

test("P09 SIGINT during a drain ends it at once, with exit code 130", async () => {
  const { url, child, exited, stdout } = await serve();
  await fetch(`${url}/v1/topics/a`);
  child.kill("SIGTERM");
  await stdout.until('"draining"');
  await pause(APART_MS);
  child.kill("SIGINT");
  expect(await exited).toBe(130);
});

test("P09 SIGKILL during a drain: the next start tells every client that its log is gone, and hides nothing", async () => {
  const first = await serve();
  const port = new URL(first.url).port;
  const post = (body: string): Promise<Response> =>
    fetch(`${first.url}/v1/topics/a`, { method: "POST", body });
  await post("1");
  const items = subscribe({ url: first.url, topics: ["a"], from: "earliest" });
  expect((await items.next()).value).toMatchObject({ type: "event", data: "1" });
  const rest = items.next();
  first.child.kill("SIGTERM");
  await first.stdout.until('"draining"');
  first.child.kill("SIGKILL");
  await first.exited;
  const second = start(["serve", "--port", port, "--admin-port", "0"]);
  await new Lines(second.stdout).until('"listening"');
  // Its memory went with the process: a new epoch. What was lost is told before anything new is sent.
  expect((await rest).value).toMatchObject({ type: "gap", reason: "epoch" });
  await post("2");
  expect((await items.next()).value).toMatchObject({ type: "event", data: "2" });
  await items.return?.();
});

test("sluice drain starts it, tells how far it is, and ends with it; the gateway ends too", async () => {
  const { url, adminUrl, exited } = await serve();
  const streams = await Promise.all([1, 2, 3].map(() => openAcking(url)));
  const { code, stdout, stderr } = await sluice(["drain", "--admin-url", adminUrl]);
  expect([code, stderr]).toEqual([0, ""]);
  const lines = stdout.trimEnd().split("\n");
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({ state: "draining", total: 3 });
  expect(JSON.parse(lines.at(-1) ?? "")).toMatchObject({
    state: "drained",
    left: 0,
    byHow: { ack: 3 },
    isForced: false,
  });
  expect(await exited).toBe(0);
  for (const { text } of streams) expect(await text).toContain("pool_draining");
});

test("sluice drain tells by its exit code that the deadline closed some, as the gateway does", async () => {
  const { url, adminUrl, exited } = await serve(["--drain-deadline", "400ms"]);
  await fetch(`${url}/v1/topics/a`);
  const { code } = await sluice(["drain"], { env: { SLUICE_ADMIN_URL: adminUrl } });
  expect([code, await exited]).toEqual([75, 75]);
});

test("where nobody listens, or something else does, it says so and how to mend it", async () => {
  const { url } = await serve();
  const nobody = await sluice(["drain", "--admin-url", "http://127.0.0.1:9"]);
  expect(nobody.code).toBe(1);
  expect(nobody.stderr).toMatch(
    /^sluice: no admin listener answers at http:\/\/127\.0\.0\.1:9 \([^\n]+\)\n {2}hint: name the admin listener[^\n]+\n$/,
  );
  const wrong = await sluice(["drain", "--admin-url", url]);
  expect(wrong.code).toBe(1);
  expect(wrong.stderr).toMatch(
    /^sluice: Nothing is here: [^\n]+\n {2}hint: name the admin listener/,
  );
  const bad = await sluice(["drain", "--admin-url", "nonsense"]);
  expect([bad.code, bad.stderr]).toEqual([
    64,
    "sluice: --admin-url is not a URL such as http://127.0.0.1:8080\n",
  ]);
});

describeWith({ script: needs("script") }, "on a terminal", ({ script }) => {
  test("the progress is one line that is rewritten, and says what Ctrl-C does", async () => {
    const run = `exec "${process.execPath}" "${MAIN}" serve --port 0 --admin-port 0`;
    const child = spawn(script, ["-qefc", run, "/dev/null"], {
      env: { ...cleanEnv(), TERM: "xterm", COLUMNS: "200" },
      cwd: "/",
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    const exited = new Promise<number | null>((resolve) => child.once("close", resolve));
    let shown = "";
    let notify = (): void => {};
    child.stdout.on("data", (chunk: Buffer) => {
      shown += chunk.toString();
      notify();
    });
    const until = async (pattern: RegExp): Promise<RegExpExecArray> => {
      for (;;) {
        const found = pattern.exec(shown);
        if (found !== null) return found;
        await new Promise<void>((resolve) => (notify = resolve));
      }
    };
    const [, url = ""] = await until(/listening[^h]+(http:\S+:\d+)/);
    const response = await fetch(`${url}/v1/topics/a`);
    await until(/Ctrl-C stops/);
    child.stdin.write("\u0003");
    await until(/\rdraining: 1 of 1 left, \d+ s; Ctrl-C again stops at once/);
    await pause(APART_MS);
    child.stdin.write("\u0003");
    expect(await response.text()).toContain("pool_draining");
    expect(await exited).toBe(130);
  });
});
