// ACKs of `event: close`: one POST each, on a connection of its own as another machine would open it.
#ifndef SLUICE_BENCH_ACK_H
#define SLUICE_BENCH_ACK_H
#include "connection.h"

// More at a time would only wait in the listener's backlog.
#define ACKS_MAX 256

struct ack {
  enum kind kind;
  int fd;
  uint8_t is_sent;
  struct connection *of;
};

static struct ack acks[ACKS_MAX];
static struct connection **ack_queue;
static int ack_size, ack_from, ack_to, acks_accepted, acks_refused, acks_failed, ack_first_bad_status;

// A ring as long as there are clients: each owes one ACK at most.
static void acks_init(int connections) {
  ack_size = connections;
  ack_queue = calloc((size_t)connections, sizeof *ack_queue);
  if (!ack_queue) die("calloc");
  for (int i = 0; i < ACKS_MAX; i++) acks[i] = (struct ack){.kind = ACK, .fd = -1};
}

static void goodbye(struct connection *c) {
  if (options.on_close == CLOSE) connection_end(c);
  if (options.on_close == POST_ACK) ack_queue[ack_to++ % ack_size] = c;
}

static void acks_start(void) {
  for (int i = 0; i < ACKS_MAX && ack_from < ack_to; i++) {
    struct ack *a = &acks[i];
    if (a->fd >= 0) continue;
    a->of = ack_queue[ack_from++ % ack_size];
    a->is_sent = 0;
    // Never with the small receive buffer of a slow reader.
    a->fd = tcp_connect(options.slow_max + a->of->index);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP, .data.ptr = a};
    if (epoll_ctl(options.epoll, EPOLL_CTL_ADD, a->fd, &e) < 0) die("epoll_ctl");
  }
}

static void ack_end(struct ack *a) {
  close(a->fd);
  a->fd = -1;
}

static void ack_ready(struct ack *a, uint32_t events) {
  char text[2048];
  if (a->fd < 0) return;
  if (!a->is_sent && (events & EPOLLOUT)) {
    int n = snprintf(text, sizeof text,
                     "POST /v1/connections/%s/ack HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                     "Content-Length: 0\r\nConnection: close\r\n%s%s\r\n",
                     a->of->reader.connection_id, options.port, options.header,
                     options.header[0] ? "\r\n" : "");
    a->is_sent = send(a->fd, text, (size_t)n, MSG_NOSIGNAL) == n;
    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = a};
    epoll_ctl(options.epoll, EPOLL_CTL_MOD, a->fd, &e);
  }
  if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP))) return;
  ssize_t got = recv(a->fd, text, sizeof text - 1, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got < 12) {
    acks_failed++;
  } else {
    text[got] = 0;
    int status = atoi(text + 9);
    if (status >= 200 && status < 300) acks_accepted++;
    else if (!acks_refused++) ack_first_bad_status = status;
  }
  ack_end(a);
}
#endif
