/* SPDX-License-Identifier: MIT */
/*
 * The line: the same reports as its detectors give alone, however it is cut; rings and reports
 * that lack room; and each frame that rec_line_feed refuses.
 */
#include "check.h"
#include "lines.h"
#include "signals.h"

static const rec_voice_options TRACKING = {44.0, 1, 0, 4}, GATE = {30.0, 0, 0, 4};

static void *tap_for(held_line *held, int leg, int64_t start, int source,
                     const rec_voice_options *options) {
  rec_tap *tap = allocate(1, sizeof *tap);
  CHECK(rec_tap_init(tap, held->line->rate, leg, start, source, options) == 0);
  rec_line_attach(held->line, tap);
  return tap;
}

static void check_log(edge_log *log, edge_log expected) {
  CHECK(edge_logs_equal(log, &expected));
  edge_log_free(&expected);
}

/* ---- against detectors alone ------------------------------------------------- */

/* The next piece of a leg: no more than one call takes. */
static size_t piece_of(const rec_line *line, size_t cut, size_t left, random_source *source) {
  const size_t piece = next_piece(cut, left, source);
  return piece < line->longest ? piece : line->longest;
}

static void check_cut(uint32_t rate, const signal_t *speak, const signal_t *listen, size_t cut) {
  random_source source = {2166136261u};
  const size_t n = speak->n, listen_from = n / 4;
  held_line held = held_new(rate, 0, 8192);
  const int64_t starts[3] = {0, (int64_t)n / 3, (int64_t)n / 5};
  rec_tap *taps[3] = {tap_for(&held, REC_SPEAK, starts[0], 2, &TRACKING),
                      tap_for(&held, REC_SPEAK, 5, 3, &GATE),
                      tap_for(&held, REC_LISTEN, starts[2], 4, &TRACKING)};
  rec_tap_move(taps[1], starts[1]);
  size_t done = 0, listened = 0, decoded_from = 0;
  while (done < n || listened < n) {
    const size_t a = piece_of(held.line, cut, n - done, &source);
    const size_t b = piece_of(held.line, cut, n - listened, &source);
    const int due = held_process(&held, speak->pcm + done, a, listen->pcm + listened, b);
    CHECK(due == (rec_line_waiting(held.line) > 0));
    done += a;
    listened += b;
    if (listened >= listen_from && !held.decoders[REC_LISTEN]) {
      decoded_from = listened;
      held_decode(&held, REC_LISTEN);
    }
    if (random_below(&source, 3) == 0)
      held_take(&held); /* or reports collect */
  }
  held_take(&held);
  CHECK(rec_line_position(held.line, REC_SPEAK) == (int64_t)n);
  CHECK(rec_line_filled(held.line, REC_SPEAK) == 0);
  check_log(&held.logs[REC_SPEAK], digits_alone(rate, speak->pcm, n, 0, 0));
  check_log(&held.logs[REC_LISTEN], digits_alone(rate, listen->pcm, n, decoded_from, 0));
  check_log(&held.logs[2], voice_alone(rate, &TRACKING, speak->pcm, n, 0));
  check_log(&held.logs[3], voice_alone(rate, &GATE, speak->pcm, n, (size_t)starts[1]));
  check_log(&held.logs[4], voice_alone(rate, &TRACKING, listen->pcm, n, (size_t)starts[2]));
  CHECK(held.logs[2].count > 3 && held.logs[0].count > 3); /* or the signal tests nothing */

  rec_dtmf *copy = allocate(1, sizeof *copy);
  rec_edge *edges = allocate(rec_edges_bound(rate, 0), sizeof *edges);
  for (int twice = 0; twice < 2; twice++) {
    edge_log last = {NULL, 0, 0};
    edge_log_add(&last, edges, rec_line_finish_digits(held.line, REC_LISTEN, copy, edges));
    check_log(&last, digits_alone(rate, listen->pcm, n, decoded_from, 1));
    edge_log_free(&last);
  }
  free(copy);
  free(edges);
  for (int i = 0; i < 3; i++) {
    rec_line_detach(held.line, taps[i]);
    free(taps[i]);
  }
  held_free(&held);
}

static void cutting_changes_nothing(void) {
  for (int r = 0; r < RATES; r++) {
    signal_t speak = signal_of_all(RATE[r], 4.0, 1013904223u + RATE[r]);
    signal_t listen = signal_of_all(RATE[r], 4.0, 69069u + RATE[r]);
    for (int c = 0; c < CUTS; c++) {
      if (CUT[c] == 1 && RATE[r] > 8000)
        continue; /* takes long and shows nothing more */
      check_case("rate %lu, pieces of %lu", (unsigned long)RATE[r], (unsigned long)CUT[c]);
      check_cut(RATE[r], &speak, &listen, CUT[c]);
    }
    signal_free(&speak);
    signal_free(&listen);
  }
}

/* ---- rings -------------------------------------------------------------------- */

static void check_read(const held_line *held, int leg, const int16_t *pcm, int64_t from, size_t n) {
  int16_t *out = allocate(n, sizeof *out);
  rec_line_read(held->line, leg, from, n, out);
  CHECK(memcmp(out, pcm, n * sizeof *out) == 0);
  free(out);
}

static void rings_wrap_and_grow(void) {
  signal_t signal = signal_of_extremes(8000, 50000, 5);
  const int16_t *pcm = signal.pcm;
  held_line held = held_new(8000, 0, 8192);
  check_case("a ring that wraps");
  for (size_t done = 0; done < 20000; done += 250)
    CHECK(held_process(&held, pcm + done, 250, pcm + done, 250) == 0);
  CHECK(held.grown == 0);
  check_read(&held, REC_SPEAK, pcm + 20000 - 8192, 20000 - 8192, 8192);

  check_case("a ring that is full");
  rec_line_keep_from(held.line, 20000 - 8192);
  char one[2] = {0, 0};
  CHECK(rec_line_process(held.line, one, 1, NULL, 0) == -2);
  CHECK(rec_line_process(held.line, NULL, 0, one, 1) == -2);
  CHECK(rec_line_process(held.line, NULL, 1, NULL, 0) == -2);
  CHECK(rec_line_process(held.line, NULL, 0, NULL, 0) == 0);
  CHECK(rec_line_position(held.line, REC_SPEAK) == 20000);
  CHECK(rec_line_position(held.line, REC_LISTEN) == 20000);
  CHECK(rec_line_filled(held.line, REC_SPEAK) == 0);
  check_read(&held, REC_SPEAK, pcm + 20000 - 8192, 20000 - 8192, 8192);

  check_case("a ring that grows");
  for (size_t done = 20000, piece; done < 50000; done += piece) {
    piece = 50000 - done < 797 ? 50000 - done : 797;
    held_process(&held, pcm + done, piece, pcm + done, piece);
  }
  CHECK(held.grown > 0 && held.capacity[REC_SPEAK] == 65536);
  check_read(&held, REC_SPEAK, pcm + 20000 - 8192, 20000 - 8192, 30000 + 8192);
  check_read(&held, REC_LISTEN, pcm + 20000 - 8192, 20000 - 8192, 30000 + 8192);

  check_case("what is not held is silence");
  int16_t silence[300] = {0}, *edge = allocate(300, sizeof *edge);
  memcpy(edge, pcm + 50000 - 100, 100 * sizeof *edge);
  check_read(&held, REC_SPEAK, edge, 50000 - 100, 300);
  check_read(&held, REC_SPEAK, silence, 60000, 300);
  check_read(&held, REC_SPEAK, silence, 0, 300);
  check_read(&held, REC_SPEAK, silence, -500, 300);
  free(edge);

  check_case("a ring that shrinks");
  held_set_ring(&held, REC_SPEAK, 1024);
  check_read(&held, REC_SPEAK, pcm + 50000 - 1024, 50000 - 1024, 1024);
  check_read(&held, REC_SPEAK, silence, 50000 - 2000, 300);
  held_free(&held);
  signal_free(&signal);
}

/* ---- reports ------------------------------------------------------------------- */

static void reports_wait_for_room(void) {
  check_case("room for reports");
  signal_t signal = signal_of_all(8000, 4.0, 7u);
  held_line held = held_new(8000, 0, 8192);
  rec_tap *tap = tap_for(&held, REC_SPEAK, 0, 2, &GATE);
  char zeros[320] = {0};
  CHECK(rec_line_process(held.line, zeros, 160, NULL, 0) == -2); /* for want of the tap's room */
  CHECK(rec_line_position(held.line, REC_SPEAK) == 0);
  size_t refused = 0, before = 0;
  for (size_t done = 0; done + 160 <= signal.n; done += 160) {
    const int refusals = held.grown;
    held_process(&held, signal.pcm + done, 160, NULL, 0);
    refused += (size_t)(held.grown - refusals);
    CHECK(rec_line_waiting(held.line) >= before); /* appended behind those that wait */
    before = rec_line_waiting(held.line);
  }
  CHECK(refused > 1 && before > 4);

  /* Dropping some leaves the others in order. */
  rec_report *copy = allocate(before, sizeof *copy);
  memcpy(copy, held.reports, before * sizeof *copy);
  rec_line_drop(held.line, 0);
  CHECK(rec_line_waiting(held.line) == before);
  rec_line_drop(held.line, 3);
  CHECK(rec_line_waiting(held.line) == before - 3);
  for (size_t i = 3; i < before; i++)
    CHECK(copy[i].edge.position == held.reports[i - 3].edge.position &&
          copy[i].edge.kind == held.reports[i - 3].edge.kind &&
          copy[i].source == held.reports[i - 3].source);
  rec_line_drop(held.line, SIZE_MAX);
  CHECK(rec_line_waiting(held.line) == 0);
  free(copy);

  /* A detached tap has no more; detaching it again does nothing. */
  rec_line_detach(held.line, tap);
  rec_line_detach(held.line, tap);
  const int64_t settled = rec_tap_settled_until(tap);
  held_process(&held, signal.pcm, 800, NULL, 0);
  CHECK(rec_tap_settled_until(tap) == settled);
  free(tap);
  held_free(&held);
  signal_free(&signal);
}

static void due_at_a_position(void) {
  check_case("due");
  held_line held = held_new(8000, 0, 8192);
  rec_line_set_due(held.line, 500);
  CHECK(held_process(&held, NULL, 400, NULL, 0) == 0);
  CHECK(held_process(&held, NULL, 0, NULL, 499) == 0);
  CHECK(held_process(&held, NULL, 0, NULL, 1) == 1);
  CHECK(held_process(&held, NULL, 0, NULL, 0) == 1);
  rec_line_set_due(held.line, 501);
  CHECK(held_process(&held, NULL, 0, NULL, 0) == 0);
  held_free(&held);
}

static void silence_and_limits(void) {
  check_case("silence and limits");
  held_line held = held_new(8000, 0, 8192);
  int16_t loud[800], silence[800] = {0};
  for (int i = 0; i < 800; i++)
    loud[i] = 9999;
  CHECK(held_process(&held, loud, 800, NULL, 300) == 0);
  CHECK(held_process(&held, NULL, 500, loud, 100) == 0);
  CHECK(rec_line_filled(held.line, REC_SPEAK) == 500 &&
        rec_line_filled(held.line, REC_LISTEN) == 300);
  check_read(&held, REC_SPEAK, silence, 800, 500);
  check_read(&held, REC_LISTEN, silence, 0, 300);
  check_read(&held, REC_LISTEN, loud, 300, 100);
  CHECK(rec_line_process(held.line, NULL, 801, NULL, 0) == -1);
  CHECK(rec_line_process(held.line, NULL, 0, NULL, SIZE_MAX) == -1);
  CHECK(rec_line_position(held.line, REC_SPEAK) == 1300);
  rec_line line;
  CHECK(rec_line_init(&line, 11025, 0) == -1);
  rec_tap *tap = allocate(1, sizeof *tap);
  const rec_voice_options wrong = {101.0, 0, 0, 4};
  CHECK(rec_tap_init(tap, 8000, 0, 0, 2, &wrong) == -1);
  CHECK(rec_tap_init(tap, 8000, 2, 0, 2, &GATE) == -1);
  CHECK(rec_tap_init(tap, 8000, -1, 0, 2, &GATE) == -1);
  CHECK(rec_tap_init(tap, 8001, 0, 0, 2, &GATE) == -1);
  free(tap);
  held_free(&held);
}

/* ---- taps ------------------------------------------------------------------------ */

/* A tap begins no earlier than its leg is, and cannot move once it has begun. */
static void taps_begin_where_the_leg_is(void) {
  check_case("where taps begin");
  held_line held = held_new(8000, 0, 8192);
  held_process(&held, NULL, 700, NULL, 0);
  rec_tap *tap = tap_for(&held, REC_SPEAK, 100, 2, &GATE);
  held_grow_reports(&held);
  CHECK(rec_tap_settled_until(tap) == 100);
  held_process(&held, NULL, 0, NULL, 700);
  CHECK(rec_tap_settled_until(tap) == 100); /* the other leg is none of its business */
  held_process(&held, NULL, 1, NULL, 0);
  CHECK(rec_tap_settled_until(tap) == 700);
  rec_tap_move(tap, 2000);
  CHECK(rec_tap_settled_until(tap) == 700);
  held_process(&held, NULL, 319, NULL, 0);
  CHECK(rec_tap_settled_until(tap) == 700 + 320);
  rec_line_detach(held.line, tap);
  free(tap);
  held_free(&held);
}

/* ---- digits ----------------------------------------------------------------------- */

static void digits_that_sound(void) {
  for (int r = 0; r < RATES; r++) {
    check_case("rate %lu", (unsigned long)RATE[r]);
    const size_t frame = rec_level_frame(RATE[r]), lead = 10 * frame;
    signal_t signal = signal_new(RATE[r], 30 * frame);
    signal_tone(&signal, 0, signal.n, low_tone_hz('7'), 8000.0, 0.0);
    signal_tone(&signal, 0, signal.n, high_tone_hz('7'), 8000.0, 0.0);
    signal_round(&signal);
    held_line held = held_new(RATE[r], 0, 65536);
    for (int i = 0; i < 10; i++)
      held_process(&held, NULL, frame, NULL, frame);
    held_decode(&held, REC_LISTEN);
    held_grow_reports(&held);
    CHECK(rec_line_sounding(held.line, REC_SPEAK, '7') == -1);
    for (size_t done = 0; done < signal.n; done += frame)
      held_process(&held, signal.pcm + done, frame, signal.pcm + done, frame);
    held_take(&held);
    CHECK_NEAR((double)rec_line_sounding(held.line, REC_SPEAK, '7'), (double)lead, RATE[r] / 500.0);
    CHECK(rec_line_sounding(held.line, REC_SPEAK, '8') == -1);
    for (int leg = 0; leg < REC_LEGS; leg++) {
      CHECK(held.logs[leg].count == 1);
      CHECK_NEAR((double)held.logs[leg].edges[0].position, (double)lead, RATE[r] / 500.0);
      const int64_t settled = rec_line_digits_settled_until(held.line, leg);
      CHECK(settled > (int64_t)(lead + signal.n - 4 * frame) &&
            settled <= rec_line_position(held.line, leg));
    }
    rec_line_decode(held.line, REC_LISTEN, NULL);
    rec_line_decode(held.line, REC_SPEAK, NULL);
    CHECK(rec_line_sounding(held.line, REC_SPEAK, '7') == -1);
    CHECK(rec_line_reports_needed(held.line) == 0);
    CHECK(rec_line_digits_settled_until(held.line, REC_SPEAK) == (int64_t)(lead + signal.n));
    CHECK(rec_line_finish_digits(held.line, REC_SPEAK, NULL, NULL) == 0);
    held_free(&held);
    signal_free(&signal);
  }
}

/* ---- frames that are where they are expected ------------------------------------------ */

enum { SKEW = 400 };

typedef struct {
  int64_t position[REC_LEGS], filled[REC_LEGS], alone[REC_LEGS];
} standing;

static standing stands(const held_line *held) {
  standing s;
  for (int leg = 0; leg < REC_LEGS; leg++) {
    s.position[leg] = rec_line_position(held->line, leg);
    s.filled[leg] = rec_line_filled(held->line, leg);
    s.alone[leg] = rec_line_alone(held->line, leg);
  }
  return s;
}

/* Refused, with nothing changed. */
static void check_refused(held_line *held, int result, const char *speak, size_t speak_bytes,
                          const char *listen, size_t listen_bytes, int64_t at) {
  const standing before = stands(held);
  CHECK(rec_line_feed(held->line, speak, speak_bytes, listen, listen_bytes, at) == result);
  const standing after = stands(held);
  CHECK(memcmp(&before, &after, sizeof before) == 0);
}

static void check_stands(const held_line *held, int64_t speak, int64_t listen, int64_t filled_speak,
                         int64_t filled_listen, int64_t alone_speak, int64_t alone_listen) {
  const standing s = stands(held);
  CHECK(s.position[0] == speak && s.position[1] == listen);
  CHECK(s.filled[0] == filled_speak && s.filled[1] == filled_listen);
  CHECK(s.alone[0] == alone_speak && s.alone[1] == alone_listen);
}

static void set_modes(held_line *held, int speak, int listen) {
  rec_line_set_mode(held->line, REC_SPEAK, speak);
  rec_line_set_mode(held->line, REC_LISTEN, listen);
}

static void feeding_both(void) {
  check_case("both legs fed");
  static const char pcm[3200] = {0};
  held_line held = held_new(8000, SKEW, 8192);
  static const int modes[] = {REC_LEG_ASK, REC_LEG_CONTINUES, REC_LEG_QUIET};
  for (int a = 0; a < 3; a++)
    for (int b = 0; b < 3; b++)
      if (a != 1 || b != 1) {
        set_modes(&held, modes[a], modes[b]);
        check_refused(&held, -1, pcm, 320, pcm, 320, -1);
      }
  set_modes(&held, REC_LEG_CONTINUES, REC_LEG_CONTINUES);
  check_refused(&held, -1, pcm, 320, pcm, 318, -1);
  check_refused(&held, -1, pcm, 319, pcm, 319, -1);
  check_refused(&held, -1, pcm, 1602, pcm, 1602, -1);
  check_refused(&held, -1, pcm, 0, pcm, 0, -1);
  check_refused(&held, -1, pcm, 320, pcm, 320, 1);
  check_refused(&held, -1, pcm, 320, pcm, 320, -2);
  check_refused(&held, -1, NULL, 320, NULL, 320, -1);
  CHECK(rec_line_feed(held.line, pcm, 320, pcm, 320, -1) == 0);
  CHECK(rec_line_feed(held.line, pcm, 1600, pcm, 1600, 160) == 0);
  check_stands(&held, 960, 960, 0, 0, 0, 0);
  CHECK(rec_line_feed(held.line, pcm, 320, NULL, 0, -1) == 0); /* within the skew */
  check_stands(&held, 1120, 960, 0, 0, 160, 0);
  check_refused(&held, -1, pcm, 320, pcm, 320, -1); /* not at one position */
  CHECK(rec_line_feed(held.line, NULL, 0, pcm, 320, 960) == 0);
  check_stands(&held, 1120, 1120, 0, 0, 0, 160);
  rec_line_set_alone(held.line, REC_SPEAK, 77);
  CHECK(rec_line_alone(held.line, REC_SPEAK) == 77);
  rec_line_keep_from(held.line, 0);
  while (rec_line_position(held.line, REC_SPEAK) < 8000)
    CHECK(rec_line_feed(held.line, pcm, 320, pcm, 320, -1) == 0);
  check_refused(&held, -2, pcm, 400, pcm, 400, -1); /* the ring is full */
  rec_line_keep_from(held.line, INT64_MAX);
  rec_line_set_due(held.line, 8200);
  CHECK(rec_line_feed(held.line, pcm, 400, pcm, 400, 8000) == 1);
  check_stands(&held, 8200, 8200, 0, 0, 0, 0);
  held_free(&held);
}

/* One leg; which of the two makes no difference. */
static void feeding_one(void) {
  static const char pcm[3200] = {0};
  for (int leg = 0; leg < REC_LEGS; leg++) {
    check_case("leg %d fed", leg);
    held_line held = held_new(8000, SKEW, 8192);
    const int other = 1 - leg;
    const char *speak = leg == REC_SPEAK ? pcm : NULL, *listen = leg == REC_LISTEN ? pcm : NULL;
    rec_line_set_mode(held.line, leg, REC_LEG_ASK);
    rec_line_set_mode(held.line, other, REC_LEG_QUIET);
    check_refused(&held, -1, speak, 320, listen, 320, -1);
    rec_line_set_mode(held.line, leg, REC_LEG_QUIET);
    check_refused(&held, -1, speak, 320, listen, 320, -1);
    rec_line_set_mode(held.line, leg, REC_LEG_CONTINUES);
    check_refused(&held, -1, speak, 321, listen, 321, -1);
    check_refused(&held, -1, speak, 1602, listen, 1602, -1);
    check_refused(&held, -1, speak, 0, listen, 0, -1);
    check_refused(&held, -1, speak, 320, listen, 320, 160);
    /* Two frames leave the other 320 behind, within the skew; the third would be 80 too many. */
    rec_line_set_mode(held.line, other, REC_LEG_CONTINUES);
    CHECK(rec_line_feed(held.line, speak, 320, listen, 320, 0) == 0);
    CHECK(rec_line_feed(held.line, speak, 320, listen, 320, -1) == 0);
    check_refused(&held, -1, speak, 320, listen, 320, -1);
    rec_line_set_mode(held.line, other, REC_LEG_ASK);
    check_refused(&held, -1, speak, 320, listen, 320, -1);
    rec_line_set_mode(held.line, other, REC_LEG_QUIET);
    CHECK(rec_line_feed(held.line, speak, 320, listen, 320, -1) == 0);
    CHECK(rec_line_position(held.line, leg) == 480 && rec_line_position(held.line, other) == 80);
    CHECK(rec_line_filled(held.line, leg) == 0 && rec_line_filled(held.line, other) == 80);
    CHECK(rec_line_alone(held.line, leg) == 480 && rec_line_alone(held.line, other) == 0);
    /* A frame longer than the skew: the other is at most that much behind. */
    CHECK(rec_line_feed(held.line, speak, 1600, listen, 1600, -1) == 0);
    CHECK(rec_line_position(held.line, leg) == 1280 && rec_line_position(held.line, other) == 480);
    /* So far behind that one call cannot fill it. */
    CHECK(held_process(&held, NULL, leg ? 0 : 800, NULL, leg ? 800 : 0) == 0);
    check_refused(&held, -1, speak, 1600, listen, 1600, -1);
    /* The ring of the other leg is full, then that of this one. */
    CHECK(held_process(&held, NULL, leg ? 800 : 0, NULL, leg ? 0 : 800) == 0);
    held_set_ring(&held, other, 1024);
    rec_line_keep_from(held.line, rec_line_position(held.line, other) - 1000);
    check_refused(&held, -2, speak, 320, listen, 320, -1);
    held_set_ring(&held, other, 8192);
    held_set_ring(&held, leg, 1024);
    check_refused(&held, -2, speak, 320, listen, 320, -1);
    held_free(&held);
  }
}

int main(void) {
  cutting_changes_nothing();
  rings_wrap_and_grow();
  reports_wait_for_room();
  due_at_a_position();
  silence_and_limits();
  taps_begin_where_the_leg_is();
  digits_that_sound();
  feeding_both();
  feeding_one();
  return check_report("test_line");
}
