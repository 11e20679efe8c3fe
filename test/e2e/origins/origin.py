# An origin of Python's standard library alone. Argument: its port.
import http.server, os, signal, sys, threading, time

TICK = 0.02
BEGAN_AT = int(os.environ["BEGAN_AT"]) / 1000
over = threading.Event()


def newest():
    return int((time.time() - BEGAN_AT) / TICK)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        last_event_id = self.headers.get("Last-Event-ID", "")
        sys.stdout.write(f"request {self.path} {last_event_id or '-'}\n")
        sys.stdout.flush()
        has_ids = self.path == "/ids"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        # The body of /ids ends with the connection, as in every example; that of /no-ids is chunked, so
        # that the loss of the origin can be told from the end of the stream.
        if not has_ids:
            self.send_header("Transfer-Encoding", "chunked")
        self.close_connection = True
        self.end_headers()
        tick = int(last_event_id) if has_ids and last_event_id else newest()
        try:
            while not over.is_set():
                while tick < newest():
                    tick += 1
                    self.send(f"id: {tick}\n" if has_ids else "", tick, not has_ids)
                time.sleep(TICK)
            if not has_ids:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass

    def send(self, fields, tick, is_chunked):
        event = f"{fields}data: {tick}\n\n".encode()
        if is_chunked:
            event = b"%x\r\n%b\r\n" % (len(event), event)
        self.wfile.write(event)
        self.wfile.flush()


class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = False


def stop(*args):
    over.set()
    threading.Thread(target=server.shutdown).start()


server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
signal.signal(signal.SIGTERM, stop)
print(f"port {server.server_port}", flush=True)
server.serve_forever()
server.server_close()
