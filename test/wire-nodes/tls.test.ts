// A TLS socket has its own buffers: what is written raw to it, on each Node that the built package runs on.
import { connect } from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import { ensureBuilt } from "../support/built.ts";
import { makeCertificate } from "../support/certificate.ts";
import { describeWith, needs, nodeBinary } from "../support/programs.ts";
import { RawStream } from "../support/raw-stream.ts";
import { freshTopic, numbered, Stand } from "./support.ts";

for (const major of [22, 24, 26]) {
  const programs = { node: nodeBinary(major), openssl: needs("openssl") };
  describeWith(programs, `over TLS on Node ${major}`, ({ node, openssl }) => {
    test("whole frames in order to a fast and a slow reader, and broken handshakes are survived", async () => {
      await ensureBuilt();
      const stand = await Stand.start(node);
      onTestFinished(() => stand.stop());
      const { cert, key } = makeCertificate(openssl);
      const port = await stand.ask<number>("tls", { cert, key });
      const topic = freshTopic();
      const open = (): RawStream => {
        const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
        onTestFinished(() => void socket.destroy());
        return new RawStream(socket).send({ path: `/v1/topics/${topic}` });
      };
      const [fast, slow] = [open(), open()];
      for (const stream of [fast, slow]) await stream.until(() => stream.places.length === 1);
      slow.socket.pause();
      const events = [...numbered(1, 200, 2_000), ...numbered(201, 260, 200_000)];
      for (let at = 0; at < events.length; at += 10) {
        await stand.publish(topic, ...events.slice(at, at + 10));
      }
      await fast.until(() => fast.events.length === events.length, "all events");
      slow.socket.resume();
      await slow.until(() => slow.events.length === events.length, "what was waiting");
      const broken = connect({ port, host: "127.0.0.1", ALPNProtocols: ["h2"] });
      broken.on("error", () => {});
      await new Promise((resolve) => broken.once("close", resolve));
      for (const stream of [fast, slow]) {
        expect(stream.data).toEqual(events);
        expect(stream.reader.tornChunks).toBe(0);
        await stream.until(() => stream.body.includes(": heartbeat\n\n"), "a heartbeat");
      }
      const { mishaps, lagged } = await stand.hub();
      expect(mishaps).toEqual([]);
      expect(lagged).toBeGreaterThan(0);
    }, 90_000);
  });
}
