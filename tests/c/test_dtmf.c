/* SPDX-License-Identifier: MIT */
/*
 * The digit decoder: which digits, from when to when, at every rate; what is none;
 * and that neither the cutting nor any samples at all upset it.
 */
#include "check.h"
#include "signals.h"

/* ---- decoding ------------------------------------------------------------- */

/* On the heap, whose limits the sanitizer checks. */
static rec_dtmf *decoder_for(uint32_t rate) {
  rec_dtmf *dtmf = allocate(1, sizeof *dtmf);
  rec_dtmf_init(dtmf, tables_for(rate));
  return dtmf;
}

/* A start must not come before what was settled, nor that go back. */
static void check_settled(const rec_dtmf *dtmf, const rec_edge *edges, size_t count, int64_t done,
                          int64_t *settled) {
  for (size_t i = 0; i < count; i++)
    CHECK(edges[i].kind == REC_DIGIT_END || edges[i].position >= *settled);
  CHECK(rec_dtmf_settled_until(dtmf) >= *settled);
  *settled = rec_dtmf_settled_until(dtmf);
  CHECK(*settled <= done);
}

/* Samples and edges are in memory of exactly their size, for the sanitizer to see a
 * read past the samples or a write past the room that the header asks for. */
static edge_log decode(uint32_t rate, const int16_t *pcm, size_t n, size_t cut) {
  random_source source = {2166136261u};
  edge_log log = {NULL, 0, 0};
  rec_dtmf *dtmf = decoder_for(rate);
  CHECK(rec_dtmf_settled_until(dtmf) == 0);
  int64_t settled = 0;
  size_t piece;
  for (size_t done = 0; done < n; done += piece) {
    piece = next_piece(cut, n - done, &source);
    int16_t *part = allocate(piece, sizeof *part);
    memcpy(part, pcm + done, piece * sizeof *part);
    rec_edge *edges = allocate(rec_edges_bound(rate, piece), sizeof *edges);
    size_t count = rec_dtmf_process(dtmf, part, piece, edges);
    CHECK(count <= rec_edges_bound(rate, piece));
    check_settled(dtmf, edges, count, (int64_t)(done + piece), &settled);
    edge_log_add(&log, edges, count);
    free(part);
    free(edges);
  }
  rec_edge *edges = allocate(rec_edges_bound(rate, 0), sizeof *edges);
  size_t count = rec_dtmf_finish(dtmf, edges);
  CHECK(count <= rec_edges_bound(rate, 0));
  for (size_t i = 0; i < count; i++)
    CHECK(edges[i].kind == REC_DIGIT_END || edges[i].position >= settled);
  edge_log_add(&log, edges, count);
  free(edges);
  free(dtmf);
  return log;
}

/* Per digit: start, end, start, end, in order and within the samples; all closed. */
static void check_well_formed(const edge_log *log, size_t n) {
  int64_t last[16];
  int open[16] = {0};
  for (int d = 0; d < 16; d++)
    last[d] = 0;
  for (size_t i = 0; i < log->count; i++) {
    const rec_edge *edge = &log->edges[i];
    const char *found = edge->detail ? strchr(DIGITS, edge->detail) : NULL;
    CHECK(found != NULL);
    if (!found)
      continue;
    const size_t d = (size_t)(found - DIGITS);
    CHECK(edge->kind == (open[d] ? REC_DIGIT_END : REC_DIGIT_START));
    CHECK(edge->position >= last[d] && edge->position <= (int64_t)n);
    open[d] = edge->kind == REC_DIGIT_START;
    last[d] = edge->position;
  }
  for (int d = 0; d < 16; d++)
    CHECK(!open[d]);
}

/* ---- dialling -------------------------------------------------------------- */

typedef struct {
  const char *digits;
  double on_ms, off_ms;
  double low_dbm0, high_dbm0;
  double low_error, high_error; /* of the frequencies, in percent */
} keying;

static const keying PLAIN = {DIGITS, 50.0, 50.0, -10.0, -10.0, 0.0, 0.0};

typedef struct {
  signal_t signal;
  size_t first, on, period; /* in samples: onset of digit i is first + i * period */
} dialled;

static void key(signal_t *signal, size_t at, size_t length, int digit, const keying *how,
                double phase) {
  signal_tone(signal, at, length, low_tone_hz(digit) * (1.0 + how->low_error / 100.0),
              dbm0_amplitude(how->low_dbm0), phase);
  signal_tone(signal, at, length, high_tone_hz(digit) * (1.0 + how->high_error / 100.0),
              dbm0_amplitude(how->high_dbm0), 1.7 * phase);
}

/* A period that is no multiple of the decoder's block makes onsets fall anywhere in
 * one, and `lead_ms` moves them all. */
static dialled dial(uint32_t rate, const keying *how, double lead_ms, uint32_t seed) {
  random_source source = {seed};
  const size_t count = strlen(how->digits);
  dialled result = {.first = samples_of(rate, lead_ms),
                    .on = samples_of(rate, how->on_ms),
                    .period = samples_of(rate, how->on_ms + how->off_ms)};
  result.signal = signal_new(rate, result.first + count * result.period + samples_of(rate, 100.0));
  for (size_t i = 0; i < count; i++)
    key(&result.signal, result.first + i * result.period, result.on, how->digits[i], how,
        random_between(&source, 0.0, 2.0 * PI));
  signal_round(&result.signal);
  return result;
}

/* Exactly these digits, onset and end each within `tolerance` ms. */
static void check_decoded(const edge_log *log, const dialled *d, const char *digits,
                          double tolerance) {
  const double ms = d->signal.rate / 1000.0;
  check_well_formed(log, d->signal.n);
  CHECK(log->count == 2 * strlen(digits));
  if (log->count != 2 * strlen(digits))
    return;
  for (size_t i = 0; i < strlen(digits); i++) {
    const rec_edge *start = &log->edges[2 * i], *end = &log->edges[2 * i + 1];
    const double onset = (double)(d->first + i * d->period);
    CHECK(start->kind == REC_DIGIT_START && start->detail == digits[i]);
    CHECK(end->kind == REC_DIGIT_END && end->detail == digits[i]);
    CHECK_NEAR((double)start->position / ms, onset / ms, tolerance);
    CHECK_NEAR((double)end->position / ms, (onset + (double)d->on) / ms, tolerance);
  }
}

static void check_dialling(uint32_t rate, const keying *how, int accepted) {
  /* A tone several dB above the other leaks into its bin where it is switched. */
  const double tolerance = fabs(how->low_dbm0 - how->high_dbm0) > 3.0 ? 2.0 : 1.0;
  /* Leads that are no multiples of each other within the 20 ms block. */
  static const double leads[] = {100.0, 107.3};
  for (int i = 0; i < 2; i++) {
    dialled d = dial(rate, how, leads[i], 1812433253u + rate);
    edge_log log = decode(rate, d.signal.pcm, d.signal.n, 160);
    check_decoded(&log, &d, accepted ? how->digits : "", tolerance);
    edge_log_free(&log);
    signal_free(&d.signal);
  }
}

/* ---- what is a digit, and what is none -------------------------------------- */

static void all_digits(void) {
  static const double timings[][2] = {{50, 50}, {40, 40}, {100, 100}, {300, 60}, {70, 45}};
  for (int r = 0; r < RATES; r++)
    for (int t = 0; t < 5; t++) {
      keying how = PLAIN;
      how.on_ms = timings[t][0];
      how.off_ms = timings[t][1];
      check_case("rate %lu, %g ms on, %g ms off", (unsigned long)RATE[r], how.on_ms, how.off_ms);
      check_dialling(RATE[r], &how, 1);
    }
}

static void short_tones(void) {
  static const double on_ms[] = {5.0, 10.0, 20.0, 23.0};
  for (int r = 0; r < RATES; r++)
    for (int t = 0; t < 4; t++) {
      keying how = PLAIN;
      how.on_ms = on_ms[t];
      how.off_ms = 71.0;
      check_case("rate %lu, %g ms", (unsigned long)RATE[r], how.on_ms);
      check_dialling(RATE[r], &how, 0);
    }
}

static void frequencies(void) {
  static const double accepted[][2] = {{1.5, 1.5}, {-1.5, -1.5}, {1.5, -1.5}, {-1.5, 1.5}};
  static const double rejected[][2] = {{3.5, 0.0}, {-3.5, 0.0}, {0.0, 3.5}, {0.0, -3.5}};
  for (int r = 0; r < RATES; r++)
    for (int i = 0; i < 4; i++) {
      keying how = PLAIN;
      how.low_error = accepted[i][0];
      how.high_error = accepted[i][1];
      check_case("rate %lu, off by %g and %g %%", (unsigned long)RATE[r], how.low_error,
                 how.high_error);
      check_dialling(RATE[r], &how, 1);
      how.low_error = rejected[i][0];
      how.high_error = rejected[i][1];
      check_case("rate %lu, off by %g and %g %%", (unsigned long)RATE[r], how.low_error,
                 how.high_error);
      check_dialling(RATE[r], &how, 0);
    }
}

/* Twist, as Q.24 has it: the high group up to 4 dB stronger, up to 8 dB weaker. Far
 * beyond is no digit. */
static void twist(void) {
  static const double low_over_high[] = {8.0, 4.0, -4.0, 20.0, -15.0};
  for (int r = 0; r < RATES; r++)
    for (int i = 0; i < 5; i++) {
      keying how = PLAIN;
      how.low_dbm0 = -10.0 + fmin(low_over_high[i], 0.0);
      how.high_dbm0 = -10.0 - fmax(low_over_high[i], 0.0);
      check_case("rate %lu, twist %g dB", (unsigned long)RATE[r], low_over_high[i]);
      check_dialling(RATE[r], &how, i < 3);
    }
}

static void levels(void) {
  static const double dbm0[] = {-3.0, -25.0, -35.0, -45.0, -60.0};
  for (int r = 0; r < RATES; r++)
    for (int i = 0; i < 5; i++) {
      keying how = PLAIN;
      how.low_dbm0 = how.high_dbm0 = dbm0[i];
      check_case("rate %lu, %g dBm0", (unsigned long)RATE[r], dbm0[i]);
      check_dialling(RATE[r], &how, i < 3);
    }
}

/* One tone alone, or two of one group, is no digit. */
static void single_tones(void) {
  for (int r = 0; r < RATES; r++)
    for (int d = 0; d < 16; d += 5) {
      check_case("rate %lu, one tone of %c", (unsigned long)RATE[r], DIGITS[d]);
      const size_t second = RATE[r];
      signal_t signal = signal_new(RATE[r], 4 * second);
      signal_tone(&signal, 0, second / 2, low_tone_hz(DIGITS[d]), 8000.0, 0.0);
      signal_tone(&signal, second, second / 2, high_tone_hz(DIGITS[d]), 8000.0, 0.0);
      signal_tone(&signal, 2 * second, second / 2, 697.0, 8000.0, 0.0);
      signal_tone(&signal, 2 * second, second / 2, 941.0, 8000.0, 0.0);
      signal_tone(&signal, 3 * second, second / 2, 1209.0, 8000.0, 0.0);
      signal_tone(&signal, 3 * second, second / 2, 1477.0, 8000.0, 0.0);
      signal_round(&signal);
      edge_log log = decode(RATE[r], signal.pcm, signal.n, 160);
      CHECK(log.count == 0);
      edge_log_free(&log);
      signal_free(&signal);
    }
}

static void noise_is_none(void) {
  static const double deviations[3] = {200.0, 2000.0, 9000.0};
  for (int r = 0; r < RATES; r++) {
    random_source source = {1664525u + RATE[r]};
    const size_t part = 10 * (size_t)RATE[r];
    check_case("rate %lu, white noise", (unsigned long)RATE[r]);
    signal_t signal = signal_new(RATE[r], 3 * part);
    for (size_t i = 0; i < 3; i++)
      signal_noise(&signal, i * part, part, deviations[i], &source);
    signal_round(&signal);
    edge_log log = decode(RATE[r], signal.pcm, signal.n, 1000);
    CHECK(log.count == 0);
    edge_log_free(&log);
    signal_free(&signal);
  }
}

/* Dial tone, ringing, busy: the tones a line carries besides. */
static void line_tones_are_none(void) {
  static const double pairs[][2] = {{350, 440}, {440, 480}, {480, 620}, {425, 0}, {1100, 2100}};
  for (int r = 0; r < RATES; r++)
    for (int i = 0; i < 5; i++) {
      check_case("rate %lu, %g + %g Hz", (unsigned long)RATE[r], pairs[i][0], pairs[i][1]);
      signal_t signal = signal_new(RATE[r], 6 * (size_t)RATE[r]);
      for (size_t at = 0; at < signal.n; at += RATE[r]) {
        /* 0.5 s on and off, then held. */
        const size_t length = at < signal.n / 2 ? RATE[r] / 2 : RATE[r];
        signal_tone(&signal, at, length, pairs[i][0], 6000.0, 0.0);
        signal_tone(&signal, at, length, pairs[i][1], 6000.0, 0.0);
      }
      signal_round(&signal);
      edge_log log = decode(RATE[r], signal.pcm, signal.n, 1000);
      CHECK(log.count == 0);
      edge_log_free(&log);
      signal_free(&signal);
    }
}

/* ---- pauses ------------------------------------------------------------------ */

/* Ten ms out of the middle of a hundred leave one digit, with its outer edges. */
static void dropout(void) {
  for (int r = 0; r < RATES; r++)
    for (int d = 0; d < 16; d++)
      for (int shift = 0; shift < 3; shift++) {
        check_case("rate %lu, digit %c, dropout, shift %d", (unsigned long)RATE[r], DIGITS[d],
                   shift);
        const char one[2] = {DIGITS[d], 0};
        const keying how = {one, 100.0, 50.0, -10.0, -10.0, 0.0, 0.0};
        dialled dialling = dial(RATE[r], &how, 100.0 + 7.0 * shift, 69069u);
        const size_t from = dialling.first + samples_of(RATE[r], 45.0);
        memset(dialling.signal.pcm + from, 0, samples_of(RATE[r], 10.0) * sizeof(int16_t));
        edge_log log = decode(RATE[r], dialling.signal.pcm, dialling.signal.n, 160);
        check_decoded(&log, &dialling, one, 1.0);
        edge_log_free(&log);
        signal_free(&dialling.signal);
      }
}

static void same_digit_twice(void) {
  static const double on_ms[] = {40.0, 50.0, 80.0};
  for (int r = 0; r < RATES; r++)
    for (int d = 0; d < 16; d++)
      for (int t = 0; t < 3; t++) {
        check_case("rate %lu, digit %c twice, %g ms", (unsigned long)RATE[r], DIGITS[d], on_ms[t]);
        const char twice[3] = {DIGITS[d], DIGITS[d], 0};
        const keying how = {twice, on_ms[t], 40.0, -10.0, -10.0, 0.0, 0.0};
        check_dialling(RATE[r], &how, 1);
      }
}

/* Between a dropout and a pause lies what is neither for certain: one press or two, but
 * never edges that overlap. */
static void any_pause(void) {
  for (int r = 0; r < RATES; r++)
    for (double off_ms = 1.0; off_ms <= 60.0; off_ms += 1.0)
      for (int shift = 0; shift < 4; shift++) {
        check_case("rate %lu, %g ms off, shift %d", (unsigned long)RATE[r], off_ms, shift);
        const keying how = {"88", 60.0, off_ms, -10.0, -10.0, 0.0, 0.0};
        dialled d = dial(RATE[r], &how, 100.0 + 5.0 * shift, 69069u);
        edge_log log = decode(RATE[r], d.signal.pcm, d.signal.n, 160);
        check_well_formed(&log, d.signal.n);
        CHECK(log.count == 4 || (log.count == 2 && off_ms < 40.0));
        CHECK(log.count == 2 || off_ms > 10.0);
        if (log.count > 0) {
          const double ms = RATE[r] / 1000.0;
          const double end = (double)(d.first + d.period + d.on) / ms;
          CHECK_NEAR((double)log.edges[0].position / ms, (double)d.first / ms, 1.0);
          CHECK_NEAR((double)log.edges[log.count - 1].position / ms, end, 1.0);
        }
        edge_log_free(&log);
        signal_free(&d.signal);
      }
}

/* ---- the ends of the samples --------------------------------------------------- */

/* A digit from the first sample to the last: its start is at 0, and its end not past
 * the last, wherever in a block that falls. */
static void digit_fills_all(void) {
  for (int r = 0; r < RATES; r++)
    for (double ms = 50.0; ms < 130.0; ms += 3.7) {
      check_case("rate %lu, nothing but %g ms of a digit", (unsigned long)RATE[r], ms);
      signal_t signal = signal_new(RATE[r], samples_of(RATE[r], ms));
      key(&signal, 0, signal.n, '7', &PLAIN, 0.0);
      signal_round(&signal);
      edge_log log = decode(RATE[r], signal.pcm, signal.n, 160);
      check_well_formed(&log, signal.n);
      CHECK(log.count == 2);
      if (log.count == 2) {
        const double per_ms = RATE[r] / 1000.0;
        CHECK(log.edges[0].detail == '7' && log.edges[1].detail == '7');
        CHECK_NEAR((double)log.edges[0].position / per_ms, 0.0, 1.0);
        CHECK_NEAR((double)log.edges[1].position / per_ms, (double)signal.n / per_ms, 1.0);
      }
      edge_log_free(&log);
      signal_free(&signal);
    }
}

/* ---- which digits are sounding ------------------------------------------------------------ */

/* No digit but this one may sound. Returns where it began. */
static int64_t only_sounding(const rec_dtmf *dtmf, int digit) {
  for (int d = 0; d < 16; d++)
    if (DIGITS[d] != digit)
      CHECK(rec_dtmf_sounding(dtmf, DIGITS[d]) == -1);
  return rec_dtmf_sounding(dtmf, digit);
}

/* `from_ms` to `to_ms` of the digit's 300 are silent (or nothing, when both are 0). The
 * onset is confirmed within 60 ms; the tone is gone 30 ms, a block and half a window after
 * its end. */
static void check_sounding(uint32_t rate, double lead_ms, double from_ms, double to_ms) {
  const keying how = {"5", 300.0, 200.0, -10.0, -10.0, 0.0, 0.0};
  dialled d = dial(rate, &how, lead_ms, 747796405u);
  memset(d.signal.pcm + d.first + samples_of(rate, from_ms), 0,
         (samples_of(rate, to_ms) - samples_of(rate, from_ms)) * sizeof(int16_t));
  rec_dtmf *dtmf = decoder_for(rate);
  CHECK(only_sounding(dtmf, '5') == -1);
  const size_t piece = samples_of(rate, 5.0);
  const double ms = rate / 1000.0;
  for (size_t done = 0; done + piece <= d.signal.n;) {
    rec_edge edges[64];
    rec_dtmf_process(dtmf, d.signal.pcm + done, piece, edges);
    done += piece;
    const double since = ((double)done - (double)d.first) / ms;
    const int64_t onset = only_sounding(dtmf, '5');
    if (since <= 0.0 || since >= 300.0 + 60.0)
      CHECK(onset == -1);
    if (since >= 60.0 && since <= 300.0)
      CHECK(onset != -1);
    if (onset != -1)
      CHECK_NEAR((double)onset / ms, (double)d.first / ms, 1.0);
  }
  free(dtmf);
  signal_free(&d.signal);
}

/* A tone too short for a digit is never confirmed, so it does not count as sounding. */
static void check_too_short_to_sound(uint32_t rate, double lead_ms) {
  const keying how = {"5", 23.0, 150.0, -10.0, -10.0, 0.0, 0.0};
  dialled d = dial(rate, &how, lead_ms, 747796405u);
  rec_dtmf *dtmf = decoder_for(rate);
  const size_t piece = samples_of(rate, 5.0);
  for (size_t done = 0; done + piece <= d.signal.n;) {
    rec_edge edges[64];
    CHECK(rec_dtmf_process(dtmf, d.signal.pcm + done, piece, edges) == 0);
    done += piece;
    CHECK(only_sounding(dtmf, '5') == -1);
  }
  free(dtmf);
  signal_free(&d.signal);
}

static void sounding(void) {
  for (int r = 0; r < RATES; r++)
    for (int shift = 0; shift < 4; shift++) {
      const double lead_ms = 100.0 + 5.0 * shift;
      check_case("rate %lu, lead %g ms", (unsigned long)RATE[r], lead_ms);
      check_sounding(RATE[r], lead_ms, 0.0, 0.0);
      check_case("rate %lu, lead %g ms, 10 ms out", (unsigned long)RATE[r], lead_ms);
      check_sounding(RATE[r], lead_ms, 150.0, 160.0);
      /* Still one digit, although a whole block of it is silent. */
      check_case("rate %lu, lead %g ms, 25 ms out", (unsigned long)RATE[r], lead_ms);
      check_sounding(RATE[r], lead_ms, 150.0, 175.0);
      check_case("rate %lu, lead %g ms, 23 ms", (unsigned long)RATE[r], lead_ms);
      check_too_short_to_sound(RATE[r], lead_ms);
    }
}

/* ---- independent of the cutting, and of everything else --------------------------- */

static void cutting_changes_nothing(void) {
  for (int r = 0; r < RATES; r++) {
    signal_t signal = signal_of_all(RATE[r], 6.0, 1013904223u + RATE[r]);
    edge_log whole = decode(RATE[r], signal.pcm, signal.n, signal.n);
    check_case("rate %lu", (unsigned long)RATE[r]);
    check_well_formed(&whole, signal.n);
    CHECK(whole.count >= 10); /* or the signal tests nothing */
    for (int c = 0; c < CUTS; c++) {
      check_case("rate %lu, pieces of %lu", (unsigned long)RATE[r], (unsigned long)CUT[c]);
      edge_log cut = decode(RATE[r], signal.pcm, signal.n, CUT[c]);
      CHECK(edge_logs_equal(&whole, &cut));
      edge_log_free(&cut);
    }
    edge_log_free(&whole);
    signal_free(&signal);
  }
}

/* Many lines on which all happens, for what is promised of every one of them. */
static void random_lines(void) {
  for (uint32_t seed = 1; seed <= 24; seed++) {
    const uint32_t rate = RATE[seed % RATES];
    check_case("rate %lu, seed %lu", (unsigned long)rate, (unsigned long)seed);
    signal_t signal = signal_of_all(rate, 6.0, seed);
    edge_log log = decode(rate, signal.pcm, signal.n, AT_RANDOM);
    check_well_formed(&log, signal.n);
    edge_log_free(&log);
    signal_free(&signal);
  }
}

static void total(void) {
  for (int r = 0; r < RATES; r++)
    for (int which = 0; which < EXTREMES; which++) {
      check_case("rate %lu, extreme %d", (unsigned long)RATE[r], which);
      signal_t signal = signal_of_extremes(RATE[r], RATE[r], which);
      edge_log log = decode(RATE[r], signal.pcm, signal.n, AT_RANDOM);
      check_well_formed(&log, signal.n);
      CHECK(which == 6 || log.count == 0);
      edge_log_free(&log);
      signal_free(&signal);
    }
}

/* No samples report nothing and change nothing; nor does an end without a beginning. */
static void nothing(void) {
  for (int r = 0; r < RATES; r++) {
    check_case("rate %lu, no samples", (unsigned long)RATE[r]);
    signal_t signal = signal_of_extremes(RATE[r], 5000, 5);
    rec_edge *edges = allocate(rec_edges_bound(RATE[r], signal.n), sizeof *edges);
    rec_dtmf *dtmf = decoder_for(RATE[r]), *before = allocate(1, sizeof *before);
    rec_dtmf_process(dtmf, signal.pcm, signal.n, edges);
    memcpy(before, dtmf, sizeof *dtmf);
    CHECK(rec_dtmf_process(dtmf, signal.pcm, 0, edges) == 0);
    CHECK(memcmp(before, dtmf, sizeof *dtmf) == 0);
    rec_dtmf_init(dtmf, tables_for(RATE[r]));
    CHECK(rec_dtmf_finish(dtmf, edges) == 0);
    free(before);
    free(dtmf);
    free(edges);
    signal_free(&signal);
  }
}

static void refusals(void) {
  static const uint32_t rates[] = {0, 1, 7999, 11025, 22050, 96000, UINT32_MAX};
  rec_dtmf_tables *tables = allocate(1, sizeof *tables);
  for (int i = 0; i < 7; i++) {
    check_case("rate %lu", (unsigned long)rates[i]);
    CHECK(rec_dtmf_tables_init(tables, rates[i]) == -1);
  }
  free(tables);
}

/* No character but the sixteen names a digit, not even the one that ends a string. */
static void sounding_of_no_digit(void) {
  rec_dtmf *dtmf = decoder_for(8000);
  for (int digit = -300; digit < 300; digit++) {
    check_case("digit %d", digit);
    CHECK(rec_dtmf_sounding(dtmf, digit) == -1);
  }
  free(dtmf);
}

int main(void) {
  all_digits();
  short_tones();
  frequencies();
  twist();
  levels();
  single_tones();
  noise_is_none();
  line_tones_are_none();
  dropout();
  same_digit_twice();
  any_pause();
  digit_fills_all();
  sounding();
  cutting_changes_nothing();
  random_lines();
  total();
  nothing();
  refusals();
  sounding_of_no_digit();
  return check_report("test_dtmf");
}
