// The playground in a real browser, served by a real gateway, through a proxy that can cut.
import { chromium } from "playwright-core";
import type { Browser, BrowserContextOptions, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, expect, onTestFinished } from "vitest";
import { startProxy } from "../client/proxy.ts";
import type { Proxy } from "../client/proxy.ts";
import { startWorld } from "../gateway/support.ts";
import type { World, WorldOptions } from "../gateway/support.ts";
import { ensureBuilt } from "../support/built.ts";

/** A subscriber's panel. */
export interface Panel {
  readonly root: Locator;
  /** What the cut button says: `Cut`, `Resume (3)`, `Open again`. */
  readonly button: Locator;
  text(part: string): Promise<string>;
  /** The ids of its rows, in the order of the list. */
  ids(): Promise<string[]>;
  /** The marks of a kind: `cut`, `resume`, `gap`, `close`, `end`. */
  marks(kind: string): Locator;
}

export interface Playground {
  readonly world: World;
  readonly proxy: Proxy;
  readonly page: Page;
  readonly a: Panel;
  readonly b: Panel;
  /** What the console called an error, violations of the policy among them, and what was thrown. */
  readonly errors: readonly string[];
  readonly publishButton: Locator;
  readonly burstButton: Locator;
}

export interface PlaygroundOptions extends WorldOptions {
  readonly topic?: string;
  /** Where the page is opened; `/?topic=<topic>` unless told. */
  readonly path?: string;
  readonly context?: BrowserContextOptions;
  /** A script that runs before those of the page. */
  readonly before?: string;
}

/** One browser for a file's tests. Returns what opens a page whose two subscribers are connected. */
export function useBrowser(
  executablePath: string,
): (options?: PlaygroundOptions) => Promise<Playground> {
  let browser: Browser;
  beforeAll(async () => {
    await ensureBuilt();
    browser = await chromium.launch({
      executablePath,
      // No network but ours, and no sandbox: containers seldom allow one.
      args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    });
  }, 90_000);
  afterAll(async () => browser?.close());

  return async ({ topic = "demo", path, context: contextOptions, before, ...options } = {}) => {
    const world = await startWorld(options);
    const proxy = await startProxy(world.url);
    const context = await browser.newContext(contextOptions);
    // Before the gateway closes, which would otherwise be errors in the console.
    onTestFinished(() => context.close());
    if (before !== undefined) await context.addInitScript(before);
    const page = await context.newPage();
    const errors: string[] = [];
    page.on("console", (message) => {
      if (message.type() === "error") errors.push(message.text());
    });
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(proxy.url + (path ?? `/?topic=${topic}`));
    const panels = page.locator("section.subscriber");
    const [a, b] = [panelOf(panels.first()), panelOf(panels.last())];
    for (const panel of [a, b]) await until(() => panel.text("state"), "open");
    return {
      world,
      proxy,
      page,
      a,
      b,
      errors,
      publishButton: page.getByRole("button", { name: "Publish", exact: true }),
      burstButton: page.locator("[data-part=burst]"),
    };
  };
}

function panelOf(root: Locator): Panel {
  return {
    root,
    button: root.locator("[data-part=cut]"),
    text: async (part) => (await root.locator(`[data-part=${part}]`).textContent()) ?? "",
    ids: () =>
      root
        .locator("li.event")
        .evaluateAll((rows: { dataset: { id?: string } }[]) =>
          rows.map((row) => row.dataset.id ?? ""),
        ),
    marks: (kind) => root.locator(`li.mark[data-kind=${kind}]`),
  };
}

/** Waits until `read` gives `expected`: a page tells nobody when it has painted. */
export async function until<T>(read: () => T | Promise<T>, expected: T): Promise<void> {
  await expect.poll(read, { timeout: 15_000, interval: 20 }).toEqual(expected);
}
