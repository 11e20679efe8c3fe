// A client that is cut off again and again, at bytes that the test chooses: in heads, between events and
// inside of them. What it has got in the end is what one reader gets that is left alone.
import { request } from "node:http";
import { createParser } from "eventsource-parser";
import type { EventSourceMessage } from "eventsource-parser";
import { expect, test, vi } from "vitest";
import { startProxy } from "../client/proxy.ts";
import type { Proxy } from "../client/proxy.ts";
import { ASKS, startCountingOrigin, startFront } from "../gateway/proxy/support.ts";
import { startNginx } from "../proxies/support.ts";
import { describeWith, needs } from "../support/programs.ts";
import { startModelServer, TOKENS } from "./model-server.ts";

/** Of the answer's bytes on the wire, its head included, which has about 400. */
const CUTS = Array.from({ length: 60 }, (_each, index) => 200 + ((index * 97) % 800));
/** What has been got when it is known which run it is. */
const FIRST_CUT = 900;

describeWith({ nginx: needs("nginx") }, "a client that is cut off", ({ nginx }) => {
  test("R03 law 3: in mid-answer resumes its run at exactly the dropped event, wherever the cut falls", async () => {
    const model = await startModelServer({});
    const front = await startFront(model);
    const behind = await startNginx(nginx, front);
    const proxy = await startProxy(behind.url);
    const reader = new CutReader(proxy);
    proxy.cutNextAfter([FIRST_CUT, ...CUTS]);
    model.release(10);
    const head = await reader.leg("POST", "/v1/chat/completions");
    const path = `/v1/runs/${String(head["sluice-run"])}`;
    for (let left = CUTS.length; left > 0; left -= 1) {
      model.release(1);
      await reader.leg("GET", path);
    }
    await reader.leg("GET", path);

    const whole = new CutReader(behind);
    await whole.leg("GET", path);
    expect(reader.events).toEqual(whole.events);
    expect(contents(reader.events)).toBe(TOKENS.join(""));
    expect([model.calls, model.aborts]).toEqual([1, 0]);
    expect([reader.isWhole, front.hub.metrics.get("sluice_runs_total", "done")]).toEqual([true, 1]);
    expectManyCuts(reader);
  });

  test("law 3: of a shared stream resumes at exactly the dropped event, wherever the cut falls", async () => {
    const origin = await startCountingOrigin();
    const front = await startFront(origin);
    const behind = await startNginx(nginx, front, (config) =>
      config.replace("location /v1/ {", "location / {"),
    );
    const proxy = await startProxy(behind.url);
    const reader = new CutReader(proxy);
    proxy.cutNextAfter(CUTS);
    for (let left = CUTS.length; left > 0; left -= 1) {
      const leg = reader.leg("GET", "/s");
      await vi.waitFor(() => expect(origin.open.size).toBe(1));
      // Some of it is there before the reader is back, the rest comes to it live.
      origin.emit(20);
      await leg;
    }
    const count = reader.events.length;
    expect(reader.events.map(({ data }) => data)).toEqual(
      Array.from({ length: count }, (_each, index) => `e${index + 1}`),
    );
    expect(origin.requests).toHaveLength(1);
    expectManyCuts(reader);
  });
});

function expectManyCuts({ tornLegs, emptyLegs }: CutReader): void {
  // Both happened, so the offsets are still of use.
  expect(tornLegs).toBeGreaterThan(10);
  expect(emptyLegs).toBeGreaterThan(3);
}

/** Keeps whole events only, and asks for what follows the last of them. */
class CutReader {
  readonly events: EventSourceMessage[] = [];
  /** Requests that were cut inside of an event, and those that brought none. */
  tornLegs = 0;
  emptyLegs = 0;
  /** The last answer came to its end. */
  isWhole = false;
  readonly #url: string;

  constructor({ url }: Pick<Proxy, "url">) {
    this.#url = url;
  }

  /** One request, until its answer ends or is cut; gives the head, of which nothing may have come. */
  async leg(method: string, path: string): Promise<NodeJS.Dict<string | string[]>> {
    const last = this.events.at(-1)?.id;
    const before = this.events.length;
    let tail = "";
    const parser = createParser({ onEvent: (event) => this.events.push(event) });
    const headers = last === undefined ? ASKS : { ...ASKS, "last-event-id": last };
    const head = await new Promise<NodeJS.Dict<string | string[]>>((resolve) => {
      const asked = request(this.#url + path, { method, headers, agent: false }, (response) => {
        response.setEncoding("utf8");
        response.on("data", (text: string) => {
          tail = (tail + text).slice(-2);
          parser.feed(text);
        });
        response.on("error", () => {});
        response.on("close", () => {
          this.isWhole = response.complete;
          resolve(response.headers);
        });
      });
      asked.on("error", () => resolve({}));
      asked.end();
    });
    if (tail !== "" && tail !== "\n\n") this.tornLegs += 1;
    if (this.events.length === before) this.emptyLegs += 1;
    return head;
  }
}

function contents(events: readonly EventSourceMessage[]): string {
  return events
    .filter(({ data }) => data.startsWith("{"))
    .map(({ data }) => JSON.parse(data) as { choices: { delta: { content?: string } }[] })
    .map(({ choices }) => choices[0]?.delta.content ?? "")
    .join("");
}
