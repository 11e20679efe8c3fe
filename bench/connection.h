// One client of the load tool: a connection that is opened, read, and opened again where it left off.
#ifndef SLUICE_BENCH_CONNECTION_H
#define SLUICE_BENCH_CONNECTION_H
#include "sse.h"

#define READ_BYTES (256 * 1024)
#define PORTS_PER_SOURCE 28000

// What an epoll event is about; the first member of whatever it points to.
enum kind { CLIENT, ACK };
// What a client does about `event: close`.
enum on_close { IGNORE, CLOSE, POST_ACK };

struct connection {
  enum kind kind;
  int fd, index, turn;
  uint8_t is_connected, is_stalled, is_goodbye_done;
  int64_t due;
  struct reader reader;
};

static struct {
  int port, epoll, source, slow_max, is_discarding;
  enum on_close on_close;
  const char *path, *method, *header;
} options;

static struct {
  int opening, headed, closed, refused, first_bad_status, resets, clean_ends;
  // Requests in the order of sending: how many later ones got their head before an earlier one.
  int asked, furthest, overtaken_max;
  int64_t ended_at;
  struct hist connect, head;
} counts;

static struct checks checks, slow_checks;
static char buffer[READ_BYTES];

static void goodbye(struct connection *c);

static void connection_free(struct connection *c) {
  if (!c->is_connected || c->reader.state == HEAD) counts.opening--;
  close(c->fd);
  c->fd = -1;
}

static void connection_end(struct connection *c) {
  if (c->fd < 0) return;
  connection_free(c);
  counts.closed++;
  counts.ended_at = now_micros();
}

static int tcp_connect(int index) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, small = 4096;
  if (fd < 0) die("socket %d", index);
  if (index < options.slow_max) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  int host = options.source + index / PORTS_PER_SOURCE;
  if (host > 1) {
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct sockaddr_in from = loopback((unsigned)host, 0);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0) die("bind 127.0.0.%d", host);
  }
  struct sockaddr_in to = loopback(1, options.port);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
    die("connect %d", index);
  return fd;
}

// `due` is when it should have been opened: what the tool itself is late by counts as waiting.
static void connection_open(struct connection *c, int64_t due) {
  c->fd = tcp_connect(c->index);
  c->due = due;
  c->is_connected = c->is_goodbye_done = 0;
  struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.ptr = c};
  if (epoll_ctl(options.epoll, EPOLL_CTL_ADD, c->fd, &e) < 0) die("epoll_ctl");
  counts.opening++;
}

static void connection_request(struct connection *c) {
  char target[1024], request[1600], id[ID_BYTES + 32] = "";
  snprintf(target, sizeof target, options.path, c->index, c->index, c->index);
  if (c->reader.id[0]) snprintf(id, sizeof id, "Last-Event-ID: %s\r\n", c->reader.id);
  int n = snprintf(request, sizeof request,
                   "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n%s%s%s%s\r\n",
                   options.method, target, options.port, strcmp(options.method, "POST") ? "" : "Content-Length: 0\r\n",
                   id, options.header, options.header[0] ? "\r\n" : "");
  if (send(c->fd, request, (size_t)n, MSG_NOSIGNAL) != n) {
    counts.resets++;
    connection_end(c);
    return;
  }
  c->is_connected = 1;
  c->turn = ++counts.asked;
  hist_record(&counts.connect, now_micros() - c->due);
  // From here on only input matters: edge-triggered, so a read wakes once per arrival.
  struct epoll_event e = {.events = EPOLLIN | EPOLLET | EPOLLRDHUP, .data.ptr = c};
  epoll_ctl(options.epoll, EPOLL_CTL_MOD, c->fd, &e);
}

static void connection_headed(struct connection *c, int64_t now) {
  counts.headed++;
  counts.opening--;
  hist_record(&counts.head, now - c->due);
  if (c->reader.status != 200 && !counts.refused++) counts.first_bad_status = c->reader.status;
  if (c->turn > counts.furthest) counts.furthest = c->turn;
  else if (counts.furthest - c->turn > counts.overtaken_max)
    counts.overtaken_max = counts.furthest - c->turn;
}

static void connection_read(struct connection *c) {
  struct checks *k = c->index < options.slow_max ? &slow_checks : &checks;
  for (;;) {
    if (c->is_stalled) return;
    // With MSG_TRUNC TCP drops the bytes in the kernel (tcp(7)): a reader that costs next to nothing.
    int drops = options.is_discarding && c->reader.state != HEAD;
    ssize_t got = recv(c->fd, drops ? NULL : buffer, READ_BYTES, drops ? MSG_TRUNC : 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      if (got < 0) counts.resets++;
      connection_end(c);
      return;
    }
    if (drops) {
      k->bytes += (uint64_t)got;
    } else {
      int was_head = c->reader.state == HEAD;
      int64_t now = now_micros();
      reader_feed(&c->reader, k, buffer, (size_t)got, now);
      if (was_head && c->reader.state != HEAD) connection_headed(c, now);
      if (c->reader.has_goodbye && !c->is_goodbye_done) {
        c->is_goodbye_done = 1;
        goodbye(c);
      }
      if (c->fd < 0) return;
      if (c->reader.state == ENDED) {
        counts.clean_ends++;
        connection_end(c);
        return;
      }
    }
    // epoll(7): a short read from a stream socket means that it is empty, also edge-triggered.
    if (got < READ_BYTES) return;
  }
}

static void connection_ready(struct connection *c, uint32_t events) {
  if (c->fd >= 0 && !c->is_connected) {
    if (events & (EPOLLERR | EPOLLHUP)) {
      counts.resets++;
      connection_end(c);
    } else if (events & EPOLLOUT) {
      connection_request(c);
    }
  }
  if (c->fd >= 0 && (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP))) connection_read(c);
}
#endif
