// The publisher: events on an ideal schedule over one connection, answers counted and not waited for.
// The due time of event n is start + n / rate whatever the server does, so a server that stalls the
// publisher pays for it in the latency that the readers measure (no coordinated omission).
// Options: --port --path (%d is the topic's number) --topics M (event n goes to topic n mod M)
// --mode post|ndjson --rate events/s (0: as fast as answers come) --bytes of an event's text
// --seconds --stream a..d --in-flight events --batch lines at most --batch-micros --start-in-millis
// --header (one more line of each request) --grace seconds to wait for answers after the end
// Prints one JSON line when all has been answered.
#include "common.h"
#include <poll.h>

#define OUT_BYTES (4 * 1024 * 1024)
#define REQUESTS_MAX 65536

static char out[OUT_BYTES], in[65536], head[512], batch[OUT_BYTES / 2], text[65536];
static size_t out_from, out_to;
static int64_t request_due[REQUESTS_MAX];
static int request_events[REQUESTS_MAX];
static uint64_t requests_sent, requests_answered, events_sent, events_answered, events_refused;
static int status_other, first_bad_status;
static struct hist answer_latency;

// Answers come in the order of the requests. Only the status line and Content-Length (or chunk
// sizes) are needed to find the next one.
static int body_left, is_chunked, chunk_state, status;
static char line[512];
static size_t line_length;

static void answered(int64_t now) {
  unsigned at = requests_answered++ % REQUESTS_MAX;
  hist_record(&answer_latency, now - request_due[at]);
  if (status >= 200 && status < 300) {
    events_answered += (uint64_t)request_events[at];
  } else {
    events_refused += (uint64_t)request_events[at];
    if (!status_other++) first_bad_status = status;
  }
}

enum { IN_HEAD, IN_BODY, IN_CHUNK_SIZE, IN_CHUNK_DATA, IN_CHUNK_END };
static int state = IN_HEAD;

static void answer_line(int64_t now) {
  line[line_length] = 0;
  if (state == IN_HEAD) {
    if (strncmp(line, "HTTP/1.", 7) == 0) {
      status = atoi(line + 9);
      body_left = 0;
      is_chunked = 0;
    } else if (strncasecmp(line, "content-length:", 15) == 0) {
      body_left = atoi(line + 15);
    } else if (strncasecmp(line, "transfer-encoding:", 18) == 0) {
      is_chunked = 1;
    } else if (line_length == 0 && status >= 200) {
      if (is_chunked) state = IN_CHUNK_SIZE;
      else if (body_left) state = IN_BODY;
      else answered(now);
    }
  } else if (state == IN_CHUNK_SIZE) {
    body_left = (int)strtol(line, NULL, 16);
    state = body_left ? IN_CHUNK_DATA : IN_CHUNK_END;
    chunk_state = body_left;
  } else if (state == IN_CHUNK_END) {
    state = chunk_state ? IN_CHUNK_SIZE : IN_HEAD;
    if (!chunk_state) answered(now);
  }
  line_length = 0;
}

static void read_answers(const char *p, size_t n, int64_t now) {
  for (const char *end = p + n; p < end;) {
    if (state == IN_BODY || state == IN_CHUNK_DATA) {
      size_t span = (size_t)(end - p) < (size_t)body_left ? (size_t)(end - p) : (size_t)body_left;
      p += span;
      body_left -= (int)span;
      if (body_left) continue;
      if (state == IN_BODY) answered(now);
      state = state == IN_BODY ? IN_HEAD : IN_CHUNK_END;
    } else if (*p == '\n') {
      p++;
      answer_line(now);
    } else {
      if (*p != '\r' && line_length < sizeof line - 1) line[line_length++] = *p;
      p++;
    }
  }
}

int main(int argc, char **argv) {
  tool_start();
  int port = (int)option_long(argc, argv, "port", 8080), bytes = (int)option_long(argc, argv, "bytes", 100);
  const char *path = option(argc, argv, "path", "/v1/topics/t");
  int is_batch = strcmp(option(argc, argv, "mode", "post"), "ndjson") == 0;
  long topics = option_long(argc, argv, "topics", 1), batch_max = option_long(argc, argv, "batch", 500);
  double rate = atof(option(argc, argv, "rate", "20")), seconds = atof(option(argc, argv, "seconds", "10"));
  char stream = option(argc, argv, "stream", "a")[0];
  uint64_t in_flight = (uint64_t)option_long(argc, argv, "in-flight", 4096);
  int64_t batch_micros = option_long(argc, argv, "batch-micros", 1000);
  if (batch_max > OUT_BYTES / 4 / (bytes + 8)) batch_max = OUT_BYTES / 4 / (bytes + 8);
  if (bytes > 60000 || in_flight > REQUESTS_MAX) {
    fprintf(stderr, "publish: --bytes or --in-flight is too large\n");
    return 1;
  }

  const char *header = option(argc, argv, "header", "");
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in to = loopback(1, port);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) die("connect to port %d", port);
  set_nonblocking(fd);
  set_nodelay(fd);

  int64_t start = now_micros() + 1000 * option_long(argc, argv, "start-in-millis", 100);
  uint64_t events_max = rate > 0 ? (uint64_t)(rate * seconds + 0.5) : UINT64_MAX;
  int64_t stop = start + (int64_t)(seconds * 1e6), limit = stop + 1000000 * option_long(argc, argv, "grace", 30);
  int is_over = 0, is_lost = 0;
  uint64_t late_max = 0;
  while (!is_lost) {
    int64_t now = now_micros(), next = now + 100000;
    is_over = events_sent >= events_max || (rate <= 0 && now >= stop);
    if (is_over && requests_answered == requests_sent) break;
    if (now >= limit) break;

    while (!is_over && now >= start && events_sent < events_max) {
      uint64_t open = events_sent - events_answered - events_refused;
      if (open >= in_flight || requests_sent - requests_answered >= REQUESTS_MAX) break;
      if (OUT_BYTES - out_to < OUT_BYTES / 4 + 65536 + 1024) break;
      // Which events are due now? A batch is released once a period, and holds all that are.
      uint64_t due_count = UINT64_MAX;
      if (rate > 0) {
        int64_t edge = is_batch ? start + (now - start) / batch_micros * batch_micros : now;
        due_count = (uint64_t)((double)(edge - start) * rate / 1e6) + 1;
        if (due_count > events_max) due_count = events_max;
        if (due_count <= events_sent) {
          next = is_batch ? edge + batch_micros : start + (int64_t)((double)events_sent * 1e6 / rate) + 1;
          break;
        }
      }
      size_t length = 0;
      int lines = 0;
      int64_t first_due = 0;
      uint64_t first = events_sent;
      do {
        int64_t due = rate > 0 ? start + (int64_t)((double)events_sent * 1e6 / rate) : now;
        if (!lines) first_due = due;
        if ((uint64_t)(now - due) > late_max && now > due) late_max = (uint64_t)(now - due);
        int n = write_event_text(text, stream, (int64_t)(events_sent / (uint64_t)topics), due, bytes);
        if (is_batch) batch[length++] = '"';
        memcpy(batch + length, text, (size_t)n);
        length += (size_t)n;
        if (is_batch) {
          batch[length++] = '"';
          batch[length++] = '\n';
        }
        lines++;
        events_sent++;
        // One topic a batch: with many topics each request carries one event.
      } while (is_batch && topics == 1 && lines < batch_max && events_sent < due_count &&
               open + (uint64_t)lines < in_flight);
      char target[256];
      long topic = (long)(first % (uint64_t)topics);
      snprintf(target, sizeof target, path, topic, topic);
      int n = snprintf(head, sizeof head,
                       "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: %s\r\n"
                       "Content-Length: %zu\r\n%s%s\r\n",
                       target, port, is_batch ? "application/x-ndjson" : "text/plain", length,
                       header, header[0] ? "\r\n" : "");
      memcpy(out + out_to, head, (size_t)n);
      memcpy(out + out_to + n, batch, length);
      out_to += (size_t)n + length;
      unsigned at = requests_sent++ % REQUESTS_MAX;
      request_due[at] = first_due;
      request_events[at] = lines;
      if (rate <= 0) now = now_micros();
    }

    if (out_to > out_from) {
      ssize_t sent = send(fd, out + out_from, out_to - out_from, MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) is_lost = 1;
      if (sent > 0) out_from += (size_t)sent;
      if (out_from == out_to) out_from = out_to = 0;
      else if (out_from > OUT_BYTES / 4) {
        memmove(out, out + out_from, out_to - out_from);
        out_to -= out_from;
        out_from = 0;
      }
    }
    struct pollfd p = {.fd = fd, .events = (short)(POLLIN | (out_to ? POLLOUT : 0))};
    now = now_micros();
    if (now < start) next = start;
    int64_t wait = next > now ? next - now : 0;
    struct timespec t = {.tv_sec = wait / 1000000, .tv_nsec = wait % 1000000 * 1000};
    if (ppoll(&p, 1, &t, NULL) > 0 && p.revents & (POLLIN | POLLHUP | POLLERR)) {
      ssize_t got = recv(fd, in, sizeof in, 0);
      if (got == 0 || (got < 0 && errno != EAGAIN)) is_lost = 1;
      if (got > 0) read_answers(in, (size_t)got, now_micros());
    }
  }
  double wall = (double)(now_micros() - start) / 1e6;
  printf("{\"msg\":\"done\",\"events\":%lu,\"answered\":%lu,\"refused\":%lu,\"requests\":%lu,"
         "\"requestsAnswered\":%lu,\"firstBadStatus\":%d,\"isLost\":%s,\"wallSeconds\":%.6f,"
         "\"perSecond\":%.1f,\"lateMicrosMax\":%lu,\"cpuSeconds\":%.4f,",
         events_sent, events_answered, events_refused, requests_sent, requests_answered,
         first_bad_status, is_lost ? "true" : "false", wall, (double)events_answered / wall, late_max,
         cpu_seconds());
  hist_print(stdout, "answerMicros", &answer_latency);
  printf("}\n");
  return is_lost || events_answered != events_sent;
}
