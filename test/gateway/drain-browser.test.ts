import { chromium } from "playwright-core";
import { expect, onTestFinished, test, vi } from "vitest";
import { createMemoryBroker } from "../../src/brokers/memory.ts";
import type { Broker } from "../../src/core/broker.ts";
import { Hub } from "../../src/core/hub.ts";
import { startServer } from "../../src/gateway/server.ts";
import type { RunningServer } from "../../src/gateway/server.ts";
import { systemRuntime } from "../../src/internal/clock.ts";
import { describeWith, needs } from "../support/programs.ts";
import { eventually, post } from "./support.ts";

const TOPIC = "/v1/topics/a";

/** What the page's script leaves on its window. */
interface Seen {
  readonly data: string[];
  readonly closes: string[];
  readonly opens: number;
}

/** A log that outlives the gateways in front of it, as a broker of its own process would. */
async function instance(log: Broker, port: number): Promise<RunningServer & { hub: Hub }> {
  const hub = new Hub({ broker: { ...log, close: async () => {} }, runtime: systemRuntime() });
  const options = { host: "127.0.0.1", port, adminHost: "127.0.0.1", adminPort: 0 };
  const server = await startServer(hub, { ...options, gateway: { retryMs: 500 } });
  onTestFinished(() => server.close());
  return { ...server, hub };
}

function sharedLog(): Broker {
  const broker = createMemoryBroker();
  onTestFinished(() => broker.close());
  return {
    kind: broker.kind,
    attach: (tenant, tail) => broker.attach(tenant, tail),
    publish: (request) => broker.publish(request),
    read: (request) => broker.read(request),
    end: (tenant, topic, reason) => broker.end(tenant, topic, reason),
    declare: (tenant, topic, settings) => broker.declare(tenant, topic, settings),
    close: () => broker.close(),
  };
}

describeWith({ chromium: needs("chromium") }, "in a browser", ({ chromium: executablePath }) => {
  test("P12 a native EventSource that is told goodbye comes back by itself, with its cursor, to the next instance", async () => {
    const log = sharedLog();
    const old = await instance(log, 0);
    const browser = await chromium.launch({
      executablePath,
      args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    });
    onTestFinished(() => browser.close());
    const page = await browser.newPage();
    await page.goto(`${old.url}/v1/nothing`);
    await page.evaluate(`
      window.seen = { data: [], closes: [], opens: 0 };
      const source = new EventSource("${TOPIC}");
      source.onopen = () => { seen.opens += 1; };
      source.onmessage = ({ data }) => seen.data.push(data);
      source.addEventListener("close", ({ data }) => seen.closes.push(data));
    `);
    const seen = (): Promise<Seen> => page.evaluate("window.seen");
    await eventually(() => old.hub.connectionsNow === 1);
    await post(old, TOPIC, "1");
    const first = await post(old, TOPIC, "2");
    await expect.poll(async () => (await seen()).data, { timeout: 15_000 }).toEqual(["1", "2"]);

    const port = Number(new URL(old.url).port);
    const report = await old.drain({ ackWaitMs: 200 });
    expect(report).toMatchObject({ total: 1, byHow: { ack_timeout: 1 }, isForced: false });
    const next = await instance(log, port);
    const subscribe = vi.spyOn(next.hub, "subscribe");
    // Before it is back: it must be replayed, not just delivered.
    await post(next, TOPIC, "3");
    await eventually(() => next.hub.connectionsNow === 1);
    await post(next, TOPIC, "4");
    await expect
      .poll(seen, { timeout: 15_000 })
      .toEqual({ data: ["1", "2", "3", "4"], closes: ["pool_draining"], opens: 2 });

    expect(subscribe.mock.calls.map(([{ start }]) => start)).toEqual([first.json["id"]]);
    expect(next.hub.metrics.get("sluice_subscriptions_total", "exact")).toBe(1);
    expect(old.hub.metrics.get("sluice_disconnects_total", "pool_draining")).toBe(1);
    expect(old.hub.metrics.get("sluice_evicted_total", "pool_draining")).toBe(0);
  }, 60_000);
});
