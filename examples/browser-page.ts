// A page that reads a topic with the browser's own EventSource, which resumes by itself, and
// publishes to it with fetch.
//
//     node examples/browser-page.ts, then open http://127.0.0.1:3000 in two windows
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createGateway, createHub } from "sluice";

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>Chat</title>
<form><input name="text" placeholder="Say something" autofocus required> <button>Send</button></form>
<ol></ol>
<script type="module">
  const list = document.querySelector("ol");
  const say = (text) => list.append(Object.assign(document.createElement("li"), { textContent: text }));
  // From the beginning of what is kept; after a cut EventSource sends Last-Event-ID, which wins.
  const source = new EventSource("/v1/topics/chat?last_event_id=earliest");
  source.addEventListener("message", ({ data }) => say(data));
  // Never silent: what could not be delivered is told.
  source.addEventListener("gap", ({ data }) => say("(lost: " + JSON.parse(data).reason + ")"));
  document.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const body = event.target.elements.text.value;
    event.target.reset();
    // The key makes a retry safe: the event is appended once.
    fetch("/v1/topics/chat", { method: "POST", body, headers: { "Idempotency-Key": crypto.randomUUID() } });
  });
</script>
`;

const hub = createHub({ topics: [{ match: "chat", retention: { countMax: 100 } }] });
const gateway = createGateway(hub);

const server = createServer((request, response) => {
  if (request.url !== "/") return gateway.handler(request, response);
  response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" }).end(PAGE);
});

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
