// The floor for Node: a bare net server that writes one shared, pre-framed Buffer to each socket.
// No HTTP parser, no log, no backpressure: what is left is libuv and the kernel.
import { createServer } from "node:net";
import { sayListening, serveCommands } from "./support/ticker.mjs";

const HEAD = Buffer.from(
  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n" +
    "Transfer-Encoding: chunked\r\n\r\n",
);
const sockets = new Set();

const server = createServer({ noDelay: true }, (socket) => {
  socket.once("data", () => {
    socket.write(HEAD);
    sockets.add(socket);
  });
  socket.on("close", () => sockets.delete(socket));
  socket.on("error", () => socket.destroy());
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => sayListening(server));

await serveCommands((text, number) => {
  const frame = `id: 0123456789abcdef.${number}\ndata: ${text}\n\n`;
  const chunk = Buffer.from(`${frame.length.toString(16)}\r\n${frame}\r\n`);
  for (const socket of sockets) socket.write(chunk);
});
process.exit(0);
