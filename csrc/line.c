/* SPDX-License-Identifier: MIT */
/*
 * Both legs of a call, so that one tick of it is one call into C:
 *
 *   frames ─▶ ring of each leg ─▶ digit decoder ─┐
 *               │                 taps ──────────┴▶ reports, in positions of the call
 *               └─▶ read: what recordings keep
 *
 * Detectors work on the ring's memory, which is aligned; where the ring wraps they get
 * two parts, which changes nothing of what they report.
 */
#include "internal.h"

#include <string.h>

/* Of one voice detector, for as many samples as one call takes: at most one block of 100 ms. */
enum { EDGES_MAX = 5 + 2 + REC_VOICE_LOOK_BACK };

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* ---- taps ------------------------------------------------------------------ */

int rec_tap_init(rec_tap *self, uint32_t rate, int leg, int64_t start, int32_t source,
                 const rec_voice_options *options) {
  if ((leg != REC_SPEAK && leg != REC_LISTEN) || rec_voice_init(&self->voice, rate, options) != 0)
    return -1;
  self->next = NULL;
  self->start = start;
  self->leg = leg;
  self->source = source;
  self->patient = 0;
  return 0;
}

static int has_begun(const rec_tap *self) {
  return self->voice.position > 0 || self->voice.filled > 0;
}

void rec_tap_move(rec_tap *self, int64_t start) {
  if (!has_begun(self))
    self->start = start;
}

void rec_tap_set_patient(rec_tap *self, int patient) { self->patient = patient; }

int64_t rec_tap_settled_until(const rec_tap *self) {
  return self->start + rec_voice_settled_until(&self->voice);
}

/* ---- setting up -------------------------------------------------------------- */

int rec_line_init(rec_line *self, uint32_t rate, int64_t skew) {
  if (!rec_rate_supported(rate))
    return -1;
  memset(self, 0, sizeof *self);
  self->rate = rate;
  self->longest = rate / 10;
  self->skew = skew;
  self->due = INT64_MAX;
  self->keep_from = INT64_MAX;
  return 0;
}

/* The ring's memory from a position on, and how many of n samples fit before it wraps. */
static int16_t *ring_at(const rec_leg *leg, int64_t position, size_t n, size_t *fit) {
  const size_t at = (size_t)position & (leg->capacity - 1);
  *fit = n < leg->capacity - at ? n : leg->capacity - at;
  return leg->ring + at;
}

static void copy_from_ring(const rec_leg *leg, int64_t from, size_t n, int16_t *out) {
  while (n > 0) {
    size_t fit;
    const int16_t *pcm = ring_at(leg, from, n, &fit);
    memcpy(out, pcm, fit * sizeof *out);
    out += fit;
    from += (int64_t)fit;
    n -= fit;
  }
}

void rec_line_set_ring(rec_line *self, int leg, int16_t *memory, size_t capacity) {
  rec_leg *old = &self->legs[leg], bigger = *old;
  bigger.ring = memory;
  bigger.capacity = capacity;
  bigger.held_from = larger(old->held_from, old->position - (int64_t)capacity);
  for (int64_t at = bigger.held_from; at < old->position;) {
    size_t fit;
    int16_t *part = ring_at(&bigger, at, (size_t)(old->position - at), &fit);
    copy_from_ring(old, at, fit, part);
    at += (int64_t)fit;
  }
  *old = bigger;
}

void rec_line_set_reports(rec_line *self, rec_report *memory, size_t capacity) {
  if (self->waiting)
    memcpy(memory, self->reports, self->waiting * sizeof *memory);
  self->reports = memory;
  self->reports_capacity = capacity;
}

size_t rec_line_reports_needed(const rec_line *self) { return self->reports_needed; }

static void update_reports_needed(rec_line *self) {
  self->reports_needed = 0;
  for (int leg = 0; leg < REC_LEGS; leg++)
    if (self->legs[leg].decoder)
      self->reports_needed += rec_dtmf_edges_bound(self->rate, self->longest);
  for (const rec_tap *tap = self->taps; tap; tap = tap->next)
    self->reports_needed += rec_voice_edges_bound(&tap->voice, self->longest);
}

void rec_line_attach(rec_line *self, rec_tap *tap) {
  rec_tap **place = &self->taps; /* last, so that the oldest tap reports first */
  for (; *place; place = &(*place)->next)
    if (*place == tap)
      return;
  tap->next = NULL;
  *place = tap;
  update_reports_needed(self);
}

void rec_line_detach(rec_line *self, rec_tap *tap) {
  for (rec_tap **place = &self->taps; *place; place = &(*place)->next)
    if (*place == tap) {
      *place = tap->next;
      tap->next = NULL;
      update_reports_needed(self);
      return;
    }
}

void rec_line_decode(rec_line *self, int leg, rec_dtmf *decoder) {
  self->legs[leg].decoder = decoder;
  self->legs[leg].decoder_start = self->legs[leg].position;
  update_reports_needed(self);
}

/* ---- processing -------------------------------------------------------------- */

static void report(rec_line *self, const rec_edge *edges, size_t count, int64_t start,
                   int32_t source, int patient) {
  rec_report *out = self->reports + self->waiting;
  for (size_t i = 0; i < count; i++) {
    out[i].edge = edges[i];
    out[i].edge.position += start;
    out[i].edge.settled += start;
    out[i].source = source;
    self->urgent |= !patient || edges[i].kind == REC_VOICE_REVISED;
  }
  self->waiting += count;
}

/* Lets the leg's detectors process a part of the ring, the leg's next n samples. */
static void detect(rec_line *self, int which, const int16_t *pcm, size_t n) {
  const rec_leg *leg = &self->legs[which];
  const int64_t position = leg->position;
  rec_edge edges[EDGES_MAX];
  if (leg->decoder) {
    const size_t count = rec_dtmf_process(leg->decoder, pcm, n, edges);
    if (count)
      report(self, edges, count, leg->decoder_start, which, 0);
  }
  for (rec_tap *tap = self->taps; tap; tap = tap->next) {
    if (tap->leg != which || tap->start >= position + (int64_t)n)
      continue;
    size_t before = 0;
    if (!has_begun(tap)) {
      tap->start = larger(tap->start, position);
      before = (size_t)(tap->start - position);
    }
    const size_t count = rec_voice_process(&tap->voice, pcm + before, n - before, edges, NULL);
    if (count)
      report(self, edges, count, tap->start, tap->source, tap->patient);
  }
}

static void process_leg(rec_line *self, int which, const char *pcm, size_t n) {
  rec_leg *leg = &self->legs[which];
  if (!pcm)
    leg->filled += (int64_t)n;
  while (n > 0) {
    size_t fit;
    int16_t *part = ring_at(leg, leg->position, n, &fit);
    if (pcm) {
      memcpy(part, pcm, fit * sizeof *part);
      pcm += fit * sizeof *part;
    } else {
      memset(part, 0, fit * sizeof *part);
    }
    detect(self, which, part, fit);
    leg->position += (int64_t)fit;
    n -= fit;
  }
  leg->held_from = larger(leg->held_from, leg->position - (int64_t)leg->capacity);
}

/* Whether n more samples overwrite nothing that is kept. */
static int has_room(const rec_line *self, const rec_leg *leg, size_t n) {
  const int64_t kept = leg->position - smaller(leg->position, larger(self->keep_from, 0));
  return n == 0 || (uint64_t)kept + n <= leg->capacity;
}

int rec_line_process(rec_line *self, const char *speak, size_t n_speak, const char *listen,
                     size_t n_listen) {
  rec_leg *legs = self->legs;
  if (n_speak > self->longest || n_listen > self->longest)
    return -1;
  if (!has_room(self, &legs[REC_SPEAK], n_speak) || !has_room(self, &legs[REC_LISTEN], n_listen) ||
      self->reports_capacity - self->waiting < self->reports_needed)
    return -2;
  process_leg(self, REC_SPEAK, speak, n_speak);
  process_leg(self, REC_LISTEN, listen, n_listen);
  return self->urgent || larger(legs[REC_SPEAK].position, legs[REC_LISTEN].position) >= self->due;
}

static int feed_both(rec_line *self, const char *speak, const char *listen, size_t n, int64_t at) {
  rec_leg *a = &self->legs[REC_SPEAK], *b = &self->legs[REC_LISTEN];
  if (a->mode != REC_LEG_CONTINUES || b->mode != REC_LEG_CONTINUES || a->position != b->position ||
      (at != -1 && at != a->position))
    return -1;
  const int result = rec_line_process(self, speak, n, listen, n);
  if (result >= 0)
    a->alone = b->alone = 0;
  return result;
}

static int feed_one(rec_line *self, int which, const char *pcm, size_t n, int64_t at) {
  rec_leg *leg = &self->legs[which], *other = &self->legs[1 - which];
  if (leg->mode != REC_LEG_CONTINUES || (at != -1 && at != leg->position))
    return -1;
  const int64_t end = leg->position + (int64_t)n;
  /* The frame itself does not count as lead, unless it has a position. */
  const int64_t lead = at == -1 ? larger(self->skew, (int64_t)n) : self->skew;
  const int64_t behind = end - lead - other->position;
  if (behind > 0 && (other->mode != REC_LEG_QUIET || behind > (int64_t)self->longest))
    return -1;
  const size_t fill = behind > 0 ? (size_t)behind : 0;
  const int result = which == REC_SPEAK ? rec_line_process(self, pcm, n, NULL, fill)
                                        : rec_line_process(self, NULL, fill, pcm, n);
  if (result >= 0) {
    leg->alone += (int64_t)n;
    other->alone = 0;
  }
  return result;
}

int rec_line_feed(rec_line *self, const char *speak, size_t speak_bytes, const char *listen,
                  size_t listen_bytes, int64_t at) {
  const size_t bytes = speak ? speak_bytes : listen_bytes, n = bytes / sizeof(int16_t);
  if (bytes % sizeof(int16_t) || n == 0 || n > self->longest)
    return -1;
  if (speak && listen)
    return speak_bytes == listen_bytes ? feed_both(self, speak, listen, n, at) : -1;
  if (speak)
    return feed_one(self, REC_SPEAK, speak, n, at);
  return listen ? feed_one(self, REC_LISTEN, listen, n, at) : -1;
}

/* ---- reading ------------------------------------------------------------------ */

size_t rec_line_waiting(const rec_line *self) { return self->waiting; }

void rec_line_drop(rec_line *self, size_t n) {
  if (n > self->waiting)
    n = self->waiting;
  self->waiting -= n;
  if (self->waiting == 0)
    self->urgent = 0;
  if (n > 0 && self->waiting > 0)
    memmove(self->reports, self->reports + n, self->waiting * sizeof *self->reports);
}

void rec_line_read(const rec_line *self, int leg, int64_t from, size_t n, int16_t *out) {
  const rec_leg *one = &self->legs[leg];
  const int64_t end = from + (int64_t)n;
  const int64_t first = smaller(larger(from, one->held_from), end);
  const int64_t last = larger(smaller(end, one->position), first);
  memset(out, 0, (size_t)(first - from) * sizeof *out);
  copy_from_ring(one, first, (size_t)(last - first), out + (first - from));
  memset(out + (last - from), 0, (size_t)(end - last) * sizeof *out);
}

void rec_line_keep_from(rec_line *self, int64_t position) { self->keep_from = position; }

void rec_line_set_mode(rec_line *self, int leg, int mode) { self->legs[leg].mode = mode; }

void rec_line_set_alone(rec_line *self, int leg, int64_t n) { self->legs[leg].alone = n; }

void rec_line_set_due(rec_line *self, int64_t position) { self->due = position; }

int64_t rec_line_position(const rec_line *self, int leg) { return self->legs[leg].position; }

int64_t rec_line_filled(const rec_line *self, int leg) { return self->legs[leg].filled; }

int64_t rec_line_alone(const rec_line *self, int leg) { return self->legs[leg].alone; }

int64_t rec_line_digits_settled_until(const rec_line *self, int leg) {
  const rec_leg *one = &self->legs[leg];
  return one->decoder ? one->decoder_start + rec_dtmf_settled_until(one->decoder) : one->position;
}

int64_t rec_line_sounding(const rec_line *self, int leg, int digit) {
  const rec_leg *one = &self->legs[leg];
  const int64_t onset = one->decoder ? rec_dtmf_sounding(one->decoder, digit) : -1;
  return onset < 0 ? -1 : one->decoder_start + onset;
}

size_t rec_line_finish_digits(const rec_line *self, int leg, rec_dtmf *copy, rec_edge *edges) {
  const rec_leg *one = &self->legs[leg];
  if (!one->decoder)
    return 0;
  memcpy(copy, one->decoder, sizeof *copy);
  const size_t count = rec_dtmf_finish(copy, edges);
  for (size_t i = 0; i < count; i++) {
    edges[i].position += one->decoder_start;
    edges[i].settled += one->decoder_start;
  }
  return count;
}
