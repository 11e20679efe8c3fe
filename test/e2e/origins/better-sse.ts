// An origin as the documents of better-sse have it. Argument: its port.
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createSession } from "better-sse";
import { newest, tellRequest, ticksBehind } from "./ticks.ts";

let isOver = false;

const server = createServer((request, response) => void serve(request, response));

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = request.url ?? "";
  // Without an id of one's own each event gets a random one, which says nothing to anybody.
  const hasOwnIds = path !== "/random-ids";
  const session = await createSession(request, response);
  tellRequest(path, session.lastId);
  const last = session.lastId === "" || !hasOwnIds ? newest() : Number(session.lastId);
  for await (const tick of ticksBehind(last, () => isOver || !session.isConnected)) {
    if (!session.isConnected) return;
    session.push(tick, "message", hasOwnIds ? String(tick) : undefined);
  }
  // Nothing more is asked on a connection of a server that stops.
  response.end(() => server.closeIdleConnections());
}

server.listen(Number(process.argv[2]), "127.0.0.1", () => {
  const address = server.address();
  console.log(`port ${typeof address === "object" ? address?.port : ""}`);
});
process.once("SIGTERM", () => {
  isOver = true;
  server.close(() => process.exit(0));
});
