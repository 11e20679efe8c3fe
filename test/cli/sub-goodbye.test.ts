import { beforeAll, expect, test } from "vitest";
import { ensureBuilt } from "../support/built.ts";
import { Lines, serve, start } from "./support.ts";

beforeAll(ensureBuilt, 90_000);

test("P06 sub acknowledges a drain, says in words what happened, and waits for the next gateway", async () => {
  const { url, child, stdout, exited } = await serve();
  const reader = start(["sub", "a", "--url", url]);
  const [items, notices] = [new Lines(reader.stdout), new Lines(reader.stderr)];
  // From the newest on: published until one has come, because nobody knows when it has connected.
  for (let count = 0; items.all.length === 0; count += 1) {
    await fetch(`${url}/v1/topics/a`, { method: "POST", body: `${count}` });
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  child.kill("SIGTERM");
  const notice = await notices.until("shuts down");
  expect(notice).toMatch(
    /^sluice: the gateway shuts down \(pool_draining\); next attempt in [0-9.]+ s$/,
  );
  const drained = JSON.parse(await stdout.until('"drained"')) as object;
  expect(drained).toMatchObject({ total: 1, byHow: { ack: 1 } });
  expect(await exited).toBe(0);
  await notices.until("ECONNREFUSED", 1);
});
