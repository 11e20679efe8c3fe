// A node:http server that holds event streams open and does `res.write`: what Node's own request
// and response objects cost, between bare-net and a product.
import { createServer } from "node:http";
import { sayListening, serveCommands } from "./support/ticker.mjs";

const responses = new Set();

const server = createServer((req, res) => {
  res.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  res.flushHeaders();
  responses.add(res);
  res.on("close", () => responses.delete(res));
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => sayListening(server));

await serveCommands((text, number) => {
  const frame = Buffer.from(`id: 0123456789abcdef.${number}\ndata: ${text}\n\n`);
  for (const response of responses) response.write(frame);
});
process.exit(0);
