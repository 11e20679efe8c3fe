// better-sse as its documentation shows it: a session per request, one channel, broadcast. The
// serializer is the identity, which spares it a JSON.stringify per subscriber that raw text does
// not need. Publishing is the same HTTP as Sluice's, so the same publisher drives both.
import { createServer } from "node:http";
import { createChannel, createSession } from "better-sse";
import { sayListening, serveCommands } from "./support/ticker.mjs";

const channel = createChannel();
let published = 0;

const broadcast = (text, number) =>
  channel.broadcast(text, "message", { eventId: `0123456789abcdef.${number}` });

function publish(req, res) {
  let body = "";
  req.setEncoding("utf8");
  req.on("data", (part) => (body += part));
  req.on("end", () => {
    const isBatch = req.headers["content-type"] === "application/x-ndjson";
    const texts = isBatch
      ? body
          .split("\n")
          .filter(Boolean)
          .map((line) => JSON.parse(line))
      : [body];
    for (const text of texts) broadcast(text, published++);
    const answer = JSON.stringify({ count: texts.length });
    res.writeHead(201, { "Content-Type": "application/json", "Content-Length": answer.length });
    res.end(answer);
  });
}

const server = createServer((req, res) => {
  if (req.method === "POST") return publish(req, res);
  createSession(req, res, { serializer: String }).then(
    (session) => channel.register(session),
    () => res.destroy(),
  );
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => sayListening(server));

await serveCommands(broadcast);
process.exit(0);
