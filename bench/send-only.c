// The floor: a server that does nothing but send(). One thread, one shared pre-framed buffer per
// tick, one send() per connection. What it costs per delivery is what the kernel costs.
// Standard input: `start <events/s> <bytes> <seconds> [events a send]`, `report`, `quit`.
#include "common.h"

#define CONNECTIONS_MAX 20000
static int fds[CONNECTIONS_MAX], connections;
static uint8_t has_head[CONNECTIONS_MAX];
static int slot_of[65536];
static int epoll;
static char frame[4 * 1024 * 1024];
static uint64_t ticks, deliveries, failed;
static int64_t number;

static const char HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";

static void accept_all(int listener) {
  for (int i = 0; i < 256; i++) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0) return;
    if (connections == CONNECTIONS_MAX || fd >= 65536) {
      close(fd);
      return;
    }
    set_nodelay(fd);
    slot_of[fd] = connections;
    has_head[connections] = 0;
    fds[connections++] = fd;
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
  }
}

static void connection_read(int fd) {
  char scratch[4096];
  ssize_t got = recv(fd, scratch, sizeof scratch, 0);
  int slot = slot_of[fd];
  if (got > 0 && !has_head[slot]) {
    has_head[slot] = 1;
    if (send(fd, HEAD, sizeof HEAD - 1, MSG_NOSIGNAL) < 0) got = 0;
  }
  if (got > 0 || (got < 0 && errno == EAGAIN)) return;
  close(fd);
  fds[slot] = fds[--connections];
  has_head[slot] = has_head[connections];
  slot_of[fds[slot]] = slot;
}

static size_t make_frame(int64_t first, int64_t due, int bytes, int count) {
  static char body[sizeof frame / 2];
  size_t length = 0;
  for (int i = 0; i < count; i++) {
    length += (size_t)sprintf(body + length, "id: 0123456789abcdef.%ld\ndata: ", first + i);
    length += (size_t)write_event_text(body + length, 'a', first + i, due, bytes);
    body[length++] = '\n';
    body[length++] = '\n';
  }
  size_t n = (size_t)sprintf(frame, "%zx\r\n", length);
  memcpy(frame + n, body, length);
  memcpy(frame + n + length, "\r\n", 2);
  return n + length + 2;
}

static void send_all(size_t length) {
  ticks++;
  for (int i = 0; i < connections; i++) {
    if (send(fds[i], frame, length, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)length) deliveries++;
    else failed++;  // a full or cut send would break the framing: a run with one of these is void
  }
}

static void report(const char *msg, double cpu_from) {
  double cpu = cpu_seconds() - cpu_from;
  printf("{\"msg\":\"%s\",\"ticks\":%lu,\"number\":%ld,\"sends\":%lu,\"failed\":%lu,\"cpuSeconds\":%.4f,"
         "\"cpuMicrosPerSend\":%.3f}\n",
         msg, ticks, number - 1, deliveries, failed, cpu, deliveries ? cpu * 1e6 / (double)deliveries : 0);
}

int main(int argc, char **argv) {
  tool_start();
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in at = loopback(1, (int)option_long(argc, argv, "port", 0));
  socklen_t size = sizeof at;
  if (bind(listener, (struct sockaddr *)&at, size) < 0 || listen(listener, 4096) < 0) die("listen");
  getsockname(listener, (struct sockaddr *)&at, &size);
  printf("{\"msg\":\"listening\",\"url\":\"http://127.0.0.1:%d\"}\n", ntohs(at.sin_port));
  epoll = epoll_create1(0);
  set_nonblocking(0);
  struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, in = {.events = EPOLLIN, .data.fd = 0};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e);
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &in) < 0) die("standard input must be a pipe");

  double rate = 0, seconds = 0, cpu_from = 0;
  int bytes = 100, count = 1;
  int64_t start = 0;
  uint64_t ticks_max = 0, ticks_from = 0;
  char line[256];
  static struct epoll_event events[1024];
  for (;;) {
    int wait = 1000;
    if (ticks < ticks_max) {
      int64_t due = start + (int64_t)((double)(ticks - ticks_from) * 1e6 * count / rate), now = now_micros();
      if (now >= due) {
        send_all(make_frame(number, due, bytes, count));
        number += count;
        if (ticks == ticks_max) report("done", cpu_from);
        wait = 0;
      } else {
        wait = (int)((due - now) / 1000);
      }
    }
    int n = epoll_wait(epoll, events, 1024, wait);
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) accept_all(listener);
      else if (fd != 0) connection_read(fd);
      else {
        int got;
        while ((got = read_command(line, sizeof line)) > 0) {
          count = 1;
          if (sscanf(line, "start %lf %d %lf %d", &rate, &bytes, &seconds, &count) >= 3) {
            if ((long)count * (bytes + 64) > (long)sizeof frame / 4) return 1;
            start = now_micros() + 100000;
            cpu_from = cpu_seconds();
            deliveries = failed = 0;
            ticks_from = ticks;
            ticks_max = ticks + (uint64_t)(rate * seconds / count + 0.5);
          } else if (strcmp(line, "report") == 0) {
            report("report", cpu_from);
          } else {
            return 0;
          }
        }
        if (got < 0) return 0;
      }
    }
  }
}
