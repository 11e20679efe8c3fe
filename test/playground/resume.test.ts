import { expect, test, vi } from "vitest";
import { describeWith, needs } from "../support/programs.ts";
import { until, useBrowser } from "./support.ts";
import type { Panel } from "./support.ts";

/** Everything so far, each once, in order: the numbers of one topic alone have no holes. */
async function expectUnbroken(panel: Panel, count: number): Promise<void> {
  const numbers = (await panel.ids()).map((id) => Number(id.split(".").at(-1)));
  expect(numbers).toEqual(Array.from({ length: count }, (_, index) => index + 1));
  expect([await panel.text("lost"), await panel.text("repeated")]).toEqual(["0", "0"]);
}

async function received(panel: Panel): Promise<number> {
  return Number(await panel.text("received"));
}

describeWith({ chromium: needs("chromium") }, "the playground", ({ chromium }) => {
  const open = useBrowser(chromium);

  test("R22 native EventSource on the playground resumes after a cut", async () => {
    const { world, a, b, burstButton } = await open();
    await burstButton.click();
    await until(async () => (await received(a)) >= 10, true);
    await a.button.click();
    await until(() => world.hub.subscribersNow, 1);
    const seen = await received(a);
    await until(async () => (await received(b)) >= seen + 10, true);
    expect(await received(a)).toBe(seen);
    expect(await a.button.textContent()).toMatch(/^Resume/);
    await a.button.click();
    await until(() => received(a), 100);
    await until(() => burstButton.textContent(), "Publish 100");
    for (const panel of [a, b]) await expectUnbroken(panel, 100);
    expect([await a.marks("cut").count(), await b.marks("cut").count()]).toEqual([1, 0]);
    const ids = await a.ids();
    const resume = await a.marks("resume").textContent();
    expect(resume).toContain(`Resumed after ${ids[seen - 1]}`);
    expect(resume).toMatch(
      / (\d{2,}) published here meanwhile: \1 received, 0 lost, 0 repeated\.$/,
    );
    // The rows stand around the marks as they came: the next event is right behind the resume.
    const next = a.root.locator("li.mark[data-kind=resume] + li.event .seq");
    expect(await next.textContent()).toBe(`.${seen + 1}`);
  });

  test("a cut connection resumes by itself, from before the first event too", async () => {
    const { a, b, publishButton } = await open();
    await a.button.click();
    await publishButton.click();
    await until(() => received(b), 1);
    expect(await received(a)).toBe(0);
    await until(() => received(a), 1);
    expect(await a.marks("resume").textContent()).toContain("1 received, 0 lost");
  });

  test("R22 connections cut behind the page's back are resumed by the browser, exactly", async () => {
    const { world, proxy, a, b, errors, burstButton } = await open();
    const subscribe = vi.spyOn(world.hub, "subscribe");
    await burstButton.click();
    await until(async () => (await received(b)) >= 5, true);
    // A request that is cut as well fails and ends the burst; hence a second one.
    proxy.cut();
    for (const panel of [a, b]) await until(() => panel.marks("cut").count(), 1);
    await until(() => burstButton.textContent(), "Publish 100");
    await burstButton.click();
    for (const panel of [a, b]) await until(() => panel.marks("resume").count(), 1);
    await until(() => burstButton.textContent(), "Publish 100");
    const published = await received(a);
    expect(published).toBeGreaterThan(100);
    await until(() => received(b), published);
    for (const panel of [a, b]) await expectUnbroken(panel, published);
    const [verdict] = await a.marks("resume").allTextContents();
    const starts = subscribe.mock.calls.map(([{ start }]) => start);
    expect(starts).toHaveLength(2);
    expect(starts.some((start) => verdict?.startsWith(`Resumed after ${start}`))).toBe(true);
    expect(verdict).toMatch(/ (\d+) published here meanwhile: \1 received, 0 lost, 0 repeated\.$/);
    // A cut connection is an error of the network, and the only kind of error there is.
    expect(errors.filter((error) => !error.startsWith("Failed to load resource"))).toEqual([]);
  });

  test("a gap is told loudly, with what cannot be delivered", async () => {
    const rule = { retention: { countMax: 5 } };
    const { world, a, publishButton } = await open();
    await world.hub.declare("default", "demo", rule);
    await publishButton.click();
    await until(() => received(a), 1);
    await a.button.click();
    await until(() => world.hub.subscribersNow, 1);
    const events = Array.from({ length: 20 }, (_, index) => ({ data: `${index}` }));
    await world.hub.publish({ tenant: "default", topic: "demo", events });
    await a.button.click();
    await until(() => received(a), 6);
    expect(await a.marks("gap").textContent()).toMatch(/^Gap: trimmed What lies after .+\.1 up to/);
  });

  test("P12 a drain is told as a notice and acknowledged, and EventSource resumes by itself", async () => {
    const { world, a, b, errors, publishButton } = await open();
    await publishButton.click();
    for (const panel of [a, b]) await until(() => received(panel), 1);
    const leaving = [...world.hub.subscribers()];
    for (const subscriber of leaving) subscriber.goodbye("pool_draining", 50);
    await until(() => leaving.every(({ hasAcked }) => hasAcked), true);
    for (const subscriber of leaving) subscriber.finish();
    for (const panel of [a, b]) await until(() => panel.marks("resume").count(), 1);
    expect(await a.marks("close").textContent()).toMatch(
      /^The gateway shuts down \(pool_draining\)/,
    );
    // It was told, so it is no connection that was lost.
    expect(await a.marks("cut").count()).toBe(0);
    await publishButton.click();
    for (const panel of [a, b]) await until(() => received(panel), 2);
    for (const panel of [a, b]) await expectUnbroken(panel, 2);
    expect(world.hub.metrics.get("sluice_acks_total", "accepted")).toBe(2);
    expect(errors).toEqual([]);
  });

  test("a renewed connection and an ended topic are told, and what has ended is not asked again", async () => {
    const { world, a, publishButton } = await open();
    await publishButton.click();
    await until(() => received(a), 1);
    for (const subscriber of world.hub.subscribers()) subscriber.end("max_age", 50);
    await until(() => a.marks("resume").count(), 1);
    expect(await a.marks("close").textContent()).toContain("max_age");
    await world.hub.end("default", "demo", "deleted");
    await until(() => a.text("state"), "ended");
    expect(await a.marks("end").textContent()).toContain("deleted");
    await until(() => world.hub.subscribersNow, 0);
  });
});
