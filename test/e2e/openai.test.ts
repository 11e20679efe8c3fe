import OpenAI, { APIError } from "openai";
import { expect, test, vi } from "vitest";
import type { ProxyRoute } from "../../src/gateway/proxy/route.ts";
import { startFront } from "../gateway/proxy/support.ts";
import { startNginx } from "../proxies/support.ts";
import { describeWith, needs } from "../support/programs.ts";
import { ANSWER, startModelServer, TOKENS } from "./model-server.ts";

const programs = { nginx: needs("nginx") };

describeWith(programs, "the openai package through nginx, Sluice and a model server", (paths) => {
  test("streams an answer byte for byte, and says which run it is", async () => {
    const { model, ask } = await world();
    model.release(TOKENS.length);
    const { data, response } = await ask().withResponse();
    expect(response.headers.get("sluice-run")).toMatch(/^[\w-]{22}$/);
    expect(await textOf(data)).toBe(ANSWER);
    expect([model.calls, model.aborts]).toEqual([1, 0]);
  });

  test("an abort by the only reader cancels the upstream call where the route says so, and not elsewhere", async () => {
    for (const [kind, aborts] of [
      ["cancel", 1],
      ["detach", 0],
    ] as const) {
      const { model, ask, front } = await world({ onReadersGone: { kind } });
      model.release(3);
      const { data, response } = await ask().withResponse();
      let text = "";
      for await (const part of data) {
        text += part.choices[0]?.delta.content ?? "";
        if (text === TOKENS.slice(0, 3).join("")) break;
      }
      data.controller.abort();
      await vi.waitFor(() => expect(front.hub.connectionsNow).toBe(0));
      if (aborts === 1) await vi.waitFor(() => expect(model.aborts).toBe(1));
      model.release(TOKENS.length);
      const run = await fetch(`${front.url}/v1/runs/${response.headers.get("sluice-run")}`);
      const rest = await run.text();
      expect(rest.includes("[DONE]")).toBe(aborts === 0);
      expect(rest).toMatch(aborts === 0 ? /: end .*"done"/ : /: end .*"stopped"/);
      expect([model.calls, model.aborts]).toEqual([1, aborts]);
    }
  });

  test("a broken upstream is one typed error, never a silent end", async () => {
    const { model, ask } = await world();
    model.release(3);
    const stream = await ask();
    let text = "";
    const reading = (async () => {
      for await (const part of stream) {
        text += part.choices[0]?.delta.content ?? "";
        if (text === TOKENS.slice(0, 3).join("")) model.cut();
      }
    })();
    const error: unknown = await reading.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(APIError);
    expect((error as APIError).code).toBe("upstream_lost");
    expect(text).toBe(TOKENS.slice(0, 3).join(""));
    expect(model.calls).toBe(1);
  });

  async function world(route: Partial<ProxyRoute> = {}) {
    const model = await startModelServer({});
    const front = await startFront(model, route);
    const proxy = await startNginx(paths.nginx, front);
    const client = new OpenAI({ apiKey: "none", baseURL: `${proxy.url}/v1`, maxRetries: 0 });
    const ask = () =>
      client.chat.completions.create({
        model: "m",
        stream: true,
        messages: [{ role: "user", content: "hello" }],
      });
    return { model, front, ask };
  }
});

async function textOf(
  stream: AsyncIterable<{ choices: { delta: { content?: string | null } }[] }>,
): Promise<string> {
  let text = "";
  for await (const part of stream) text += part.choices[0]?.delta.content ?? "";
  return text;
}
