// Event streams in an Express 5 application.
//
//     node examples/express.ts
//     curl -N http://127.0.0.1:3000/v1/topics/orders
//     curl -H "Content-Type: application/json" -d '{"item":"tea"}' http://127.0.0.1:3000/orders
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import express from "express";
import { createGateway, createHub } from "sluice";

const hub = createHub();
const gateway = createGateway(hub);
const app = express();

// Ahead of body parsers: Sluice reads the bodies of its own requests. Other paths pass through.
app.use(gateway.handler);
app.use(express.json());

// oxlint-disable-next-line oxc/no-async-endpoint-handlers -- Express 5 awaits handlers
app.post("/orders", async (request, response) => {
  const order = { id: crypto.randomUUID(), ...(request.body as object) };
  const { id } = await hub.publish("orders", { event: "created", data: JSON.stringify(order) });
  response.status(201).json({ order, eventId: id });
});

const server = createServer(app);
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
