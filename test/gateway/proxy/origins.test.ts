import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createSession } from "better-sse";
import type { Session } from "better-sse";
import { describe, expect, onTestFinished, test } from "vitest";
import { describeWith, needs } from "../../support/programs.ts";
import { eventually, openStream } from "../support.ts";
import type { OpenStream } from "../support.ts";
import { ASKS, event, SSE_HEADERS, startFront, startOrigin } from "./support.ts";

const dataOf = (stream: OpenStream): string[] => stream.events.map(({ data }) => data);
const range = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, at) => String(from + at));

describe("better-sse behind the proxy", () => {
  test("U03: it restarts while clients read, and nobody misses anything", async () => {
    let sent = 0;
    const sessions = new Set<Session>();
    const open = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      const session = await createSession(request, response);
      for (let id = Number(session.lastId || 0) + 1; id <= sent; id += 1) {
        session.push(id, "tick", String(id));
      }
      sessions.add(session);
      session.once("disconnected", () => sessions.delete(session));
    };
    const origin = await startOrigin((request, response) => void open(request, response));
    const emit = (count: number): void => {
      for (let left = count; left > 0; left -= 1) {
        sent += 1;
        for (const session of sessions) session.push(sent, "tick", String(sent));
      }
    };
    const front = await startFront(origin);
    const streams = await Promise.all(
      Array.from({ length: 10 }, () => openStream(front, "/ticks", ASKS)),
    );
    await eventually(() => sessions.size === 1);
    emit(50);
    await Promise.all(streams.map((stream) => stream.take(50)));
    await origin.stop();
    await eventually(() => sessions.size === 0);
    emit(25);
    await origin.start();
    await Promise.all(streams.map((stream) => stream.take(75)));
    emit(25);
    await Promise.all(streams.map((stream) => stream.take(100)));
    for (const stream of streams) {
      expect(dataOf(stream)).toEqual(range(1, 100));
      expect(new Set(stream.events.map(({ event }) => event))).toEqual(new Set(["tick"]));
    }
  });
});

/** Numbers its events, 100 a second, and honours `Last-Event-ID`. It remembers nothing: the clock tells. */
const PYTHON = `
import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()
        last = int(self.headers.get("Last-Event-ID", "0"))
        try:
            while True:
                last += 1
                self.wfile.write(f"id: {last}\\ndata: {last}\\n\\n".encode())
                self.wfile.flush()
                time.sleep(0.01)
        except OSError:
            pass
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
print(server.server_port, flush=True)
server.serve_forever()
`;

describeWith(
  { python: needs("python3") },
  "Python's standard library behind the proxy",
  ({ python }) => {
    async function start(port: number): Promise<{ child: ChildProcess; port: number }> {
      const child = spawn(python, ["-c", PYTHON, String(port)], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      onTestFinished(() => void child.kill("SIGKILL"));
      const [said] = await once(child.stdout, "data");
      return { child, port: Number(String(said)) };
    }

    test("P01, U03: it is killed while clients read, and the stream goes on at the very next event", async () => {
      const first = await start(0);
      const front = await startFront({ url: `http://127.0.0.1:${first.port}` });
      const streams = await Promise.all(
        Array.from({ length: 10 }, () => openStream(front, "/", ASKS)),
      );
      await Promise.all(streams.map((stream) => stream.take(30)));
      first.child.kill("SIGKILL");
      await once(first.child, "exit");
      await start(first.port);
      const before = streams[0]?.events.length ?? 0;
      await Promise.all(streams.map((stream) => stream.take(before + 50)));
      for (const stream of streams) {
        const data = dataOf(stream);
        expect(data).toEqual(range(1, data.length));
      }
    }, 60_000);
  },
);

describeWith({ curl: needs("curl") }, "curl in front of the proxy", ({ curl }) => {
  test("gets a stream as it comes, without asking for one by name", async () => {
    const origin = await startOrigin((_request, response) => {
      response.writeHead(200, SSE_HEADERS);
      response.write(event("first", 1));
    });
    const front = await startFront(origin);
    const child = spawn(curl, ["-sN", `${front.url}/s`], { stdio: ["ignore", "pipe", "inherit"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    let text = "";
    child.stdout.on("data", (chunk) => (text += String(chunk)));
    await eventually(() => text.includes("data: first"));
    for (const response of origin.open) response.end(event("last", 2));
    await eventually(() => text.includes("data: last"));
  });

  test("gets the origin's own answer to everything else", async () => {
    const origin = await startOrigin((request, response) => {
      response.writeHead(200, { "content-type": "text/plain" });
      request.pipe(response);
    });
    const front = await startFront(origin);
    const child = spawn(curl, ["-s", "--data-binary", "x".repeat(100_000), `${front.url}/echo`], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let length = 0;
    child.stdout.on("data", (chunk: Buffer) => (length += chunk.length));
    const [code] = await once(child, "close");
    expect([code, length]).toEqual([0, 100_000]);
  });
});
