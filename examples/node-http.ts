// Event streams on a plain node:http server, beside routes of your own.
//
//     node examples/node-http.ts
//     curl -N http://127.0.0.1:3000/v1/topics/clock
//     curl -d "hello" http://127.0.0.1:3000/v1/topics/clock
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createGateway, createHub } from "sluice";

const hub = createHub();
const gateway = createGateway(hub);

const server = createServer((request, response) => {
  if (request.url === "/") response.end("Streams are under /v1/topics/\n");
  else gateway.handler(request, response);
});

// Whoever subscribes later starts with the newest event, or where its Last-Event-ID says.
const clock = setInterval(() => {
  void hub.publish("clock", { event: "tick", data: new Date().toISOString() });
}, 1_000);

server.listen(Number(process.env["PORT"] ?? 3000), "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  console.log(`listening on http://127.0.0.1:${port}`);
});

process.once("SIGTERM", () => {
  clearInterval(clock);
  // Tells every reader to come back, and waits until all have gone; publishes are answered meanwhile.
  void gateway.drain().then(() => {
    server.close();
    return hub.close();
  });
});
