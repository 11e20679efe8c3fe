import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import type { ProxyRoute } from "../../src/gateway/proxy/route.ts";
import { startFront } from "../gateway/proxy/support.ts";
import { replaced, startNginx } from "../proxies/support.ts";
import { describeWith, needs } from "../support/programs.ts";
import { ANSWER, startModelServer, TOKENS } from "./model-server.ts";

const programs = { nginx: needs("nginx"), chromium: needs("chromium") };
const WAIT = { timeout: 15_000 };

let script = "";
let browser: Browser;

describeWith(programs, "useChat through nginx, Sluice and a model server", (paths) => {
  beforeAll(async () => {
    script = await bundle();
    browser = await chromium.launch({
      executablePath: paths.chromium,
      args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    });
  }, 90_000);
  afterAll(async () => browser?.close());

  test("R03 a reload in mid-answer goes on: the text is byte for byte that of the one upstream call", async () => {
    const { model, open, front } = await world();
    const page = await open();
    await page.click("#send");
    model.release(10);
    await until(page, TOKENS.slice(0, 10).join(""));
    await page.reload();
    await until(page, TOKENS.slice(0, 10).join(""));
    model.release(5);
    await until(page, TOKENS.slice(0, 15).join(""));
    await page.reload();
    model.release(TOKENS.length);
    await until(page, ANSWER);
    await vi.waitFor(async () => expect(await page.textContent("#status")).toBe("ready"), WAIT);
    // And once more, when it is over.
    await page.reload();
    await until(page, ANSWER);
    expect(await page.textContent("#error")).toBe("");
    expect([model.calls, model.aborts]).toEqual([1, 0]);
    expect(front.hub.metrics.get("sluice_runs_total", "done")).toBe(1);
  });

  test("R03 a second tab reads the same run, from its beginning and as it comes", async () => {
    const { model, open } = await world();
    const first = await open();
    await first.click("#send");
    model.release(20);
    await until(first, TOKENS.slice(0, 20).join(""));
    const second = await open();
    await until(second, TOKENS.slice(0, 20).join(""));
    await first.close();
    model.release(TOKENS.length);
    await until(second, ANSWER);
    expect([model.calls, model.aborts]).toEqual([1, 0]);
  });

  test("stop ends the upstream call at once, for every reader, and nothing is asked again", async () => {
    const { model, open, front } = await world();
    const [first, second] = [await open(), await open()];
    await first.click("#send");
    model.release(7);
    await until(first, TOKENS.slice(0, 7).join(""));
    await second.reload();
    await until(second, TOKENS.slice(0, 7).join(""));
    await first.click("#stop");
    await vi.waitFor(() => expect(model.aborts).toBe(1), WAIT);
    await vi.waitFor(
      async () => expect(await second.textContent("#status")).not.toBe("streaming"),
      WAIT,
    );
    model.release(TOKENS.length);
    for (const page of [first, second]) {
      expect(await page.textContent("#answer")).toBe(TOKENS.slice(0, 7).join(""));
    }
    expect(model.calls).toBe(1);
    expect(front.hub.metrics.get("sluice_runs_total", "stopped")).toBe(1);
  });

  async function world(route: Partial<ProxyRoute> = {}) {
    const model = await startModelServer({
      "/": '<!doctype html><meta charset="utf-8"><body><script type="module" src="/page.js"></script>',
      "/page.js": script,
    });
    const front = await startFront(model, route);
    const proxy = await startNginx(paths.nginx, front, everything);
    const context: BrowserContext = await browser.newContext();
    onTestFinished(() => context.close());
    const open = async (): Promise<Page> => {
      const page = await context.newPage();
      await page.goto(proxy.url);
      await page.waitForSelector("#send");
      return page;
    };
    return { model, open, front };
  }
});

/** The example is for Sluice's own paths; in front of an application it is for all of them. */
function everything(config: string): string {
  return replaced(config, [
    ["location /v1/ {", "location / {"],
    // The page's own origin is the host that the browser sees.
    ["proxy_set_header Host 127.0.0.1;", "proxy_set_header Host $http_host;"],
  ]);
}

async function until(page: Page, text: string): Promise<void> {
  await vi.waitFor(async () => expect(await page.textContent("#answer")).toBe(text), WAIT);
}

/** The page with all that it imports, as one module: browsers know no package names. */
async function bundle(): Promise<string> {
  const input = fileURLToPath(new URL("chat-page.mjs", import.meta.url));
  const build = await rolldown({
    input,
    platform: "browser",
    logLevel: "silent",
    transform: { define: { "process.env.NODE_ENV": '"production"' } },
  });
  const { output } = await build.generate({ format: "esm", codeSplitting: false });
  await build.close();
  return output[0].code;
}
