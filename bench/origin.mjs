// An origin whose every response is an event stream of its own, on HTTP/1.1 and, on the next port, on
// HTTP/2 without TLS. Commands: `start <events/s of each> <bytes> <seconds>`, `size <bytes>` (later
// responses say so much at once and end), `report`, `quit`. Its port is its argument.
import { createServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { createInterface } from "node:readline";

const HOST = "127.0.0.1";
const port = Number(process.argv[2]);
const nowMicros = () => Number(process.hrtime.bigint() / 1000n);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const counts = { requests: 0, requestsByPath: new Set(), sessions: 0, streamsMax: 0 };
const streams = new Set();
let schedule;
let wholeBytes = 0;

function onRequest(request, response) {
  counts.requests += 1;
  counts.requestsByPath.add(request.url);
  request.resume();
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  if (wholeBytes > 0) {
    let text = "";
    for (let number = 0; text.length < wholeBytes; number += 1) {
      text += frame(number, nowMicros(), 150);
    }
    return void response.end(text);
  }
  // One event, for who measures how long the first one takes.
  if (request.url.startsWith("/first")) return void response.end(frame(0, nowMicros(), 150));
  // A beginning, so that the head leaves whatever buffers it.
  response.write(": hello\n\n");
  const stream = { response, number: 0, due: schedule?.begin(streams.size) };
  streams.add(stream);
  counts.streamsMax = Math.max(counts.streamsMax, streams.size);
  response.on("close", () => streams.delete(stream));
}

/** What the load client checks: `<stream><number> <due micros> xxx...`. */
const frame = (number, due, bytes) => `data: ${`a${number} ${due} `.padEnd(bytes, "x")}\n\n`;

function start(rate, bytes, seconds) {
  const period = 1e6 / rate;
  const from = nowMicros() + 200_000;
  const until = from + seconds * 1e6;
  // Streams are spread over a period: a model's tokens do not all come at the same moment.
  const begin = (index) => from + ((index * 7_919) % 1_000) * (period / 1_000);
  schedule = { begin };
  let index = 0;
  for (const stream of streams) stream.due = begin(index++);
  let late = 0;
  const tick = () => {
    const now = nowMicros();
    let isOver = true;
    for (const stream of streams) {
      while (stream.due <= now && stream.due < until) {
        late = Math.max(late, now - stream.due);
        stream.response.write(frame(stream.number, Math.round(stream.due), bytes));
        stream.number += 1;
        stream.due += period;
      }
      if (stream.due < until) isOver = false;
    }
    if (!isOver) return void setTimeout(tick, 1);
    const numbers = [...streams].map(({ number }) => number);
    say({ msg: "done", least: Math.min(...numbers), most: Math.max(...numbers), lateMicros: late });
  };
  tick();
}

const http1 = createServer({ noDelay: true }, onRequest);
http1.on("connection", () => (counts.sessions += 1));
const http2 = createHttp2Server({ settings: { maxConcurrentStreams: 1_000 } }, onRequest);
http2.on("session", () => (counts.sessions += 1));
http1.listen({ port, host: HOST, backlog: 4096 }, () => {
  http2.listen({ port: port + 1, host: HOST }, () => say({ msg: "listening" }));
});

for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...numbers] = line.split(" ");
  if (command === "start") start(...numbers.map(Number));
  else if (command === "size") wholeBytes = Number(numbers[0]);
  else if (command === "report") {
    const { requestsByPath, ...rest } = counts;
    say({ msg: "report", ...rest, paths: requestsByPath.size, streamsNow: streams.size });
  } else break;
}
process.exit(0);
