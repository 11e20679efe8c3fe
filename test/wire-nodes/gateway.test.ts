// What the built package puts on the wire on each Node that it runs on.
import { afterAll, beforeAll, expect, test } from "vitest";
import { ensureBuilt } from "../support/built.ts";
import { describeWith, nodeBinary } from "../support/programs.ts";
import { openRaw, RawStream } from "../support/raw-stream.ts";
import { ResponseReader } from "../support/response-reader.ts";
import { freshTopic, numbered, Stand } from "./support.ts";

const LAST_CHUNK = "\r\n0\r\n\r\n";

for (const major of [22, 24, 26]) {
  describeWith({ node: nodeBinary(major) }, `the gateway on Node ${major}`, ({ node }) => {
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

    test("runs on that Node", async () => {
      expect((await stand.hub()).version).toMatch(new RegExp(`^${major}\\.`));
    });

    test("head, retry: and primer leave in one first segment", async () => {
      const stream = openRaw({ port: stand.port, path: `/v1/topics/${freshTopic()}` });
      await stream.until(() => stream.segments.length > 0, "the first segment");
      expect(stream.segments[0]?.toString()).toMatch(
        /^HTTP\/1\.1 200 OK\r\n(.+\r\n)+\r\n[0-9a-f]+\r\nretry: \d+\n\nid: [\w.~-]+\n\n\r\n$/,
      );
      expect([stream.retries.length, stream.places.length]).toEqual([1, 1]);
    });

    test("each chunk ends in a blank line: live, replay, many topics, heartbeats", async () => {
      const topic = freshTopic();
      const path = `/v1/topics/${topic}?last_event_id=earliest`;
      const live = openRaw({ port: stand.port, path });
      const many = openRaw({
        port: stand.port,
        path: `/v1/events?topic=${topic}&topic=${topic}/*&last_event_id=earliest`,
      });
      await live.until(() => live.places.length === 1, "the primer");
      const events = [...numbered(1, 300), ...numbered(301, 320, 40_000), "two\nlines\n", ""];
      for (let from = 0; from < events.length; from += 7) {
        await stand.publish(topic, ...events.slice(from, from + 7));
      }
      const replay = openRaw({ port: stand.port, path });
      for (const stream of [live, many, replay]) {
        await stream.until(() => stream.events.length === events.length, "all events");
        await stream.until(() => stream.body.includes(": heartbeat\n\n"), "a heartbeat");
        const data =
          stream === many ? stream.data.map((text) => JSON.parse(text).data) : stream.data;
        expect(data).toEqual(events);
        expect(stream.reader.tornChunks).toBe(0);
        expect(stream.reader.chunks).toBeGreaterThan(1);
      }
    });

    test("nothing precedes the status line when events come in the turn of the request", async () => {
      for (let round = 0; round < 20; round += 1) {
        const topic = freshTopic();
        const stream = openRaw({
          port: stand.besidePort,
          path: `/v1/topics/${topic}?last_event_id=earliest`,
          headers: { "X-Publishes": topic },
        });
        await stream.until(() => stream.events.length === 5, "five events");
        expect(stream.segments[0]?.subarray(0, 17).toString()).toBe("HTTP/1.1 200 OK\r\n");
        expect(stream.data.toSorted()).toEqual(["1", "2", "3", "4", "5"]);
        expect(stream.reader.tornChunks).toBe(0);
        stream.socket.destroy();
      }
    });

    test("a stream that was pipelined behind a slow request waits for its turn", async () => {
      const topic = freshTopic();
      const isSlow = stand.event("slow");
      const stream = openRaw({ port: stand.besidePort, path: "/slow" });
      stream.send({ path: `/v1/topics/${topic}?last_event_id=earliest` });
      await isSlow;
      await stand.publish(topic, "1", "2");
      expect([stream.segments.length, (await stand.hub()).subscribersNow >= 0]).toEqual([0, true]);
      await stand.ask("slow");
      await stream.until(() => stream.reader.isFinished, "the slow answer");
      await stand.publish(topic, "3");
      const behind = (): string => stream.reader.rest.toString();
      await stream.until(() => behind().includes("data: 3\n"), "the stream behind it");
      expect(stream.segments[0]?.subarray(0, 17).toString()).toBe("HTTP/1.1 200 OK\r\n");
      expect(stream.body).toBe("slow");
      let body = "";
      const second = new ResponseReader({ onBody: (bytes) => void (body += bytes.toString()) });
      second.push(stream.reader.rest);
      expect([second.status, second.tornChunks]).toEqual([200, 0]);
      expect(body.match(/^data: .*$/gm)).toEqual(["data: 1", "data: 2", "data: 3"]);
    });

    test("a request behind a stream is never answered into it (F22)", async () => {
      const topic = freshTopic();
      const path = `/v1/topics/${topic}?last_event_id=earliest`;
      const stream = openRaw({ port: stand.port, path });
      await stream.until(() => stream.places.length === 1, "the primer");
      stream.send({ path });
      await stream.closed();
      expect(stream.reader.rest.toString()).toBe("");
      expect(stream.body.match(/^retry:/gm)).toHaveLength(1);
    });

    test("the end of a topic is a last chunk and the end of the connection", async () => {
      const topic = freshTopic();
      const stream = openRaw({ port: stand.port, path: `/v1/topics/${topic}` });
      await stream.until(() => stream.places.length === 1, "the primer");
      await stand.publish(topic, "1");
      await stand.ask("end", { topic });
      await stream.closed();
      expect(stream.events.map(({ event }) => event)).toEqual(["message", "end"]);
      expect(Buffer.concat(stream.segments).toString()).toMatch(/\n\n\r\n0\r\n\r\n$/);
      expect([stream.reader.isFinished, stream.error]).toEqual([true, undefined]);
    });

    test("HTTP/1.0 gets no chunks, and the body ends with the connection", async () => {
      const topic = freshTopic();
      const stream = openRaw({ port: stand.port, path: `/v1/topics/${topic}`, version: "1.0" });
      await stream.until(() => stream.places.length === 1, "the primer");
      await stand.publish(topic, ...numbered(1, 50));
      await stand.ask("end", { topic });
      await stream.closed();
      expect(stream.reader.headers.has("transfer-encoding")).toBe(false);
      expect(stream.reader.headers.get("connection")).toBe("close");
      expect(stream.data.slice(0, 50)).toEqual(numbered(1, 50));
      expect(stream.body).toMatch(/^retry: \d+\n\nid: .+\n\ndata: 1 \n/);
      expect(stream.body).toMatch(/\nid: .+\n\n$/);
      expect([stream.hasEnded, stream.error]).toEqual([true, undefined]);
    });

    test("readers that pause and resume get each event once, whole, in order (law 11)", async () => {
      const topic = freshTopic();
      const before = (await stand.hub()).lagged;
      const path = `/v1/topics/${topic}?last_event_id=earliest`;
      const streams = Array.from({ length: 3 }, () => openRaw({ port: stand.port, path }));
      for (const stream of streams)
        await stream.until(() => stream.places.length === 1, "the primer");
      const events = numbered(1, 700, 50_000);
      for (const stream of streams) stream.socket.pause();
      for (let from = 0; from < events.length; from += 20) {
        await stand.publish(topic, ...events.slice(from, from + 20));
        // None reads until all lag; then each now and then, out of step with the others.
        if (from < 400) continue;
        for (const [index, stream] of streams.entries()) {
          if ((from / 20 + index) % 3 === 0) stream.socket.resume();
          else stream.socket.pause();
        }
      }
      for (const stream of streams) {
        stream.socket.resume();
        await stream.until(() => stream.events.length >= events.length, "all events");
        expect(stream.data).toEqual(events);
        expect(stream.reader.tornChunks).toBe(0);
        stream.socket.destroy();
      }
      expect((await stand.hub()).lagged).toBeGreaterThan(before);
    });

    test("resets at any moment neither end the process nor leave a subscriber", async () => {
      const topic = freshTopic();
      const path = `/v1/topics/${topic}`;
      for (let round = 0; round < 10; round += 1) {
        const streams = Array.from({ length: 10 }, () => new RawStream(stand.port).send({ path }));
        await Promise.all(
          streams.map(async (stream, index) => {
            if (index % 3 !== 0) await stream.until(() => stream.places.length === 1, "the primer");
            if (index % 3 === 1) stream.socket.pause();
          }),
        );
        const publishing = stand.publish(topic, ...numbered(1, 20, 20_000));
        for (const stream of streams) stream.socket.resetAndDestroy();
        await publishing;
      }
      await stand.until(
        () => stand.hub(),
        ({ subscribersNow }) => subscribersNow === 0,
      );
      expect((await stand.hub()).mishaps).toEqual([]);
    });

    test("closing the server tells why and finishes every response", async () => {
      const topic = freshTopic();
      const stream = openRaw({ port: stand.port, path: `/v1/topics/${topic}` });
      const old = openRaw({ port: stand.port, path: `/v1/topics/${topic}`, version: "1.0" });
      for (const each of [stream, old])
        await each.until(() => each.places.length === 1, "the primer");
      await stand.publish(topic, "1");
      await stand.ask("close");
      for (const each of [stream, old]) {
        await each.closed();
        expect(each.body).toMatch(/\nretry: \d+\n\nevent: close\ndata: pool_draining\n\n$/);
        expect([each.retries.length, each.hasEnded, each.error]).toEqual([2, true, undefined]);
      }
      expect(Buffer.concat(stream.segments).toString()).toContain(LAST_CHUNK);
      expect(stream.reader.isFinished).toBe(true);
    });
  });
}
