// A generator becomes a topic that outlives its readers: an answer that is generated once, token by
// token, and read by anybody, at any time, from any place in it, also after it is finished.
//
//     node examples/token-stream.ts
//     curl -d "What is a sluice?" http://127.0.0.1:3000/ask
//     curl -N "http://127.0.0.1:3000/v1/topics/answers/1?last_event_id=earliest"
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { createGateway, createHub } from "sluice";

const hub = createHub();
const gateway = createGateway(hub);
let answers = 0;

/** In place of a model. */
async function* generate(question: string): AsyncGenerator<{ event: string; data: string }> {
  const answer = `You asked: ${question} A sluice lets through what it should, and loses nothing.`;
  for (const token of answer.split(" ")) {
    await delay(20);
    yield { event: "token", data: token };
  }
}

const server = createServer((request, response) => {
  if (request.method === "POST" && request.url === "/ask") void answer(request, response);
  else gateway.handler(request, response);
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const question = await text(request);
  const topic = `answers/${(answers += 1)}`;
  // Not awaited: the answer goes on whether its readers stay or leave. It ends the topic, with
  // `done` or with `error`, and readers are told.
  hub.topic(topic).pipe(generate(question)).catch(console.error);
  const stream = `/v1/topics/${topic}?last_event_id=earliest`;
  response.writeHead(202, { Location: stream }).end(`${stream}\n`);
}

server.listen(Number(process.env["PORT"] ?? 3000), "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  console.log(`listening on http://127.0.0.1:${port}`);
});

process.once("SIGTERM", () => {
  // Tells every reader to come back, and waits until all have gone; publishes are answered meanwhile.
  void gateway.drain().then(() => {
    server.close();
    return hub.close();
  });
});
