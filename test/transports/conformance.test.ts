import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { describe, onTestFinished, test } from "vitest";
import { controlBatch } from "../../src/core/batch.ts";
import type { Connection, ConnectionOwner } from "../../src/core/connection.ts";
import { FakeConnection, VirtualRuntime, transportConformance } from "../../src/testing/index.ts";
import type { TransportHarness, TransportPeer } from "../../src/testing/index.ts";
import { IteratorConnection } from "../../src/transports/iterator.ts";
import { openSseHttp1 } from "../../src/transports/sse-http1.ts";
import { encodeComment, encodeEvent } from "../../src/wire/frame.ts";
import { openRaw } from "../support/raw-stream.ts";

const TIME_MS_MAX = 5_000;

async function until(condition: () => boolean): Promise<void> {
  const deadline = AbortSignal.timeout(TIME_MS_MAX);
  // At least one turn, so that what is under way may show itself.
  do {
    deadline.throwIfAborted();
    await turn();
  } while (!condition());
}

/** A connection of the real transport, and a bare socket that reads it. */
async function openPeer(owner: ConnectionOwner, version: "1.0" | "1.1"): Promise<TransportPeer> {
  let connection: Connection | undefined;
  const server = createServer((request, response) => {
    connection = openSseHttp1(request, response, owner, { id: "c" });
    // The head waits for the prelude.
    connection.write(controlBatch(encodeComment("hello")));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => server.closeAllConnections());
  const { port } = server.address() as AddressInfo;
  const client = openRaw({ port, path: "/", version });
  await client.until(() => client.body !== "");
  return {
    connection: connection as unknown as Connection,
    received: () => Buffer.from(client.body, "latin1"),
    // Without chunks the body ends with the connection.
    isFinished: () => (version === "1.1" ? client.reader.isFinished : client.hasEnded),
    block: () => client.socket.pause(),
    release: () => client.socket.resume(),
    cut: () => client.socket.resetAndDestroy(),
    async close() {
      client.socket.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe.each(["1.0", "1.1"] as const)("SSE over HTTP/%s keeps the port's contract:", (version) => {
  const harness: TransportHarness = { open: (owner) => openPeer(owner, version), until };
  test.each(transportConformance(harness))("$name", ({ run }) => run());
});

/** A consumer in this process that takes what there is, unless it is told not to. */
function openIterator(owner: ConnectionOwner): TransportPeer {
  const connection = new IteratorConnection("c", owner);
  const taken: Uint8Array[] = [];
  const gate: { blocked: Promise<void> | undefined; open: () => void } = {
    blocked: undefined,
    open: () => {},
  };
  let isFinished = false;
  const consume = async (): Promise<void> => {
    for (let event = await connection.take(); event; event = await connection.take()) {
      taken.push(encodeEvent({ data: event.data }));
      await gate.blocked;
    }
    isFinished = true;
  };
  void consume();
  return {
    connection,
    received: () => Buffer.concat(taken),
    isFinished: () => isFinished,
    block() {
      gate.blocked = new Promise((resolve) => (gate.open = resolve));
    },
    release() {
      gate.blocked = undefined;
      gate.open();
    },
    cut: () => connection.abort("client_closed"),
    close: async () => connection.abort("client_closed"),
  };
}

describe("the async iterator keeps the port's contract:", () => {
  const harness: TransportHarness = { open: async (owner) => openIterator(owner), until };
  test.each(transportConformance(harness))("$name", ({ run }) => run());
});

describe("the fake connection keeps the port's contract:", () => {
  const harness: TransportHarness = {
    async open(owner) {
      const runtime = new VirtualRuntime();
      const received: Uint8Array[] = [];
      let isFinished = false;
      const end = new AbortController();
      const connection = new FakeConnection({
        id: "c",
        owner,
        runtime,
        onBytes: (bytes) => received.push(bytes),
        onEnd: () => (isFinished = true),
      });
      const run = async (): Promise<void> => {
        while (!end.signal.aborted) await runtime.runTurn();
      };
      void run();
      return {
        connection,
        received: () => Buffer.concat(received),
        isFinished: () => isFinished,
        block: () => connection.block(),
        release: () => connection.release(),
        cut: () => connection.cut(),
        async close() {
          end.abort();
          connection.cut();
        },
      };
    },
    until,
  };
  test.each(transportConformance(harness))("$name", ({ run }) => run());
});
