// The load client: N event streams read by one thread, with a check of every event.
// Prints "ready" when every connection has its response head, then obeys standard input:
//   reset    forget counts and latencies, keep the place of each connection
//   report   one JSON line now
//   stall    the first --slow connections stop reading;  resume  they read again
//   quit     (or end of input) one JSON line, then exit
// Options: --port --connections --path (%d is the connection's number) --slow K (small receive
// buffer for the first K) --source H (source addresses from 127.0.0.H on) --connecting-max
// --timeout seconds
#include "sse.h"

#define READ_BYTES (256 * 1024)
#define PORTS_PER_SOURCE 28000

struct connection {
  int fd, index;
  uint8_t is_connected, is_stalled;
  struct reader reader;
};

static struct connection *connections;
static struct checks checks, slow_checks;
static int connections_max, slow_max, port, epoll, source, opened, connecting, headed, closed, refused;
static const char *path;
static char buffer[READ_BYTES];
static int64_t marked_at, turn_max;
static double marked_cpu;

static void reset(void) {
  memset(&checks, 0, sizeof checks);
  memset(&slow_checks, 0, sizeof slow_checks);
  marked_at = now_micros();
  marked_cpu = cpu_seconds();
  turn_max = 0;
}

static void print_checks(const char *name, const struct checks *c) {
  printf("\"%s\":{\"deliveries\":%lu,\"bytes\":%lu,\"gaps\":%lu,\"missing\":%lu,\"duplicates\":%lu,"
         "\"reorders\":%lu,\"gapEvents\":%lu,\"closeEvents\":%lu,\"chunks\":%lu,\"chunksCut\":%lu,"
         "\"foreign\":%lu,",
         name, c->deliveries, c->bytes, c->gaps, c->missing, c->duplicates, c->reorders,
         c->gap_events, c->close_events, c->chunks, c->chunks_cut, c->foreign);
  hist_print(stdout, "latencyMicros", &c->latency);
  printf("},");
}

// The last event number per stream, lowest and highest over the connections [from, to): equal, and
// equal to the publisher's, means that everything has arrived everywhere.
static void print_last(const char *name, int from, int to) {
  const char *comma = "";
  printf("\"%s\":{", name);
  for (int s = 0; s < STREAMS_MAX; s++) {
    int64_t low = INT64_MAX, high = -1;
    int with = 0;
    for (int i = from; i < to; i++) {
      int64_t last = connections[i].reader.last[s];
      if (last < low) low = last;
      if (last > high) high = last;
      if (last >= 0) with++;
    }
    if (!with) continue;
    printf("%s\"%c\":{\"min\":%ld,\"max\":%ld,\"connections\":%d}", comma, 'a' + s, low, high, with);
    comma = ",";
  }
  printf("},");
}

static void report(void) {
  double wall = (double)(now_micros() - marked_at) / 1e6, cpu = cpu_seconds() - marked_cpu;
  printf("{\"msg\":\"report\",\"connections\":%d,\"headed\":%d,\"closed\":%d,\"refused\":%d,",
         connections_max, headed, closed, refused);
  print_checks("all", &checks);
  print_checks("slow", &slow_checks);
  print_last("last", slow_max, connections_max);
  print_last("slowLast", 0, slow_max);
  printf("\"wallSeconds\":%.6f,\"cpuSeconds\":%.6f,\"cpuShare\":%.4f,\"turnMicrosMax\":%ld}\n", wall,
         cpu, cpu / wall, turn_max);
}

static void connection_end(struct connection *c) {
  if (c->fd < 0) return;
  if (!c->is_connected || c->reader.state == HEAD) connecting--;
  close(c->fd);
  c->fd = -1;
  closed++;
}

static void connection_open(struct connection *c, int index) {
  c->index = index;
  reader_init(&c->reader);
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (c->fd < 0) die("socket %d", index);
  int one = 1, small = 4096;
  if (index < slow_max) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  int host = source + index / PORTS_PER_SOURCE;
  if (host > 1) {
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct sockaddr_in from = loopback((unsigned)host, 0);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0) die("bind 127.0.0.%d", host);
  }
  struct sockaddr_in to = loopback(1, port);
  if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
    die("connect %d", index);
  struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.ptr = c};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e) < 0) die("epoll_ctl");
  connecting++;
}

static void connection_request(struct connection *c) {
  char target[1024], request[1400];
  snprintf(target, sizeof target, path, c->index, c->index, c->index);
  int n = snprintf(request, sizeof request,
                   "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n\r\n",
                   target, port);
  if (send(c->fd, request, (size_t)n, MSG_NOSIGNAL) != n) {
    connection_end(c);
    return;
  }
  c->is_connected = 1;
  // From here on only input matters: edge-triggered, so a read wakes once per arrival.
  struct epoll_event e = {.events = EPOLLIN | EPOLLET | EPOLLRDHUP, .data.ptr = c};
  epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e);
}

static void connection_read(struct connection *c) {
  struct checks *k = c->index < slow_max ? &slow_checks : &checks;
  for (;;) {
    if (c->is_stalled) return;
    ssize_t got = recv(c->fd, buffer, READ_BYTES, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      connection_end(c);
      return;
    }
    int was_head = c->reader.state == HEAD;
    reader_feed(&c->reader, k, buffer, (size_t)got, now_micros());
    if (was_head && c->reader.state != HEAD) {
      headed++;
      connecting--;
      if (c->reader.status != 200) refused++;
    }
    if (c->reader.state == ENDED) {
      connection_end(c);
      return;
    }
    // epoll(7): a short read from a stream socket means that it is empty, also edge-triggered.
    if (got < READ_BYTES) return;
  }
}

static void set_stalled(int is_stalled) {
  for (int i = 0; i < slow_max; i++) {
    connections[i].is_stalled = (uint8_t)is_stalled;
    // What came meanwhile has had its edge: read now.
    if (!is_stalled && connections[i].fd >= 0) connection_read(&connections[i]);
  }
}

int main(int argc, char **argv) {
  tool_start();
  port = (int)option_long(argc, argv, "port", 8080);
  connections_max = (int)option_long(argc, argv, "connections", 1);
  slow_max = (int)option_long(argc, argv, "slow", 0);
  source = (int)option_long(argc, argv, "source", 1);
  int connecting_max = (int)option_long(argc, argv, "connecting-max", 256);
  path = option(argc, argv, "path", "/v1/topics/t");
  int64_t ends_at = now_micros() + 1000000 * option_long(argc, argv, "timeout", 600);
  connections = calloc((size_t)connections_max, sizeof *connections);
  if (!connections) die("calloc");
  epoll = epoll_create1(0);
  set_nonblocking(0);
  struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &input) < 0 && errno != EPERM) die("epoll_ctl stdin");
  reset();

  int is_ready = 0;
  char line[256];
  static struct epoll_event events[1024];
  while (now_micros() < ends_at) {
    while (opened < connections_max && connecting < connecting_max) {
      connection_open(&connections[opened], opened);
      opened++;
    }
    if (!is_ready && opened == connections_max && connecting == 0) {
      is_ready = 1;
      printf("{\"msg\":\"ready\",\"headed\":%d,\"refused\":%d,\"closed\":%d}\n", headed, refused, closed);
      reset();
    }
    int n = epoll_wait(epoll, events, 1024, 100);
    int64_t turn_from = now_micros();
    for (int i = 0; i < n; i++) {
      struct connection *c = events[i].data.ptr;
      if (!c) {
        int got;
        while ((got = read_command(line, sizeof line)) > 0) {
          if (strcmp(line, "reset") == 0) reset();
          else if (strcmp(line, "report") == 0) report();
          else if (strcmp(line, "stall") == 0) set_stalled(1);
          else if (strcmp(line, "resume") == 0) set_stalled(0);
          else got = -1;
          if (got < 0) break;
        }
        if (got < 0) {
          report();
          return 0;
        }
        continue;
      }
      if (c->fd >= 0 && !c->is_connected) {
        if (events[i].events & (EPOLLERR | EPOLLHUP)) connection_end(c);
        else if (events[i].events & EPOLLOUT) connection_request(c);
      }
      if (c->fd >= 0 && (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)))
        connection_read(c);
    }
    int64_t turn = now_micros() - turn_from;
    if (turn > turn_max) turn_max = turn;
  }
  fprintf(stderr, "load: the time limit has passed\n");
  report();
  return 2;
}
