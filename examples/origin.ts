// An application as you have it: event streams without ids, without a log, nothing of Sluice. Behind
// Sluice its streams are shared and resumed, and the answer of its POST is a run.
//
//     node examples/origin.ts
//     sluice serve --upstream http://127.0.0.1:3000
//     sh examples/runs.sh
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";

const server = createServer((request, response) => {
  if (request.method === "GET" && request.url === "/count") {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    let count = 0;
    const timer = setInterval(() => response.write(`data: ${(count += 1)}\n\n`), 200);
    response.on("close", () => clearInterval(timer));
  } else if (request.method === "POST" && request.url === "/api/chat") {
    const answer = async (): Promise<void> => {
      const question = await text(request);
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      // In place of a model.
      for (const token of `You asked: ${question} Ask again.`.split(" ")) {
        // Whoever pays for tokens stops when nobody wants them any more.
        if (response.destroyed) return;
        response.write(`data: ${JSON.stringify({ token })}\n\n`);
        await delay(50);
      }
      response.end("data: [DONE]\n\n");
    };
    answer().catch(console.error);
  } else {
    response.writeHead(200, { "Content-Type": "text/plain" }).end("the application\n");
  }
});

server.listen(Number(process.env["PORT"] ?? 3000), "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  console.log(`listening on http://127.0.0.1:${port}`);
});

process.once("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
});
