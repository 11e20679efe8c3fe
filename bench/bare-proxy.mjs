// A proxy in ten lines of Node: requests of HTTP/1.1 go to the origin on HTTP/2, its responses are piped back.
// It keeps nothing and resumes nothing: what the way through Node alone costs. The origin's port is an argument.
import { createServer } from "node:http";
import { connect } from "node:http2";
import { sayListening, serveCommands } from "./support/ticker.mjs";

const origin = `http://127.0.0.1:${process.argv[2]}`;
/** As many streams on each as Sluice has. */
const STREAMS_MAX = 64;
const sessions = [];

function sessionWithRoom() {
  const known = sessions.find((each) => each.streams < STREAMS_MAX);
  if (known !== undefined) return known;
  const made = { session: connect(origin), streams: 0 };
  made.session.on("error", () => {});
  sessions.push(made);
  return made;
}

const server = createServer({ noDelay: true }, (request, response) => {
  request.resume();
  const used = sessionWithRoom();
  used.streams += 1;
  const stream = used.session.request({ ":method": request.method, ":path": request.url });
  stream.on("response", (head) => {
    response.writeHead(head[":status"], { "Content-Type": head["content-type"] });
  });
  stream.on("error", () => response.destroy());
  stream.on("close", () => (used.streams -= 1));
  response.on("close", () => stream.close());
  stream.pipe(response);
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => sayListening(server));

await serveCommands(() => {});
process.exit(0);
