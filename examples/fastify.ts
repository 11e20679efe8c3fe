// Event streams in a Fastify 5 application.
//
//     node examples/fastify.ts
//     curl -N http://127.0.0.1:3000/v1/topics/orders
//     curl -H "Content-Type: application/json" -d '{"item":"tea"}' http://127.0.0.1:3000/orders
import fastify from "fastify";
import { createGateway, createHub } from "sluice";

const hub = createHub();
const gateway = createGateway(hub);
const app = fastify();

// A scope of its own, whose parsers leave the body alone: Sluice reads it.
await app.register(async (scope) => {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser("*", (_request, _body, done) => done(null));
  scope.all("/v1/*", (request, reply) => {
    reply.hijack();
    gateway.handler(request.raw, reply.raw);
  });
});

app.post("/orders", async (request, reply) => {
  const order = { id: crypto.randomUUID(), ...(request.body as object) };
  const { id } = await hub.publish("orders", { event: "created", data: JSON.stringify(order) });
  return reply.code(201).send({ order, eventId: id });
});

const url = await app.listen({ port: Number(process.env["PORT"] ?? 3000), host: "127.0.0.1" });
console.log(`listening on ${url}`);

process.once("SIGTERM", () => {
  // Tells every reader to come back, and waits until all have gone; publishes are answered meanwhile.
  void gateway.drain().then(async () => {
    await app.close();
    await hub.close();
  });
});
