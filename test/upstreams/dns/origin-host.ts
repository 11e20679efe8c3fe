// A name server and an origin in one network namespace, started by a test: see test/support/netns.ts.
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import { CLIENT_IP, PORT, serve } from "../../support/remote.ts";

const A_RECORD = 1;

/** Answers questions for IPv4 addresses with our own, whatever the name; others with none. */
function answerTo(question: Buffer): Buffer {
  let end = 12;
  while (question[end] !== 0) end += 1 + (question[end] ?? 0);
  const type = question.readUInt16BE(end + 1);
  const head = Buffer.from(question.subarray(0, end + 5));
  head.writeUInt16BE(0x8180, 2);
  head.writeUInt16BE(type === A_RECORD ? 1 : 0, 6);
  head.writeUInt32BE(0, 8);
  if (type !== A_RECORD) return head;
  const address = CLIENT_IP.split(".").map(Number);
  // The name by reference, type A, class IN, a TTL of 1 s, four bytes (RFC 1035, 4.1).
  return Buffer.concat([head, Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, ...address])]);
}

serve({
  async open(): Promise<void> {
    const dns = createSocket("udp4");
    dns.on("message", (question, { address, port }) => dns.send(answerTo(question), port, address));
    dns.bind(53, CLIENT_IP);
    const origin = createServer((socket) => socket.on("error", () => socket.destroy()));
    origin.listen(PORT, CLIENT_IP);
    await Promise.all([once(dns, "listening"), once(origin, "listening")]);
  },
});
