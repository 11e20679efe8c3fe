import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { loadPlayground } from "../../src/gateway/playground.ts";
import { send, startWorld } from "./support.ts";

const isBuilt = existsSync(new URL("../../dist/web/index.html", import.meta.url));

test.runIf(isBuilt)(
  "the page is at / in open mode, under a strict policy, and revalidated by its ETag",
  async () => {
    const world = await startWorld();
    const page = await send(world, "/?topic=a");
    expect([page.status, page.headers["content-type"]]).toEqual([200, "text/html; charset=utf-8"]);
    const policy = page.headers["content-security-policy"];
    expect(policy).toContain("default-src 'none'; script-src 'self'");
    expect(policy).not.toContain("unsafe");
    expect(page.headers["cache-control"]).toBe("no-cache");
    const again = await send(world, "/", {
      headers: { "if-none-match": String(page.headers["etag"]) },
    });
    expect([again.status, again.text]).toEqual([304, ""]);
    for (const [, path = ""] of page.text.matchAll(/(?:src|href)="\.?(\/[^"]+)"/g)) {
      expect([path, (await send(world, path)).status]).toEqual([path, 200]);
    }
  },
);

test("no page is served outside open mode, nor anything that is not a page's", async () => {
  const closed = await startWorld({ gateway: { isOpen: false, hasPlayground: true } });
  expect((await send(closed, "/")).status).toBe(404);
  const open = await startWorld();
  for (const path of [
    "/../package.json",
    "/%2e%2e/package.json",
    "/assets/%2e%2e/%2e%2e/index.js",
    "/.tsbuildinfo",
  ]) {
    expect([path, (await send(open, path)).status]).toEqual([path, 404]);
  }
  expect(Object.keys(loadPlayground()).every((path) => path.startsWith("/"))).toBe(true);
});
