import { Batch, controlBatch } from "../core/batch.ts";
import type { Connection, ConnectionOwner } from "../core/connection.ts";
import type { DisconnectReason } from "../core/disconnect.ts";
import { encodeEvent } from "../wire/frame.ts";
import { createScanner } from "../wire/scan.ts";
import { expect, expectEqual } from "./conformance-case.ts";
import type { ConformanceCase } from "./conformance-case.ts";

/** The client's end of a connection under test. */
export interface TransportPeer {
  readonly connection: Connection;
  /** The bytes of the stream that reached the client so far, without the transport's own framing. */
  received(): Uint8Array;
  /** The response was finished as its protocol finishes one, not torn. */
  isFinished(): boolean;
  /** The client stops reading. */
  block(): void;
  /** The client reads on. */
  release(): void;
  /** The client goes away. */
  cut(): void;
  close(): Promise<void>;
}

export interface TransportHarness {
  open(owner: ConnectionOwner): Promise<TransportPeer>;
  /** Resolves when `condition` holds; rejects when it does not for a few seconds. */
  readonly until: (condition: () => boolean) => Promise<void>;
}

/** The promises of `core/connection.ts`, as cases for any test runner. */
export function transportConformance(harness: TransportHarness): ConformanceCase[] {
  return CASES.map(([name, run]) => ({
    name,
    run: async () => {
      const owner = new Owner();
      const peer = await harness.open(owner);
      try {
        await run(peer, owner, harness);
      } finally {
        await peer.close();
      }
    },
  }));
}

class Owner implements ConnectionOwner {
  drained = 0;
  readonly closed: DisconnectReason[] = [];

  onDrained(): void {
    this.drained += 1;
  }

  onClosed(reason: DisconnectReason): void {
    this.closed.push(reason);
  }
}

const event = (data: string): Batch => controlBatch(encodeEvent({ data }));

/** The same frames as a large batch has them: where they lie in the log. */
function inPieces({ chunk, bytes, count }: Batch): Batch {
  const whole = Buffer.concat(chunk);
  const piece = Math.ceil(whole.length / 3);
  const pieces = [0, 1, 2].map((index) => whole.subarray(index * piece, (index + 1) * piece));
  return new Batch(pieces, whole.indexOf("\n") + 1, bytes, count);
}

function eventsOf(bytes: Uint8Array): string[] {
  const events: string[] = [];
  const bounds = { lineBytesMax: 64 * 1024 * 1024, eventBytesMax: 64 * 1024 * 1024 };
  createScanner({ ...bounds, onEvent: ({ data }) => void events.push(data) }).push(bytes);
  return events;
}

/** More than kernels swallow for a client that does not read, in pieces of one batch. */
function fill(connection: Connection): number {
  let count = 0;
  for (
    const piece = "x".repeat(64 * 1024);
    connection.pendingBytes === 0 || count < 64;
    count += 1
  ) {
    expect(count < 4_096, "pendingBytes counts what a client that does not read has not taken");
    connection.write(event(piece));
  }
  return count;
}

type Run = (peer: TransportPeer, owner: Owner, harness: TransportHarness) => Promise<void>;

const CASES: readonly (readonly [string, Run])[] = [
  [
    "what is written arrives, in order and unchanged",
    async (peer, _owner, { until }) => {
      const data = ["one", "two\nlines", "", "\u{1F600}"];
      for (const text of data) peer.connection.write(event(text));
      await until(() => eventsOf(peer.received()).length === data.length);
      expectEqual(eventsOf(peer.received()), data, "events");
    },
  ],
  [
    "batches of several pieces arrive in order among others, also behind what is pending",
    async (peer, _owner, { until }) => {
      const { connection } = peer;
      const sent: string[] = [];
      const write = (bytes: number): void => {
        const data = `${sent.length} `.padEnd(bytes, "x");
        const batch = event(data);
        connection.write(sent.length % 2 === 0 ? inPieces(batch) : batch);
        sent.push(data);
      };
      for (const bytes of [10, 100, 60_000, 50]) write(bytes);
      await until(() => eventsOf(peer.received()).length === sent.length);
      peer.block();
      // The odd ones are larger than what a transport hands over at once.
      for (let count = 0; connection.pendingBytes === 0 || count < 8; count += 1) {
        expect(count < 512, "pendingBytes counts what a client that does not read has not taken");
        write(count % 2 === 0 ? 100_000 : 300_000);
      }
      write(1);
      peer.release();
      await until(() => eventsOf(peer.received()).length === sent.length);
      expect(
        eventsOf(peer.received()).every((data, index) => data === sent[index]),
        "what arrived is what was written, in order",
      );
      await until(() => connection.pendingBytes === 0);
    },
  ],
  [
    "write tells whether bytes are pending right after it, and what is told pending leaves or counts",
    async (peer, owner, { until }) => {
      const { connection } = peer;
      for (const text of ["one", "two"]) {
        const isPending = connection.write(event(text));
        expectEqual(isPending, connection.pendingBytes > 0, "what write returned");
        await until(() => connection.pendingBytes === 0);
      }
      peer.block();
      fill(connection);
      expectEqual(
        connection.write(event("last")),
        true,
        "what write returned behind pending bytes",
      );
      const before = connection.pendingBytes;
      connection.write(event("more"));
      expect(connection.pendingBytes > before, "pendingBytes counts every write");
      peer.release();
      await until(() => connection.pendingBytes === 0);
      expectEqual(owner.closed.length, 0, "pushback is no disconnect; onClosed");
    },
  ],
  [
    "pushback now and then sends nothing twice and loses nothing (law 11)",
    async (peer, owner, { until }) => {
      const sent: string[] = [];
      for (let round = 0; round < 8; round += 1) {
        peer.block();
        // Until something is refused, and then some more: an owner may have its last word to say.
        for (let after = 0, count = 0; after < 2; count += 1) {
          expect(
            count < 4_096,
            "pendingBytes counts what a client that does not read has not taken",
          );
          const text = `${sent.length} ${"x".repeat(30_000)}`;
          sent.push(text);
          if (peer.connection.write(event(text)) && count > 4) after += 1;
        }
        peer.release();
        await until(() => peer.connection.pendingBytes === 0);
      }
      await until(() => eventsOf(peer.received()).length >= sent.length);
      expectEqual(
        eventsOf(peer.received()).map((data) => data.split(" ")[0]),
        sent.map((data) => data.split(" ")[0]),
        "events",
      );
      expectEqual(owner.closed.length, 0, "onClosed");
    },
  ],
  [
    "onDrained comes once, when nothing is pending any more, and loses nothing",
    async (peer, owner, { until }) => {
      peer.block();
      const count = fill(peer.connection);
      peer.connection.wakeWhenDrained();
      expectEqual(owner.drained, 0, "onDrained while bytes are pending");
      peer.release();
      await until(() => owner.drained > 0);
      expectEqual(peer.connection.pendingBytes, 0, "pendingBytes at onDrained");
      await until(() => eventsOf(peer.received()).length === count);
      expectEqual(owner.drained, 1, "onDrained");
    },
  ],
  [
    "end writes the last frames, finishes the response and closes it once",
    async (peer, owner, { until }) => {
      peer.connection.end("pool_draining", event("bye"));
      await until(() => owner.closed.length > 0 && peer.isFinished());
      expectEqual(eventsOf(peer.received()), ["bye"], "events");
      expectEqual(owner.closed, ["pool_draining"], "onClosed");
    },
  ],
  [
    "what end has written behind pending bytes counts as pending, and leaves before the close",
    async (peer, owner, { until }) => {
      peer.block();
      const count = fill(peer.connection);
      const before = peer.connection.pendingBytes;
      peer.connection.end("max_age", event("bye"));
      expect(peer.connection.pendingBytes > before, "pendingBytes counts the last frames");
      expectEqual(owner.closed.length, 0, "onClosed while bytes are pending");
      peer.release();
      await until(() => owner.closed.length > 0 && peer.isFinished());
      const events = eventsOf(peer.received());
      expectEqual([events.length, events.at(-1)], [count + 1, "bye"], "events");
      expectEqual(owner.closed, ["max_age"], "onClosed");
    },
  ],
  [
    "abort takes it away now, whatever is pending, and tells why once",
    async (peer, owner, { until }) => {
      peer.block();
      fill(peer.connection);
      peer.connection.abort("slow_consumer");
      peer.connection.abort("unacked");
      await until(() => owner.closed.length > 0);
      await until(() => true);
      expectEqual([owner.closed, owner.drained], [["slow_consumer"], 0], "onClosed and onDrained");
    },
  ],
  [
    "a client that goes away is noticed, once, and ends what is asked of it",
    async (peer, owner, { until }) => {
      peer.connection.write(event("one"));
      await until(() => eventsOf(peer.received()).length === 1);
      peer.cut();
      await until(() => owner.closed.length > 0);
      peer.connection.end("hub_closed", event("late"));
      await until(() => true);
      expectEqual([owner.closed.length, owner.drained], [1, 0], "onClosed and onDrained");
    },
  ],
  [
    "a client that goes away while bytes are pending is told as closed, not as drained",
    async (peer, owner, { until }) => {
      peer.block();
      fill(peer.connection);
      peer.connection.wakeWhenDrained();
      peer.cut();
      await until(() => owner.closed.length > 0);
      await until(() => true);
      expectEqual([owner.closed.length, owner.drained], [1, 0], "onClosed and onDrained");
    },
  ],
];
