// The load client: N event streams read by one thread, with a check of every event.
// Prints "ready" when every connection has its response head, then obeys standard input:
//   reset        forget counts and latencies, keep the place of each connection
//   report       one JSON line now
//   stall        the first --slow connections stop reading;  resume  they read again
//   cut          close every connection at once
//   return <ms>  open all again, spread evenly over so long, each with its Last-Event-ID
//   quit         (or end of input) one JSON line, then exit
// Options: --port --connections --method --path (%d is the connection's number) --header (one more line of each
// request) --slow K (small receive buffer for the first K) --source H (source addresses from
// 127.0.0.H on) --connecting-max --on-close ignore|close|ack (what `event: close` is answered with)
// --discard 1 (streams are dropped unread behind their head) --timeout seconds
#include "ack.h"

static struct connection *connections;
static int connections_max, opened;
static int64_t marked_at, turn_max;
static double marked_cpu;
// Of `return`: when the first is due, how long it takes, and how many were opened.
static int64_t return_from, return_micros;
static int returned;

static void reset(void) {
  memset(&checks, 0, sizeof checks);
  memset(&slow_checks, 0, sizeof slow_checks);
  memset(&counts.head, 0, sizeof counts.head);
  memset(&counts.connect, 0, sizeof counts.connect);
  marked_at = now_micros();
  marked_cpu = cpu_seconds();
  turn_max = 0;
}

static void print_checks(const char *name, const struct checks *c) {
  printf("\"%s\":{\"deliveries\":%lu,\"bytes\":%lu,\"gaps\":%lu,\"missing\":%lu,\"duplicates\":%lu,"
         "\"reorders\":%lu,\"gapEvents\":%lu,\"closeEvents\":%lu,\"overloads\":%lu,\"chunks\":%lu,"
         "\"chunksCut\":%lu,\"foreign\":%lu,",
         name, c->deliveries, c->bytes, c->gaps, c->missing, c->duplicates, c->reorders,
         c->gap_events, c->close_events, c->overloads, c->chunks, c->chunks_cut, c->foreign);
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
  int open = 0;
  for (int i = 0; i < connections_max; i++) open += connections[i].fd >= 0;
  printf("{\"msg\":\"report\",\"connections\":%d,\"open\":%d,\"opening\":%d,\"headed\":%d,"
         "\"closed\":%d,\"cleanEnds\":%d,\"resets\":%d,\"refused\":%d,\"firstBadStatus\":%d,"
         "\"overtakenMax\":%d,\"endedAtMicros\":%ld,\"acksAccepted\":%d,\"acksRefused\":%d,"
         "\"acksFailed\":%d,\"ackFirstBadStatus\":%d,",
         connections_max, open, counts.opening, counts.headed, counts.closed, counts.clean_ends,
         counts.resets, counts.refused, counts.first_bad_status, counts.overtaken_max,
         counts.ended_at, acks_accepted, acks_refused, acks_failed, ack_first_bad_status);
  hist_print(stdout, "connectMicros", &counts.connect);
  printf(",");
  hist_print(stdout, "headMicros", &counts.head);
  printf(",");
  print_checks("all", &checks);
  print_checks("slow", &slow_checks);
  print_last("last", options.slow_max, connections_max);
  print_last("slowLast", 0, options.slow_max);
  printf("\"wallSeconds\":%.6f,\"cpuSeconds\":%.6f,\"cpuShare\":%.4f,\"turnMicrosMax\":%ld}\n", wall,
         cpu, cpu / wall, turn_max);
}

static void set_stalled(int is_stalled) {
  for (int i = 0; i < options.slow_max; i++) {
    connections[i].is_stalled = (uint8_t)is_stalled;
    // What came meanwhile has had its edge: read now.
    if (!is_stalled && connections[i].fd >= 0) connection_read(&connections[i]);
  }
}

static void cut(void) {
  for (int i = 0; i < connections_max; i++) {
    if (connections[i].fd >= 0) connection_free(&connections[i]);
    reader_restart(&connections[i].reader);
  }
}

static void return_all(long millis) {
  counts.headed = counts.asked = counts.furthest = counts.overtaken_max = 0;
  return_micros = 1000 * millis;
  return_from = now_micros();
  returned = 0;
}

// Returns when the next one is due, or 0 if none is.
static int64_t open_due(int connecting_max) {
  while (opened < connections_max && counts.opening < connecting_max)
    connection_open(&connections[opened++], now_micros());
  while (returned < connections_max) {
    int64_t due = return_from + return_micros * returned / connections_max;
    if (due > now_micros()) return due;
    if (connections[returned].fd < 0) connection_open(&connections[returned], due);
    returned++;
  }
  return 0;
}

// 0 when the tool is to end.
static int obey(void) {
  char line[256];
  int got;
  long millis;
  while ((got = read_command(line, sizeof line)) > 0) {
    if (strcmp(line, "reset") == 0) reset();
    else if (strcmp(line, "report") == 0) report();
    else if (strcmp(line, "stall") == 0) set_stalled(1);
    else if (strcmp(line, "resume") == 0) set_stalled(0);
    else if (strcmp(line, "cut") == 0) cut();
    else if (sscanf(line, "return %ld", &millis) == 1) return_all(millis);
    else return 0;
  }
  return got == 0;
}

static enum on_close on_close_of(const char *name) {
  return strcmp(name, "ack") == 0 ? POST_ACK : strcmp(name, "close") == 0 ? CLOSE : IGNORE;
}

int main(int argc, char **argv) {
  tool_start();
  options.port = (int)option_long(argc, argv, "port", 8080);
  connections_max = (int)option_long(argc, argv, "connections", 1);
  options.slow_max = (int)option_long(argc, argv, "slow", 0);
  options.source = (int)option_long(argc, argv, "source", 1);
  options.is_discarding = (int)option_long(argc, argv, "discard", 0);
  options.on_close = on_close_of(option(argc, argv, "on-close", "ignore"));
  options.header = option(argc, argv, "header", "");
  options.path = option(argc, argv, "path", "/v1/topics/t");
  options.method = option(argc, argv, "method", "GET");
  int connecting_max = (int)option_long(argc, argv, "connecting-max", 256);
  int64_t ends_at = now_micros() + 1000000 * option_long(argc, argv, "timeout", 600);
  connections = calloc((size_t)connections_max, sizeof *connections);
  if (!connections) die("calloc");
  for (int i = 0; i < connections_max; i++) {
    connections[i].index = i;
    connections[i].fd = -1;
    reader_init(&connections[i].reader);
  }
  returned = connections_max;
  acks_init(connections_max);
  options.epoll = epoll_create1(0);
  set_nonblocking(0);
  struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
  if (epoll_ctl(options.epoll, EPOLL_CTL_ADD, 0, &input) < 0 && errno != EPERM)
    die("epoll_ctl stdin");
  reset();

  int is_ready = 0, is_over = 0;
  static struct epoll_event events[1024];
  while (now_micros() < ends_at) {
    int64_t due = open_due(connecting_max);
    acks_start();
    if (!is_ready && opened == connections_max && counts.opening == 0) {
      is_ready = 1;
      printf("{\"msg\":\"ready\",\"headed\":%d,\"refused\":%d,\"closed\":%d,\"firstBadStatus\":%d}\n",
             counts.headed, counts.refused, counts.closed, counts.first_bad_status);
      reset();
    }
    int64_t wait = due ? (due - now_micros()) / 1000 : 100;
    int n = epoll_wait(options.epoll, events, 1024, wait < 0 ? 0 : wait < 100 ? (int)wait : 100);
    int64_t turn_from = now_micros();
    for (int i = 0; i < n; i++) {
      enum kind *kind = events[i].data.ptr;
      if (!kind) is_over = !obey();
      else if (*kind == ACK) ack_ready((struct ack *)kind, events[i].events);
      else connection_ready((struct connection *)kind, events[i].events);
    }
    if (is_over) {
      report();
      return 0;
    }
    int64_t turn = now_micros() - turn_from;
    if (turn > turn_max) turn_max = turn;
  }
  fprintf(stderr, "load: the time limit has passed\n");
  report();
  return 2;
}
