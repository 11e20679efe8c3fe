import { controlBatch } from "../core/batch.ts";
import type { Batch } from "../core/batch.ts";
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
