import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { describeWith, needs } from "../support/programs.ts";
import { until, useBrowser } from "./support.ts";

const sh = (command: string): Promise<{ stdout: string }> =>
  promisify(execFile)("/bin/sh", ["-c", command], { timeout: 10_000 });

/** Runs a command that does not end by itself; returns what it has printed. The test's end ends it. */
function startReading(command: string): () => string {
  // In a group of its own: ending only the shell would leave curl.
  const child = spawn("/bin/sh", ["-c", command], { detached: true, stdio: ["ignore", "pipe", 2] });
  onTestFinished(() => void process.kill(-Number(child.pid)));
  let text = "";
  child.stdout?.on("data", (chunk) => (text += String(chunk)));
  return () => text;
}

const programs = { chromium: needs("chromium"), curl: needs("curl") };

describeWith(programs, "the playground's page", ({ chromium }) => {
  const open = useBrowser(chromium);

  test.each(["light", "dark"] as const)(
    "works in %s without an error or a violation of its policy, and keeps the toggled theme",
    async (colorScheme) => {
      const context = { colorScheme, viewport: { width: 1440, height: 900 } };
      const { page, a, b, errors, publishButton } = await open({ context });
      await publishButton.click();
      for (const panel of [a, b]) await until(() => panel.text("received"), "1");
      const folder = await mkdtemp(join(tmpdir(), "sluice-playground-"));
      onTestFinished(() => rm(folder, { recursive: true }));
      const file = join(folder, `${colorScheme}.png`);
      await page.screenshot({ path: file });
      expect((await stat(file)).size).toBeGreaterThan(10_000);
      const background = (): Promise<string> =>
        page.evaluate("getComputedStyle(document.body).backgroundColor");
      const before = await background();
      const toggle = page.getByRole("button", { name: "Dark" });
      expect(await toggle.getAttribute("aria-pressed")).toBe(String(colorScheme === "dark"));
      await toggle.click();
      const after = await background();
      expect(after).not.toBe(before);
      await page.reload();
      await until(background, after);
      expect(errors).toEqual([]);
    },
  );

  test("fits a screen of 360 pixels, and every control has a name and can be reached by key", async () => {
    const { page, a } = await open({ context: { viewport: { width: 360, height: 740 } } });
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(360);
    const unnamed =
      await page.evaluate(`[...document.querySelectorAll("input, select, textarea, button")]
      .filter((each) => !each.labels?.length && !each.ariaLabel && !each.textContent.trim())
      .map((each) => each.outerHTML)`);
    expect(unnamed).toEqual([]);
    await page.getByLabel("Event name").fill("greeting");
    await page.getByRole("textbox", { name: "Data" }).press("Control+Enter");
    await until(() => a.text("received"), "1");
    await a.button.focus();
    await page.keyboard.press("Enter");
    await until(() => a.text("state"), "cut");
    expect(await page.locator("[data-part=announcer]").textContent()).toContain(
      "Subscriber A: Cut",
    );
  });

  test("a browser that opens a topic's URL lands on the page with that topic", async () => {
    const { page, a, world } = await open({ path: "/v1/topics/orders/eu:7" });
    expect(new URL(page.url()).pathname).toBe("/");
    expect(await page.getByLabel("Topic").inputValue()).toBe("orders/eu:7");
    await world.hub.publish({ tenant: "default", topic: "orders/eu:7", events: [{ data: "hi" }] });
    await until(() => a.root.locator(".data").allTextContents(), ["hi"]);
  });

  test("another topic is another address, and back is the one before; no name is sent that is none", async () => {
    const { page, a, publishButton } = await open({ topic: "first" });
    await publishButton.click();
    await until(() => a.text("received"), "1");
    await page.getByLabel("Topic").fill("second/../first");
    await page.getByRole("button", { name: "Open" }).click();
    expect(await page.getByRole("alert").textContent()).toContain('may not be ".."');
    await page.getByLabel("Topic").fill("second");
    await page.getByLabel("Topic").press("Enter");
    await until(() => a.text("received"), "0");
    expect(new URL(page.url()).search).toBe("?topic=second");
    await page.goBack();
    await until(() => a.text("received"), "1");
    expect(await page.getByLabel("Topic").inputValue()).toBe("first");
  });

  test("what the gateway refuses is shown with its title, detail and hint", async () => {
    const { page, publishButton } = await open();
    await page.getByRole("textbox", { name: "Data" }).fill('{"n": }');
    await publishButton.click();
    const problem = page.locator(".problem");
    await problem.waitFor();
    expect(await problem.textContent()).toMatch(
      /The body is not JSON.*body_not_json.*Mend the JSON/s,
    );
  });

  test("a list keeps its newest 500 events, counts all, and treats data as text", async () => {
    const { world, a, b } = await open();
    const events = Array.from({ length: 700 }, (_, index) => ({ data: `<img src=x> ${index}` }));
    await world.hub.publish({ tenant: "default", topic: "demo", events });
    await until(() => a.text("received"), "700");
    await until(() => b.text("received"), "700");
    const rows = a.root.locator("li");
    expect(await rows.count()).toBe(500);
    expect(await rows.last().locator(".data").textContent()).toBe("<img src=x> 699");
    expect(await a.root.locator("img").count()).toBe(0);
  });

  test("the copied commands run in sh, and do what the page does", async () => {
    const context = { permissions: ["clipboard-read", "clipboard-write"] };
    const { page, a } = await open({ context });
    const clipboard = (): Promise<string> => page.evaluate("navigator.clipboard.readText()");
    const data = `@it's "5" $HOME \\ \`x\`\nand ünïcode`;
    await page.getByLabel("Event name").fill("it's & so on");
    await page.getByLabel("Text", { exact: true }).check();
    await page.getByRole("textbox", { name: "Data" }).fill(data);
    // Published once by the page, so that its subscribers listen for the name.
    await page.getByRole("button", { name: "Publish", exact: true }).click();
    await until(() => a.text("received"), "1");
    await page.locator("section.publish").getByRole("button", { name: "Copy as curl" }).click();
    await page.getByRole("button", { name: "Copied" }).waitFor();
    const { stdout } = await sh(`${await clipboard()} -sS`);
    const { id } = JSON.parse(stdout) as { id: string };
    await until(() => a.text("lastId"), id);
    const row = a.root.locator("li.event").last();
    expect(await row.locator(".name").textContent()).toBe("it's & so on");
    expect(await row.locator(".data").textContent()).toBe(data);

    const subscribe = a.root.getByRole("button", { name: "Copy as curl" });
    await subscribe.click();
    await until(async () => (await clipboard()).startsWith("curl -N"), true);
    // Reads on from the last id: the next event, and only that.
    const read = startReading(`${await clipboard()} -sS`);
    await page.getByRole("textbox", { name: "Data" }).fill("next");
    await page.getByRole("button", { name: "Publish", exact: true }).click();
    await until(() => a.text("received"), "3");
    const frame = `event: it's & so on\ndata: next\nid: ${await a.text("lastId")}\n\n`;
    await until(() => read().slice(read().indexOf("event:")), frame);
    expect(read()).toContain(`id: ${id}\n\nevent:`);
  });

  test("without a clipboard the command is selected, to be copied by hand", async () => {
    const before = `Object.defineProperty(navigator, "clipboard", { value: undefined });`;
    const { page } = await open({ before });
    await page.locator("section.publish").getByRole("button", { name: "Copy as curl" }).click();
    await page.getByRole("button", { name: "Press Ctrl+C" }).waitFor();
    expect(await page.evaluate("getSelection().toString()")).toMatch(
      /^curl 'http:\/\/127\.0\.0\.1:\d+\/v1\/topics\/demo' \\\n {2}-H/,
    );
  });
});
