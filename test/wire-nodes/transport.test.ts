// The promises of the connection port, kept by the built HTTP/1 transport on each Node that it runs on.
import { afterAll, beforeAll, expect, test } from "vitest";
import { ensureBuilt } from "../support/built.ts";
import { describeWith, nodeBinary } from "../support/programs.ts";
import { openRaw } from "../support/raw-stream.ts";
import type { RawStream } from "../support/raw-stream.ts";
import { Stand } from "./support.ts";
import type { TransportState } from "./support.ts";

/** More than kernels hold for two sockets of one connection. */
const KERNEL_BYTES_MAX = 16 * 1024 * 1024;

for (const major of [22, 24, 26]) {
  describeWith({ node: nodeBinary(major) }, `sse-http1 on Node ${major}`, ({ node }) => {
    let stand: Stand;
    beforeAll(async () => {
      await ensureBuilt();
      stand = await Stand.start(node);
    });
    afterAll(async () => {
      const { mishaps } = await stand.hub();
      await stand.stop();
      expect(mishaps).toEqual([]);
    });

    const open = async (): Promise<RawStream> => {
      const isOpen = stand.event("open");
      const stream = openRaw({ port: stand.besidePort, path: "/transport" });
      await isOpen;
      await stream.until(() => stream.events.length === 1, "the prelude");
      return stream;
    };
    const drained = (count: number): Promise<TransportState> =>
      stand.until(
        () => stand.transport(),
        (state) => state.drained >= count,
      );
    const closed = (): Promise<TransportState> =>
      stand.until(
        () => stand.transport(),
        (state) => state.closed.length > 0,
      );

    test("Nagle's algorithm is off", async () => {
      await open();
      expect((await stand.transport()).isUndelayed).toBe(true);
    });

    test("what a paused client has not taken is pending, and gone when it has", async () => {
      const stream = await open();
      stream.socket.pause();
      const { writtenBytes, pendingBytes, count } = await stand.ask<
        TransportState & { count: number }
      >("fill");
      expect(pendingBytes).toBeGreaterThan(0);
      const handedOver = writtenBytes - pendingBytes;
      expect(handedOver).toBeLessThan(KERNEL_BYTES_MAX);
      expect(handedOver).toBeGreaterThanOrEqual(stream.body.length - 4_096);
      await stand.ask("wake");
      expect((await stand.transport()).drained).toBe(0);
      stream.socket.resume();
      await stream.until(() => stream.events.length === count + 1, "all events");
      const state = await drained(1);
      expect([state.pendingBytes, state.drained]).toEqual([0, 1]);
      expect(stream.body.length).toBe(state.writtenBytes);
      expect(stream.reader.tornChunks).toBe(0);
    });

    test("the wake-up comes once for each time it was asked for, below the high-water mark too", async () => {
      const stream = await open();
      await stand.ask("write", { data: ["small"] });
      await stand.ask("wake");
      await drained(1);
      // With nothing pending at all.
      await stand.ask("wake");
      await drained(2);
      await stand.ask("write", { data: ["more", "and more"] });
      await stream.until(() => stream.events.length === 4, "the events");
      expect((await stand.transport()).drained).toBe(2);
    });

    test("who goes while a wake-up is awaited is told as gone, once, and never as drained", async () => {
      const stream = await open();
      stream.socket.pause();
      await stand.ask("fill");
      await stand.ask("wake");
      stream.socket.resetAndDestroy();
      expect(await closed()).toMatchObject({ drained: 0, closed: ["reset"] });
      // Neither of these throws or tells it again.
      await stand.ask("write", { data: ["into the void"] });
      await stand.ask("finish", { data: "bye" });
      await stand.ask("abort");
      expect(await stand.transport()).toMatchObject({ drained: 0, closed: ["reset"] });
    });

    test("a client that closes is told as closed", async () => {
      const stream = await open();
      stream.socket.destroy();
      expect((await closed()).closed).toHaveLength(1);
    });

    test("the end waits for what is pending, and finishes the response", async () => {
      const stream = await open();
      stream.socket.pause();
      const { count } = await stand.ask<{ count: number }>("fill");
      await stand.ask("finish", { data: "bye" });
      expect((await stand.transport()).closed).toEqual([]);
      stream.socket.resume();
      await stream.closed();
      expect([stream.events.length, stream.data.at(-1)]).toEqual([count + 2, "bye"]);
      expect([stream.reader.isFinished, stream.reader.tornChunks]).toEqual([true, 0]);
      expect((await closed()).closed).toEqual(["pool_draining"]);
    });

    test("an abort waits for nothing", async () => {
      const stream = await open();
      stream.socket.pause();
      await stand.ask("fill");
      await stand.ask("abort");
      expect((await closed()).closed).toEqual(["slow_consumer"]);
      stream.socket.resume();
      await stream.closed();
      expect(stream.reader.isFinished).toBe(false);
    });
  });
}
