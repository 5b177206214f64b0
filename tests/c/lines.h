/* SPDX-License-Identifier: MIT */
/*
 * A line in memory of exactly its size, as a caller keeps it: rings and reports grow when a call
 * says that they lack room. For the tests and the fuzzer of the line.
 */
#ifndef LINES_H
#define LINES_H

#include "signals.h"

enum { LEG_SOURCES = 2, TAPS_MAX = 4, SOURCES = LEG_SOURCES + TAPS_MAX };

typedef struct {
  rec_line *line;
  int16_t *rings[REC_LEGS];
  size_t capacity[REC_LEGS];
  rec_report *reports;
  size_t reports_capacity;
  rec_dtmf *decoders[REC_LEGS];
  edge_log logs[SOURCES];
  int grown;
} held_line;

static inline void held_set_ring(held_line *held, int leg, size_t capacity) {
  int16_t *memory = allocate(capacity, sizeof *memory);
  rec_line_set_ring(held->line, leg, memory, capacity);
  free(held->rings[leg]);
  held->rings[leg] = memory;
  held->capacity[leg] = capacity;
}

static inline void held_grow_reports(held_line *held) {
  const size_t needed = rec_line_waiting(held->line) + rec_line_reports_needed(held->line);
  if (needed <= held->reports_capacity)
    return;
  rec_report *memory = allocate(needed, sizeof *memory);
  rec_line_set_reports(held->line, memory, needed);
  free(held->reports);
  held->reports = memory;
  held->reports_capacity = needed;
}

static inline void held_decode(held_line *held, int leg) {
  held->decoders[leg] = allocate(1, sizeof **held->decoders);
  rec_dtmf_init(held->decoders[leg], tables_for(held->line->rate));
  rec_line_decode(held->line, leg, held->decoders[leg]);
}

static inline held_line held_new(uint32_t rate, int64_t skew, size_t capacity) {
  held_line held = {.line = allocate(1, sizeof *held.line)};
  if (rec_line_init(held.line, rate, skew) != 0)
    abort();
  for (int leg = 0; leg < REC_LEGS; leg++)
    held_set_ring(&held, leg, capacity);
  held_decode(&held, REC_SPEAK);
  held_grow_reports(&held);
  return held;
}

static inline void held_free(held_line *held) {
  for (int leg = 0; leg < REC_LEGS; leg++) {
    free(held->rings[leg]);
    free(held->decoders[leg]);
  }
  for (int source = 0; source < SOURCES; source++)
    edge_log_free(&held->logs[source]);
  free(held->reports);
  free(held->line);
}

/* The reports waiting go to the log of their source. */
static inline void held_take(held_line *held) {
  const size_t count = rec_line_waiting(held->line);
  for (size_t i = 0; i < count; i++)
    edge_log_add(&held->logs[held->reports[i].source], &held->reports[i].edge, 1);
  rec_line_drop(held->line, count);
}

/* Room after a call returned -2: first for reports, then in the rings. */
static inline void held_grow(held_line *held) {
  held->grown++;
  const size_t before = held->reports_capacity;
  held_grow_reports(held);
  if (held->reports_capacity == before)
    for (int leg = 0; leg < REC_LEGS; leg++)
      held_set_ring(held, leg, 2 * held->capacity[leg]);
}

/* The samples as bytes at an odd address, in memory of exactly their size. */
static inline char *at_odd_address(const int16_t *pcm, size_t n) {
  char *bytes = allocate(2 * n + 1, 1);
  if (n)
    memcpy(bytes + 1, pcm, 2 * n);
  return bytes;
}

static inline int held_process(held_line *held, const int16_t *speak, size_t n,
                               const int16_t *listen, size_t m) {
  char *a = speak ? at_odd_address(speak, n) : NULL, *b = listen ? at_odd_address(listen, m) : NULL;
  int due;
  while ((due = rec_line_process(held->line, a ? a + 1 : NULL, n, b ? b + 1 : NULL, m)) == -2)
    held_grow(held);
  free(a);
  free(b);
  return due;
}

/* What a detector on its own reports of pcm[start] to pcm[n], in positions from pcm[0]. */
static inline edge_log voice_alone(uint32_t rate, const rec_voice_options *options,
                                   const int16_t *pcm, size_t n, size_t start) {
  edge_log log = {NULL, 0, 0};
  if (start >= n)
    return log;
  rec_voice *voice = allocate(1, sizeof *voice);
  rec_edge *edges = allocate(rec_edges_bound(rate, n - start), sizeof *edges);
  if (rec_voice_init(voice, rate, options) != 0)
    abort();
  edge_log_add(&log, edges, rec_voice_process(voice, pcm + start, n - start, edges, NULL));
  for (size_t i = 0; i < log.count; i++) {
    log.edges[i].position += (int64_t)start;
    log.edges[i].settled += (int64_t)start;
  }
  free(voice);
  free(edges);
  return log;
}

/* The same of a decoder; with `finish` what the end adds, and only that. */
static inline edge_log digits_alone(uint32_t rate, const int16_t *pcm, size_t n, size_t start,
                                    int finish) {
  edge_log log = {NULL, 0, 0};
  rec_dtmf *dtmf = allocate(1, sizeof *dtmf);
  rec_edge *edges = allocate(rec_edges_bound(rate, n - start), sizeof *edges);
  rec_dtmf_init(dtmf, tables_for(rate));
  size_t count = rec_dtmf_process(dtmf, pcm + start, n - start, edges);
  if (finish)
    count = rec_dtmf_finish(dtmf, edges);
  edge_log_add(&log, edges, count);
  for (size_t i = 0; i < log.count; i++) {
    log.edges[i].position += (int64_t)start;
    log.edges[i].settled += (int64_t)start;
  }
  free(dtmf);
  free(edges);
  return log;
}

#endif
