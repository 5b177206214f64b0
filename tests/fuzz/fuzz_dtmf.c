/* SPDX-License-Identifier: MIT */
/* The digit decoder: any sound, cut anywhere. */
#include "fuzz.h"

typedef struct {
  int64_t onset[16]; /* of a digit that was reported and has not ended; -1: none */
  int64_t last[16];  /* its newest edge */
  int64_t settled;   /* as returned last */
} reported;

static void follow(reported *t, const rec_edge *edges, size_t count, int64_t fed) {
  for (size_t i = 0; i < count; i++) {
    const rec_edge *edge = &edges[i];
    const char *place = edge->detail ? strchr(DIGITS, edge->detail) : NULL;
    REQUIRE(place);
    const size_t d = (size_t)(place - DIGITS);
    REQUIRE(edge->settled == 0);
    REQUIRE(edge->position >= t->last[d] && edge->position <= fed);
    REQUIRE(edge->kind == (t->onset[d] < 0 ? REC_DIGIT_START : REC_DIGIT_END));
    REQUIRE(edge->kind == REC_DIGIT_END || edge->position >= t->settled);
    t->onset[d] = edge->kind == REC_DIGIT_START ? edge->position : -1;
    t->last[d] = edge->position;
  }
}

static void check_sounding(const rec_dtmf *dtmf, const reported *t) {
  for (size_t d = 0; d < 16; d++) {
    const int64_t sounding = rec_dtmf_sounding(dtmf, DIGITS[d]);
    REQUIRE(sounding == t->onset[d]);
  }
  static const int none[] = {-1, 0, 'E', 'a', 0x7fffffff};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++)
    REQUIRE(rec_dtmf_sounding(dtmf, none[i]) == -1);
}

static edge_log decode(const signal_t *signal, cutting how) {
  const size_t n = signal->n;
  edge_log log = {NULL, 0, 0};
  reported t = {.settled = 0};
  for (int d = 0; d < 16; d++)
    t.onset[d] = -1;
  rec_dtmf *dtmf = malloc(sizeof *dtmf);
  REQUIRE(dtmf);
  rec_dtmf_init(dtmf, tables_for(signal->rate));
  REQUIRE(rec_dtmf_settled_until(dtmf) == 0);
  size_t piece;
  for (size_t done = 0; done < n; done += piece) {
    piece = cut_next(&how, n, done);
    const int64_t fed = (int64_t)(done + piece);
    int16_t *pcm = exactly(signal->pcm + done, piece);
    rec_edge *edges = room_for_edges(signal->rate, piece);
    const size_t count = rec_dtmf_process(dtmf, pcm, piece, edges);
    REQUIRE(count <= rec_edges_bound(signal->rate, piece));
    follow(&t, edges, count, fed);
    REQUIRE(rec_dtmf_settled_until(dtmf) >= t.settled && rec_dtmf_settled_until(dtmf) <= fed);
    t.settled = rec_dtmf_settled_until(dtmf);
    check_sounding(dtmf, &t);
    edge_log_add(&log, edges, count);
    free(pcm);
    free(edges);
  }
  rec_edge *edges = room_for_edges(signal->rate, 0);
  const size_t count = rec_dtmf_finish(dtmf, edges);
  REQUIRE(count <= rec_edges_bound(signal->rate, 0));
  follow(&t, edges, count, (int64_t)n);
  for (int d = 0; d < 16; d++)
    REQUIRE(t.onset[d] < 0); /* all closed */
  edge_log_add(&log, edges, count);
  free(edges);
  free(dtmf);
  return log;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  program p = {data, data + size};
  const uint32_t rate = take_rate(&p);
  cutting how = take_cutting(&p);
  signal_t signal = expand(&p, rate, 4.0);
  edge_log whole = decode(&signal, (cutting){signal.n, {1}});
  edge_log cut = decode(&signal, how);
  REQUIRE(edge_logs_equal(&whole, &cut));
  edge_log_free(&whole);
  edge_log_free(&cut);
  signal_free(&signal);
  return 0;
}
