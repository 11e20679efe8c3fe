// Serves the built package on the Node that runs this, as told over IPC: a whole gateway on one port;
// on another the gateway's handler beside a slow route, and the bare transport with an owner that counts.
import { createServer } from "node:http";
import { Socket } from "node:net";

const dist = new URL("../../dist/", import.meta.url);
const { createGateway, createHub } = await import(new URL("index.js", dist).href);
const { startServer } = await import(new URL("gateway/server.js", dist).href);
const { readTlsIdentity } = await import(new URL("gateway/tls.js", dist).href);
const { openSseHttp1 } = await import(new URL("transports/sse-http1.js", dist).href);
const { controlBatch } = await import(new URL("core/batch.js", dist).href);
const { encodeEvent } = await import(new URL("wire/frame.js", dist).href);

const MIB = 1024 * 1024;
const mishaps = [];
process.on("uncaughtException", (error) => mishaps.push(String(error.stack)));
process.on("unhandledRejection", (error) => mishaps.push(String(error)));

const undelayed = new WeakSet();
const setNoDelay = Reflect.get(Socket.prototype, "setNoDelay");
Socket.prototype.setNoDelay = function (isOn = true) {
  if (isOn) undelayed.add(this);
  return setNoDelay.call(this, isOn);
};

const hub = createHub({
  memoryBytesMax: 256 * MIB,
  topics: [{ match: "**", retention: { countMax: 100_000, bytesMax: 128 * MIB } }],
  heartbeat: { heartbeatMs: 1_000 },
});
const options = {
  host: "127.0.0.1",
  port: 0,
  adminHost: "127.0.0.1",
  adminPort: 0,
  gateway: { retryMs: 50 },
};
const server = await startServer(hub.core, options);

let slowResponse;
/** The connection that was opened last at /transport, and what its owner was told. */
let bare;
const gateway = createGateway(hub);
const beside = createServer((request, response) => {
  if (request.url === "/slow") {
    slowResponse = response;
    process.send({ event: "slow" });
  } else if (request.url === "/transport") {
    bare = { drained: 0, closed: [], writtenBytes: 0, socket: response.socket };
    const mine = bare;
    const owner = {
      onDrained: () => void (mine.drained += 1),
      onClosed: (reason) => void mine.closed.push(reason),
    };
    bare.connection = openSseHttp1(request, response, owner, { id: "transport" });
    write("prelude");
    process.send({ event: "open" });
  } else {
    gateway.handler(request, response);
    // In the turn of the request, behind its microtasks, and in turns after it.
    const topic = request.headers["x-publishes"];
    if (topic !== undefined) publishAround(topic);
  }
});
await new Promise((resolve) => beside.listen(0, "127.0.0.1", resolve));

function publishAround(topic) {
  void hub.publish(topic, "1");
  queueMicrotask(() => hub.publish(topic, "2"));
  process.nextTick(() => hub.publish(topic, "3"));
  void Promise.resolve().then(() => Promise.resolve().then(() => hub.publish(topic, "4")));
  setImmediate(() => hub.publish(topic, "5"));
}

function write(data) {
  const batch = controlBatch(encodeEvent({ data }));
  bare.writtenBytes += batch.frames.length;
  bare.connection.write(batch);
}

/** Writes until bytes stay behind, at most 64 MiB; the client has stopped reading. */
async function fill() {
  const piece = "x".repeat(256 * 1024);
  let count = 0;
  for (; count < 256; count += 1) {
    write(piece);
    await new Promise((resolve) => setImmediate(resolve));
    if (bare.connection.pendingBytes > 0 && count >= 8) break;
  }
  return count + 1;
}

const state = () => ({
  drained: bare.drained,
  closed: bare.closed,
  writtenBytes: bare.writtenBytes,
  pendingBytes: bare.connection.pendingBytes,
  isUndelayed: undelayed.has(bare.socket),
});

const OPERATIONS = {
  /** All in one turn, so that they leave in one batch. */
  publish: async ({ topic, data }) =>
    (await Promise.all(data.map((each) => hub.publish(topic, each)))).map(({ id }) => id),
  end: ({ topic }) => hub.topic(topic).end("done"),
  slow: () => {
    slowResponse.end("slow");
  },
  close: () => server.close(),
  /** The same hub over HTTPS; returns the port. */
  tls: async (files) => {
    const { url } = await startServer(hub.core, { ...options, tls: readTlsIdentity(files) });
    return Number(new URL(url).port);
  },
  hub: () => ({
    mishaps,
    subscribersNow: hub.core.subscribersNow,
    lagged: hub.core.metrics.plain.sluice_lagged_total,
    version: process.versions.node,
  }),
  write: ({ data }) => {
    for (const each of data) write(each);
    return state();
  },
  fill: async () => ({ count: await fill(), ...state() }),
  wake: () => bare.connection.wakeWhenDrained(),
  finish: ({ data }) => bare.connection.end("pool_draining", controlBatch(encodeEvent({ data }))),
  abort: () => bare.connection.abort("slow_consumer"),
  state,
};

async function answer({ id, op, ...args }) {
  try {
    process.send({ id, value: await OPERATIONS[op](args) });
  } catch (error) {
    process.send({ id, error: String(error.stack) });
  }
}

process.on("message", (message) => void answer(message));
process.on("disconnect", () => process.exit());
process.send({
  event: "listening",
  port: Number(new URL(server.url).port),
  besidePort: beside.address().port,
});
