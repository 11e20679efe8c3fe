// What the three C tools share: the clock, a histogram, option parsing and small socket helpers.
// Header only, so that each tool is one gcc command without a makefile.
#ifndef SLUICE_BENCH_COMMON_H
#define SLUICE_BENCH_COMMON_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// CLOCK_MONOTONIC is also what process.hrtime.bigint() reads on Linux, so a due time may be made in
// C or in Node and compared in either.
static inline int64_t now_micros(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static inline double cpu_seconds(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
         (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static inline void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fprintf(stderr, ": %s\n", strerror(errno));
  exit(1);
}

// Log-linear: exact below 128 us, then 64 buckets an octave, so the error is at most 1.6 % and a
// record is a shift, an add and an increment.
#define HIST_BUCKETS (64 * 40)
struct hist {
  uint64_t count, sum, max;
  uint64_t bucket[HIST_BUCKETS];
};

static inline void hist_record(struct hist *h, int64_t micros) {
  uint64_t v = micros < 0 ? 0 : (uint64_t)micros;
  unsigned shift = v < 128 ? 0 : (unsigned)(57 - __builtin_clzll(v));
  unsigned at = shift * 64 + (unsigned)(v >> shift);
  if (at >= HIST_BUCKETS) at = HIST_BUCKETS - 1;
  h->bucket[at]++;
  h->count++;
  h->sum += v;
  if (v > h->max) h->max = v;
}

// The upper edge of the bucket that holds the quantile: never flatters.
static inline uint64_t hist_quantile(const struct hist *h, double q) {
  uint64_t rank = (uint64_t)(q * (double)h->count), seen = 0;
  if (rank >= h->count) return h->max;
  for (unsigned at = 0; at < HIST_BUCKETS; at++) {
    seen += h->bucket[at];
    if (seen > rank) {
      uint64_t edge = at;
      if (at >= 128) {
        unsigned shift = at / 64 - 1;
        edge = (((uint64_t)(at - shift * 64) + 1) << shift) - 1;
      }
      return edge < h->max ? edge : h->max;
    }
  }
  return h->max;
}

static inline void hist_print(FILE *out, const char *name, const struct hist *h) {
  fprintf(out,
          "\"%s\":{\"count\":%lu,\"mean\":%.1f,\"p50\":%lu,\"p90\":%lu,\"p99\":%lu,\"p999\":%lu,"
          "\"max\":%lu}",
          name, h->count, h->count ? (double)h->sum / (double)h->count : 0.0,
          hist_quantile(h, 0.5), hist_quantile(h, 0.9), hist_quantile(h, 0.99),
          hist_quantile(h, 0.999), h->max);
}

// `--name value`; a flag that is not in the argument list has its default.
static inline const char *option(int argc, char **argv, const char *name, const char *fallback) {
  for (int i = 1; i + 1 < argc; i++)
    if (argv[i][0] == '-' && argv[i][1] == '-' && strcmp(argv[i] + 2, name) == 0) return argv[i + 1];
  return fallback;
}

static inline long option_long(int argc, char **argv, const char *name, long fallback) {
  const char *text = option(argc, argv, name, NULL);
  return text ? strtol(text, NULL, 10) : fallback;
}

static inline void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

static inline void set_nodelay(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static inline struct sockaddr_in loopback(unsigned host, int port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  a.sin_addr.s_addr = htonl(0x7f000000u | (host & 0x00ffffffu));
  return a;
}

// A tool must not outlive the harness, whatever kills that; a peer that is gone is an errno.
static inline void tool_start(void) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_TIMERSLACK, 1000UL);
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
}

// The event's data: `<stream><number> <due micros> xxx...`, padded to `bytes`. Returns its length.
static inline int write_event_text(char *out, char stream, int64_t number, int64_t due, int bytes) {
  int n = sprintf(out, "%c%ld %ld ", stream, number, due);
  if (n < bytes) {
    memset(out + n, 'x', (size_t)(bytes - n));
    n = bytes;
  }
  return n;
}

// One line of standard input if a whole one is there: 1 with `line` filled, 0 for not yet, -1 at
// its end.
static inline int read_command(char *line, size_t size) {
  static char held[4096];
  static size_t length;
  for (;;) {
    char *end = memchr(held, '\n', length);
    if (end) {
      size_t n = (size_t)(end - held);
      snprintf(line, size, "%.*s", (int)n, held);
      length -= n + 1;
      memmove(held, end + 1, length);
      return 1;
    }
    if (length == sizeof held) return -1;
    ssize_t got = read(0, held + length, sizeof held - length);
    if (got < 0) return errno == EAGAIN ? 0 : -1;
    if (got == 0) return -1;
    length += (size_t)got;
  }
}
#endif
