// A model provider that is told when to say its next token, and counts who asks it.
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

export const TOKENS = Array.from(
  { length: 40 },
  (_each, index) =>
    `${["Über", "déjà", "😀", "line\nbreak", "«x»", "data: no"][index % 6]} ${index}; `,
);
export const ANSWER = TOKENS.join("");

export interface ModelServer {
  readonly url: string;
  /** Answers that were begun. */
  readonly calls: number;
  /** Of those, how many clients have left before the end. */
  readonly aborts: number;
  /** Lets every answer say so many more tokens. */
  release(count: number): void;
  /** Cuts all answers that are under way. */
  cut(): void;
}

type Say = (response: ServerResponse, index: number) => void;

/** `POST /api/chat` speaks the UI message stream of the AI SDK, `POST /v1/chat/completions` that of OpenAI. */
export async function startModelServer(
  files: Readonly<Record<string, string>>,
): Promise<ModelServer> {
  let calls = 0;
  let aborts = 0;
  let released = 0;
  let wake = Promise.withResolvers<void>();
  const open = new Set<ServerResponse>();

  const go = (): void => {
    wake.resolve();
    wake = Promise.withResolvers();
  };
  const until = async (isTrue: () => boolean): Promise<void> => {
    while (!isTrue()) await wake.promise;
  };

  const answer = async (
    request: IncomingMessage,
    response: ServerResponse,
    dialect: { head: Record<string, string>; begin: string[]; say: Say; end: string[] },
  ): Promise<void> => {
    for await (const _chunk of request);
    calls += 1;
    open.add(response);
    response.on("close", () => {
      open.delete(response);
      if (!response.writableFinished) aborts += 1;
      go();
    });
    response.writeHead(200, { "content-type": "text/event-stream", ...dialect.head });
    for (const text of dialect.begin) response.write(text);
    for (let index = 0; index < TOKENS.length; index += 1) {
      await until(() => released > index || response.destroyed);
      if (response.destroyed) return;
      dialect.say(response, index);
    }
    for (const text of dialect.end) response.write(text);
    response.end();
  };

  const server = createServer((request, response) => {
    const path = request.url ?? "/";
    if (path === "/api/chat") void answer(request, response, UI_MESSAGES);
    else if (path === "/v1/chat/completions") void answer(request, response, COMPLETIONS);
    else if (files[path] === undefined) response.writeHead(404).end();
    else {
      const type = path.endsWith(".js") ? "text/javascript" : "text/html";
      response.writeHead(200, { "content-type": `${type}; charset=utf-8` }).end(files[path]);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get calls() {
      return calls;
    },
    get aborts() {
      return aborts;
    },
    release(count) {
      released += count;
      go();
    },
    cut() {
      for (const response of open) response.socket?.resetAndDestroy();
    },
  };
}

const json = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`;
const DONE = "data: [DONE]\n\n";

const UI_MESSAGES = {
  head: { "x-vercel-ai-ui-message-stream": "v1" },
  begin: [json({ type: "start", messageId: "m1" }), json({ type: "text-start", id: "t" })],
  say: (response: ServerResponse, index: number) =>
    void response.write(json({ type: "text-delta", id: "t", delta: TOKENS[index] })),
  end: [json({ type: "text-end", id: "t" }), json({ type: "finish" }), DONE],
};

function completion(choice: object): string {
  return json({
    id: "c1",
    object: "chat.completion.chunk",
    created: 1,
    model: "m",
    choices: [{ index: 0, finish_reason: null, ...choice }],
  });
}

const COMPLETIONS = {
  head: {},
  begin: [completion({ delta: { role: "assistant", content: "" } })],
  say: (response: ServerResponse, index: number) =>
    void response.write(completion({ delta: { content: TOKENS[index] } })),
  end: [completion({ delta: {}, finish_reason: "stop" }), DONE],
};
