// Keep-alive connections that are used once and then left alone, until the server closes them for
// being idle; each is then opened anew. What a pool of a proxy does to a server all day.
// Prints "ready" when every connection has had its answer, then obeys standard input:
//   reset    forget counts;  report  one JSON line now;  quit (or end of input)
// Options: --port --connections --path (%d is the connection's number) --rounds (how often each is
// opened) --spread-millis (the first openings are spread over so long) --timeout seconds
#include "common.h"

#define PORTS_PER_SOURCE 28000

struct connection {
  int fd, index, rounds;
  uint8_t is_sent, is_answered;
  int64_t answered_at;
};

static struct connection *connections;
static int connections_max, port, epoll, rounds_max, opened;
static int answered, refused, first_bad_status, resets, closed_by_server, open_now, open_max;
static const char *path;
static struct hist answer, idle;

static void connection_open(struct connection *c) {
  int one = 1, host = 1 + c->index / PORTS_PER_SOURCE;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (c->fd < 0) die("socket %d", c->index);
  setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
  struct sockaddr_in from = loopback((unsigned)host, 0), to = loopback(1, port);
  if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0) die("bind 127.0.0.%d", host);
  if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
    die("connect %d", c->index);
  c->is_sent = c->is_answered = 0;
  c->answered_at = now_micros();
  c->rounds++;
  if (++open_now > open_max) open_max = open_now;
  struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.ptr = c};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e) < 0) die("epoll_ctl");
}

static void connection_end(struct connection *c, int is_reset) {
  close(c->fd);
  c->fd = -1;
  open_now--;
  if (is_reset || !c->is_answered) resets++;
  else {
    closed_by_server++;
    hist_record(&idle, now_micros() - c->answered_at);
  }
  if (c->rounds < rounds_max) connection_open(c);
}

static void connection_request(struct connection *c) {
  char target[1024], request[1400], body[] = "one event";
  snprintf(target, sizeof target, path, c->index);
  int n = snprintf(request, sizeof request,
                   "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: text/plain\r\n"
                   "Content-Length: %zu\r\n\r\n%s",
                   target, port, sizeof body - 1, body);
  c->is_sent = send(c->fd, request, (size_t)n, MSG_NOSIGNAL) == n;
}

// An answer of a publish is one small segment: its status line is all that counts here.
static void connection_read(struct connection *c) {
  static char text[16384];
  for (;;) {
    ssize_t got = recv(c->fd, text, sizeof text - 1, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      connection_end(c, got < 0);
      return;
    }
    text[got] = 0;
    if (!c->is_answered && got >= 12) {
      int status = atoi(text + 9);
      int64_t now = now_micros();
      hist_record(&answer, now - c->answered_at);
      c->is_answered = 1;
      c->answered_at = now;
      answered++;
      if ((status < 200 || status > 299) && !refused++) first_bad_status = status;
    }
  }
}

static void report(const char *msg) {
  printf("{\"msg\":\"%s\",\"connections\":%d,\"openNow\":%d,\"openMax\":%d,\"answered\":%d,"
         "\"refused\":%d,\"firstBadStatus\":%d,\"resets\":%d,\"closedByServer\":%d,",
         msg, connections_max, open_now, open_max, answered, refused, first_bad_status, resets,
         closed_by_server);
  hist_print(stdout, "answerMicros", &answer);
  printf(",");
  hist_print(stdout, "idleMicros", &idle);
  printf(",\"cpuSeconds\":%.4f}\n", cpu_seconds());
}

int main(int argc, char **argv) {
  tool_start();
  port = (int)option_long(argc, argv, "port", 8080);
  connections_max = (int)option_long(argc, argv, "connections", 1);
  rounds_max = (int)option_long(argc, argv, "rounds", 1);
  path = option(argc, argv, "path", "/v1/topics/idle");
  int64_t spread = 1000 * option_long(argc, argv, "spread-millis", 1000);
  int64_t start = now_micros(), ends_at = start + 1000000 * option_long(argc, argv, "timeout", 600);
  connections = calloc((size_t)connections_max, sizeof *connections);
  if (!connections) die("calloc");
  for (int i = 0; i < connections_max; i++) connections[i] = (struct connection){.fd = -1, .index = i};
  epoll = epoll_create1(0);
  set_nonblocking(0);
  struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &input) < 0 && errno != EPERM) die("epoll_ctl stdin");

  int is_ready = 0, is_done = 0;
  char line[64];
  static struct epoll_event events[1024];
  while (now_micros() < ends_at) {
    while (opened < connections_max && now_micros() - start >= spread * opened / connections_max)
      connection_open(&connections[opened++]);
    if (!is_ready && answered + resets >= connections_max) {
      is_ready = 1;
      report("ready");
    }
    if (!is_done && closed_by_server + resets >= connections_max * rounds_max) {
      is_done = 1;
      report("done");
    }
    int n = epoll_wait(epoll, events, 1024, opened < connections_max ? 1 : 100);
    for (int i = 0; i < n; i++) {
      struct connection *c = events[i].data.ptr;
      if (!c) {
        int got = read_command(line, sizeof line);
        if (got > 0 && strcmp(line, "report") == 0) report("report");
        else if (got != 0) return 0;
        continue;
      }
      if (c->fd >= 0 && !c->is_sent) {
        if (events[i].events & (EPOLLERR | EPOLLHUP)) {
          connection_end(c, 1);
          continue;
        }
        if (events[i].events & EPOLLOUT) connection_request(c);
      }
      if (c->fd >= 0 && (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)))
        connection_read(c);
    }
  }
  fprintf(stderr, "idle: the time limit has passed\n");
  report("late");
  return 2;
}
