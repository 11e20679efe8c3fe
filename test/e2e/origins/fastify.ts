// An origin as the documents of @fastify/sse have it. Argument: its port.
import sse from "@fastify/sse";
import type { fastifySSE } from "@fastify/sse";
import fastify from "fastify";
import { newest, tellRequest, ticksBehind } from "./ticks.ts";

let isOver = false;
const app = fastify();
// Its default export is the plugin, which its types do not say of ESM; the named one sees only its own routes.
const plugin: unknown = sse;
await app.register(plugin as typeof fastifySSE);

app.get("/ids", { sse: "only" }, async (_request, reply) => {
  tellRequest("/ids", reply.sse.lastEventId);
  const last = newest();
  await reply.sse.replay(async () => {
    for (let tick = Number(reply.sse.lastEventId) + 1; tick <= last; tick += 1) {
      await reply.sse.send({ id: String(tick), data: tick });
    }
  });
  for await (const tick of ticksBehind(last, () => isOver || !reply.sse.isConnected)) {
    if (!reply.sse.isConnected) return;
    await reply.sse.send({ id: String(tick), data: tick });
  }
});

app.get("/no-ids", { sse: "only" }, async (_request, reply) => {
  tellRequest("/no-ids", reply.sse.lastEventId);
  async function* events(): AsyncGenerator<{ data: number }> {
    for await (const tick of ticksBehind(newest(), () => isOver || !reply.sse.isConnected)) {
      yield { data: tick };
    }
  }
  await reply.sse.send(events());
});

const url = await app.listen({ port: Number(process.argv[2]), host: "127.0.0.1" });
console.log(`port ${new URL(url).port}`);
process.once("SIGTERM", () => {
  isOver = true;
  void app.close().then(() => process.exit(0));
});
