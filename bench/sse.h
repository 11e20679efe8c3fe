// Reading one event stream, cheaply: HTTP/1.1 response head, chunk framing, lines, events.
// No allocation and no copy while an event lies whole inside one read, which is the usual case.
#ifndef SLUICE_BENCH_SSE_H
#define SLUICE_BENCH_SSE_H
#include "common.h"

#define CARRY_BYTES 512
#define STREAMS_MAX 4
// Cursors are of at most 128 bytes, and those of today of less than 40; a longer one is not resumed.
#define ID_BYTES 64

struct checks {
  uint64_t deliveries, bytes, gaps, missing, duplicates, reorders;
  uint64_t gap_events, close_events, overloads, chunks, chunks_cut, foreign;
  struct hist latency;
};

enum { HEAD, BODY_PLAIN, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, ENDED };

struct reader {
  uint8_t state, is_chunked, is_line_cut, has_data, stream, size_seen;
  // Of the block that is being read: a control event, `event: close`, an id.
  uint8_t is_control, is_close, has_next_id;
  // `event: close` has arrived whole.
  uint8_t has_goodbye;
  int status;
  uint32_t carry_length, block_lines;
  uint64_t chunk_left;
  int64_t number, due;
  int64_t last[STREAMS_MAX];
  char id[ID_BYTES], next_id[ID_BYTES];
  char connection_id[ID_BYTES];
  char carry[CARRY_BYTES];
};

static void reader_init(struct reader *r) {
  memset(r, 0, sizeof *r);
  for (int i = 0; i < STREAMS_MAX; i++) r->last[i] = -1;
}

// For the next connection of the same client: it keeps its place and nothing else.
static void reader_restart(struct reader *r) {
  int64_t last[STREAMS_MAX];
  char id[ID_BYTES];
  memcpy(last, r->last, sizeof last);
  memcpy(id, r->id, sizeof id);
  reader_init(r);
  memcpy(r->last, last, sizeof last);
  memcpy(r->id, id, sizeof id);
}

static inline const char *parse_number(const char *p, const char *end, int64_t *value) {
  int64_t v = 0;
  const char *start = p;
  while (p < end && (unsigned)(*p - '0') < 10) v = v * 10 + (*p++ - '0');
  *value = v;
  return p > start ? p : NULL;
}

// A whole event has arrived. Its number must follow the last of the same publisher's stream on this
// connection; the first one seen sets the place.
static inline void reader_event(struct reader *r, struct checks *c, int64_t now) {
  if (r->has_data) {
    int64_t last = r->last[r->stream];
    c->deliveries++;
    hist_record(&c->latency, now - r->due);
    if (last >= 0 && r->number != last + 1) {
      if (r->number == last) c->duplicates++;
      else if (r->number < last) c->reorders++;
      else {
        c->gaps++;
        c->missing += (uint64_t)(r->number - last - 1);
      }
    }
    if (r->number > last) r->last[r->stream] = r->number;
  }
  // The place moves with the blank line, not before (WHATWG HTML, 9.2.6): half an event is none.
  if (r->has_next_id) memcpy(r->id, r->next_id, ID_BYTES);
  if (r->is_close) r->has_goodbye = 1;
  r->has_next_id = r->is_control = r->is_close = 0;
  r->has_data = 0;
  r->block_lines = 0;
}

static inline void reader_line(struct reader *r, struct checks *c, const char *p, size_t n,
                               int64_t now) {
  if (n && p[n - 1] == '\r') n--;
  if (n == 0) {
    reader_event(r, c, now);
    return;
  }
  r->block_lines++;
  if (p[0] == 'd' && n > 6 && memcmp(p, "data:", 5) == 0 && !r->has_data) {
    const char *end = p + n;
    p += 5;
    if (p < end && *p == ' ') p++;
    if (r->is_control) {
      if (r->is_close && end - p == 10 && memcmp(p, "overloaded", 10) == 0) c->overloads++;
      return;
    }
    if (p < end && *p == '"') p++;  // a JSON string holds the same text
    unsigned stream = p < end ? (unsigned)(*p - 'a') : STREAMS_MAX;
    if (stream < STREAMS_MAX && (p = parse_number(p + 1, end, &r->number)) && p < end &&
        parse_number(p + 1, end, &r->due)) {
      r->stream = (uint8_t)stream;
      r->has_data = 1;
    } else {
      c->foreign++;
    }
  } else if (p[0] == 'i' && n > 4 && n - 4 < ID_BYTES && memcmp(p, "id: ", 4) == 0) {
    memcpy(r->next_id, p + 4, n - 4);
    r->next_id[n - 4] = 0;
    r->has_next_id = 1;
  } else if (p[0] == 'e' && n >= 9 && memcmp(p, "event: ", 7) == 0) {
    int is_gap = n == 10 && memcmp(p + 7, "gap", 3) == 0;
    r->is_close = n == 12 && memcmp(p + 7, "close", 5) == 0;
    r->is_control = is_gap || r->is_close;
    c->gap_events += (uint64_t)is_gap;
    c->close_events += r->is_close;
  }
}

static inline void reader_keep(struct reader *r, const char *p, size_t n) {
  size_t room = CARRY_BYTES - r->carry_length;
  if (n > room) n = room;  // only the head of a line is looked at, so the rest may go
  memcpy(r->carry + r->carry_length, p, n);
  r->carry_length += (uint32_t)n;
  r->is_line_cut = 1;
}

// Hot: a few memchr per event. Lines end in LF or CRLF; a lone CR is not understood here.
static inline void reader_body(struct reader *r, struct checks *c, const char *p, size_t n,
                               int64_t now) {
  const char *end = p + n;
  while (p < end) {
    const char *line_end = memchr(p, '\n', (size_t)(end - p));
    if (!line_end) {
      reader_keep(r, p, (size_t)(end - p));
      return;
    }
    if (r->is_line_cut) {
      reader_keep(r, p, (size_t)(line_end - p));
      reader_line(r, c, r->carry, r->carry_length, now);
      r->carry_length = 0;
      r->is_line_cut = 0;
    } else {
      reader_line(r, c, p, (size_t)(line_end - p), now);
    }
    p = line_end + 1;
  }
}

// The head is matched a byte at a time: it is read once per connection.
static const char *reader_head(struct reader *r, const char *p, const char *end) {
  for (; p < end; p++) {
    if (*p != '\n') {
      if (*p != '\r' && r->carry_length < CARRY_BYTES - 1) r->carry[r->carry_length++] = *p;
      continue;
    }
    r->carry[r->carry_length] = 0;
    int is_end = r->carry_length == 0;
    r->carry_length = 0;
    if (is_end) {
      r->state = r->is_chunked ? CHUNK_SIZE : BODY_PLAIN;
      return p + 1;
    }
    if (strncmp(r->carry, "HTTP/1.", 7) == 0) r->status = atoi(r->carry + 9);
    if (strncasecmp(r->carry, "transfer-encoding:", 18) == 0 && strcasestr(r->carry, "chunked"))
      r->is_chunked = 1;
    if (strncasecmp(r->carry, "sluice-connection:", 18) == 0)
      snprintf(r->connection_id, ID_BYTES, "%.*s", ID_BYTES - 1,
               r->carry + 18 + strspn(r->carry + 18, " "));
  }
  return p;
}

static void reader_feed(struct reader *r, struct checks *c, const char *p, size_t n, int64_t now) {
  const char *end = p + n;
  c->bytes += n;
  if (r->state == HEAD) p = reader_head(r, p, end);
  while (p < end) {
    if (r->state == BODY_PLAIN) {
      reader_body(r, c, p, (size_t)(end - p), now);
      return;
    }
    if (r->state == CHUNK_DATA) {
      size_t span = (size_t)(end - p) < r->chunk_left ? (size_t)(end - p) : (size_t)r->chunk_left;
      reader_body(r, c, p, span, now);
      p += span;
      r->chunk_left -= span;
      if (r->chunk_left == 0) {
        c->chunks++;
        if (r->is_line_cut || r->block_lines) c->chunks_cut++;
        r->state = CHUNK_END;
      }
    } else if (r->state == CHUNK_END) {
      if (*p++ == '\n') r->state = CHUNK_SIZE;
    } else if (r->state == CHUNK_SIZE) {
      char b = *p++;
      int digit = b >= '0' && b <= '9' ? b - '0' : (b | 32) >= 'a' && (b | 32) <= 'f' ? (b | 32) - 'a' + 10 : -1;
      if (digit >= 0) {
        r->chunk_left = r->chunk_left * 16 + (uint64_t)digit;
        r->size_seen = 1;
      } else if (b == '\n') {
        r->state = r->chunk_left ? CHUNK_DATA : ENDED;
        if (!r->size_seen) {
          fprintf(stderr, "bad chunk framing\n");
          r->state = ENDED;
          c->foreign++;
        }
        r->size_seen = 0;
      } else if (b != '\r') {
        fprintf(stderr, "bad byte 0x%02x in a chunk size\n", (unsigned char)b);
        r->state = ENDED;
        c->foreign++;
      }
    } else {
      return;
    }
  }
}
#endif
