import { beforeAll, expect, test } from "vitest";
import { ensureBuilt } from "../support/built.ts";
import { serve, sluice } from "./support.ts";

beforeAll(ensureBuilt, 60_000);

async function open(url: string, path: string): Promise<{ id: string; response: Response }> {
  const response = await fetch(`${url}${path}`);
  return { id: (response.headers.get("sluice-connection") ?? "").slice(0, 8), response };
}

function rows(stdout: string): Record<string, unknown>[] {
  return stdout
    .trimEnd()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

test("piped, the list is a JSON object a line; filters and limits are passed on", async () => {
  const { url, adminUrl } = await serve();
  const env = { SLUICE_ADMIN_URL: adminUrl };
  const a = await open(url, "/v1/topics/a");
  const b = await open(url, "/v1/events?topic=b&topic=c");
  const all = await sluice(["conns"], { env });
  expect([all.code, all.stderr]).toEqual([0, ""]);
  expect(rows(all.stdout)).toMatchObject([
    { id: a.id, state: "live", tenant: "default", topics: ["a"], heartbeat: "comment" },
    { id: b.id, topics: ["b", "c"] },
  ]);
  const filtered = await sluice(["conns", "list", "--topic", "c", "--ip", "127.0.0.1"], { env });
  expect(rows(filtered.stdout)).toMatchObject([{ id: b.id }]);
  const limited = await sluice(["conns", "list", "--limit", "1"], { env });
  expect(rows(limited.stdout)).toHaveLength(1);
  expect(limited.stderr).toBe("2 connections; 1 are shown, see --limit\n");
  const bad = await sluice(["conns", "--longer-than", "soon"], { env });
  expect(bad.code).toBe(1);
  expect(bad.stderr).toMatch(/^sluice: A parameter is wrong: longer_than is "soon"/);
});

test("close ends those that are named by id, or by an option; all of them only by --all", async () => {
  const { url, adminUrl } = await serve();
  const run = (...args: string[]): ReturnType<typeof sluice> =>
    sluice(["conns", "close", "--admin-url", adminUrl, ...args]);
  const [one, two, three] = [
    await open(url, "/v1/topics/a"),
    await open(url, "/v1/topics/b"),
    await open(url, "/v1/topics/c"),
  ];
  const bare = await run();
  expect([bare.code, bare.stdout]).toEqual([64, ""]);
  expect(bare.stderr).toMatch(/^sluice: name connections by id or by an option, or --all/);
  // An id may begin with a dash.
  const named = await run("--", one.id);
  expect([named.code, rows(named.stdout)]).toEqual([0, [{ closed: 1 }]]);
  expect(await one.response.text()).toMatch(/event: close\ndata: closed_by_operator\n\n$/);
  expect(rows((await run("--topic", "b")).stdout)).toEqual([{ closed: 1 }]);
  expect(await two.response.text()).toContain("closed_by_operator");
  expect(rows((await run("--all")).stdout)).toEqual([{ closed: 1 }]);
  expect(await three.response.text()).toContain("closed_by_operator");
  const unknown = await run("--", "nobody00");
  expect(unknown.code).toBe(1);
  expect(unknown.stderr).toMatch(/^sluice: No such connection: /);
});

test("an id that begins with a dash is told from an option", async () => {
  for (const id of ["-kEx0p1Q", "--Ex0p1Q"]) {
    const { code, stderr } = await sluice(["conns", "close", id]);
    expect(code).toBe(64);
    expect(stderr).toBe(
      `sluice: unknown option '${id}'\n  hint: an id that begins with a dash goes behind two: sluice conns close -- ${id}\n`,
    );
  }
  // What is no id is a misspelt option.
  const misspelt = await sluice(["conns", "close", "--al"]);
  expect([misspelt.code, misspelt.stderr]).toEqual([
    64,
    "sluice: unknown option '--al'\n  hint: did you mean --all?\n",
  ]);
});

test("where nobody listens it says so, and how to mend it", async () => {
  const { code, stderr } = await sluice(["conns", "--admin-url", "http://127.0.0.1:9"]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^sluice: no admin listener answers at [^\n]+\n {2}hint: name the admin/);
});
