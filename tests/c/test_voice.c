/* SPDX-License-Identifier: MIT */
/* The gate: what is input, from where to where, and independent of the cutting. */
#include "check.h"
#include "signals.h"

/* A detector that learns nothing: the gate alone. */
static int gate_init(rec_voice *voice, uint32_t rate, double sensitivity) {
  const rec_voice_options options = {sensitivity, 0, 0, 4};
  return rec_voice_init(voice, rate, &options);
}

/* Levels of a whole signal, and the edges. */
typedef struct {
  edge_log log;
  float *levels;
  size_t frames;
} detected;

static void detected_free(detected *h) {
  edge_log_free(&h->log);
  free(h->levels);
}

/* An edge must not come before what was settled, nor that go back. */
static void check_settled(const rec_voice *voice, const rec_edge *edges, size_t count, int64_t done,
                          int64_t *settled) {
  for (size_t i = 0; i < count; i++)
    CHECK(edges[i].position >= *settled);
  CHECK(rec_voice_settled_until(voice) >= *settled);
  *settled = rec_voice_settled_until(voice);
  CHECK(*settled <= done);
}

/* Everything is copied to memory of exactly its size, for the sanitizer to see a read
 * past the samples or a write past the room that the header asks for. */
static detected detect(uint32_t rate, double sensitivity, const int16_t *pcm, size_t n,
                       size_t cut) {
  random_source source = {2166136261u};
  const size_t frame = rec_level_frame(rate);
  detected result = {.levels = allocate(n / frame, sizeof(float)), .frames = n / frame};
  rec_voice voice;
  if (gate_init(&voice, rate, sensitivity) != 0) {
    fprintf(stderr, "rate %lu, S %g refused\n", (unsigned long)rate, sensitivity);
    exit(1);
  }
  CHECK(rec_voice_settled_until(&voice) == 0);
  int64_t settled = 0;
  size_t piece;
  for (size_t done = 0; done < n; done += piece) {
    piece = next_piece(cut, n - done, &source);
    int16_t *part = allocate(piece, sizeof *part);
    memcpy(part, pcm + done, piece * sizeof *part);
    rec_edge *edges = allocate(rec_edges_bound(rate, piece), sizeof *edges);
    float *levels = allocate(piece / frame + 1, sizeof *levels);
    size_t count = rec_voice_process(&voice, part, piece, edges, levels);
    CHECK(count <= rec_edges_bound(rate, piece));
    check_settled(&voice, edges, count, (int64_t)(done + piece), &settled);
    edge_log_add(&result.log, edges, count);
    const size_t first = done / frame, whole = (done + piece) / frame - first;
    memcpy(result.levels + first, levels, whole * sizeof *levels);
    free(part);
    free(edges);
    free(levels);
  }
  rec_edge last[16];
  size_t count = rec_voice_finish(&voice, last);
  check_settled(&voice, last, count, (int64_t)n, &settled);
  edge_log_add(&result.log, last, count);
  CHECK(rec_voice_finish(&voice, last) == 0);
  return result;
}

/* Start, end, start, end, each after the one before, at the edges of frames. */
static void check_well_formed(const detected *h, uint32_t rate, size_t n) {
  int64_t last = -1;
  CHECK(h->log.count % 2 == 0);
  for (size_t i = 0; i < h->log.count; i++) {
    const rec_edge *edge = &h->log.edges[i];
    CHECK(edge->kind == (i % 2 ? REC_VOICE_END : REC_VOICE_START));
    CHECK(edge->detail == 0);
    CHECK(edge->position > last);
    CHECK(edge->position % rec_level_frame(rate) == 0);
    CHECK(edge->position >= 0 && edge->position <= (int64_t)n);
    last = edge->position;
  }
}

/* One signal, one stretch of input from frame `first` to before frame `end`; none
 * when both are 0. */
static void check_stretch(uint32_t rate, double sensitivity, const signal_t *signal, int first,
                          int end) {
  const int64_t frame = rec_level_frame(rate);
  detected h = detect(rate, sensitivity, signal->pcm, signal->n, 160);
  check_well_formed(&h, rate, signal->n);
  CHECK(h.log.count == (end > first ? 2 : 0));
  if (h.log.count == 2 && end > first) {
    CHECK(h.log.edges[0].position == first * frame);
    CHECK(h.log.edges[1].position == end * frame);
  }
  detected_free(&h);
}

/* ---- the gate -------------------------------------------------------------- */

static void gate_at_its_level(void) {
  static const double sensitivities[] = {5, 10, 20.5, 30, 40, 44, 50, 60};
  for (int r = 0; r < RATES; r++)
    for (int s = 0; s < 8; s++)
      for (int above = 0; above < 2; above++) {
        const double level = -sensitivities[s] + (above ? 0.2 : -0.2);
        check_case("rate %lu, S %g, tone %g dBFS", (unsigned long)RATE[r], sensitivities[s], level);
        signal_t signal = signal_new(RATE[r], 50 * rec_level_frame(RATE[r]));
        signal_tone(&signal, 0, signal.n, 1000.0, dbfs_sine_amplitude(level), 0.0);
        signal_round(&signal);
        check_stretch(RATE[r], sensitivities[s], &signal, 0, above ? 50 : 0);
        detected h = detect(RATE[r], sensitivities[s], signal.pcm, signal.n, 1000);
        for (size_t i = 1; i < h.frames; i++)
          CHECK_NEAR(h.levels[i], level, 0.1);
        detected_free(&h);
        signal_free(&signal);
      }
}

static void nothing_passes_zero(void) {
  for (int r = 0; r < RATES; r++)
    for (int which = 0; which < EXTREMES; which++) {
      check_case("rate %lu, S 0, extreme %d", (unsigned long)RATE[r], which);
      signal_t signal = signal_of_extremes(RATE[r], 50 * rec_level_frame(RATE[r]), which);
      check_stretch(RATE[r], 0.0, &signal, 0, 0);
      signal_free(&signal);
    }
}

/* At 100 one LSB is input and the largest constant is none: silence is what does not
 * change, at any offset. */
static void hundred_takes_all_but_silence(void) {
  static const int16_t constants[] = {0, 1234, -1234, 32767, -32768};
  for (int r = 0; r < RATES; r++)
    for (int c = 0; c < 5; c++) {
      check_case("rate %lu, S 100, constant %d", (unsigned long)RATE[r], constants[c]);
      const size_t frame = rec_level_frame(RATE[r]);
      signal_t signal = signal_new(RATE[r], 50 * frame);
      signal_constant(&signal, 0, signal.n, constants[c]);
      signal_round(&signal);
      check_stretch(RATE[r], 100.0, &signal, 0, 0);
      detected h = detect(RATE[r], 100.0, signal.pcm, signal.n, 160);
      for (size_t i = 0; i < h.frames; i++)
        CHECK(isinf(h.levels[i]) && h.levels[i] < 0.0f);
      detected_free(&h);
      for (size_t k = 20; k < 23; k++) /* one odd sample, the last, in three frames */
        signal.pcm[(k + 1) * frame - 1] =
            (int16_t)(constants[c] == 32767 ? 32766 : constants[c] + 1);
      check_stretch(RATE[r], 100.0, &signal, 20, 23);
      signal_free(&signal);
    }
}

/* Just below 100 a constant is silence as well. */
static void offset_is_silence(void) {
  for (int r = 0; r < RATES; r++) {
    check_case("rate %lu", (unsigned long)RATE[r]);
    signal_t signal = signal_new(RATE[r], 50 * rec_level_frame(RATE[r]));
    signal_constant(&signal, 0, signal.n, 20000.0);
    signal_round(&signal);
    check_stretch(RATE[r], 99.9, &signal, 0, 0);
    signal_free(&signal);
  }
}

/* ---- three frames of five ---------------------------------------------------- */

/* Which frames are loud, and the stretches they make, as pairs of frames. */
typedef struct {
  const char *frames; /* from the tenth on: '1' loud */
  int stretches[4][2];
} pattern;

static const pattern PATTERNS[] = {
    {"1", {{0}}},
    {"11", {{0}}},
    {"101", {{0}}},
    {"10001", {{0}}},
    {"1100001", {{0}}},
    {"1000100010001", {{0}}},
    {"110000110000110000", {{0}}},
    {"111", {{0, 3}}},
    {"1011", {{0, 4}}},
    {"1101", {{0, 4}}},
    {"10101", {{0, 5}}},
    {"11001", {{0, 5}}},
    {"10011", {{0, 5}}},
    {"1111111111", {{0, 10}}},
    {"100111", {{0, 6}}},      /* the third loud one comes when the first is still seen */
    {"1000111", {{4, 7}}},     /* here it no longer is */
    {"1110110111", {{0, 10}}}, /* a gap that leaves three of five does not end it */
    {"11100000111", {{0, 3}, {8, 11}}},
    {"111001", {{0, 6}}},
    {"1110001", {{0, 3}}},
    /* Frames of the ended stretch still count among the three, but are not begun with. */
    {"1011001", {{0, 4}, {6, 7}}},
    {"111000111", {{0, 3}, {6, 9}}},
};

static void check_pattern(uint32_t rate, const pattern *p) {
  const size_t frame = rec_level_frame(rate), quiet = 10;
  check_case("rate %lu, frames %s", (unsigned long)rate, p->frames);
  signal_t signal = signal_new(rate, 40 * frame);
  for (size_t i = 0; i < strlen(p->frames); i++)
    if (p->frames[i] == '1')
      signal_tone(&signal, (quiet + i) * frame, frame, 1000.0, 8000.0, 0.0);
  signal_round(&signal);
  detected h = detect(rate, 40.0, signal.pcm, signal.n, 1000);
  check_well_formed(&h, rate, signal.n);
  size_t expected = 0;
  while (expected < 4 && p->stretches[expected][1] > 0)
    expected++;
  CHECK(h.log.count == 2 * expected);
  for (size_t i = 0; i < h.log.count && i < 2 * expected; i++)
    CHECK(h.log.edges[i].position ==
          ((int64_t)quiet + p->stretches[i / 2][i % 2]) * (int64_t)frame);
  detected_free(&h);
  signal_free(&signal);
}

static void three_of_five(void) {
  for (int r = 0; r < RATES; r++)
    for (size_t i = 0; i < sizeof PATTERNS / sizeof *PATTERNS; i++)
      check_pattern(RATE[r], &PATTERNS[i]);
}

/* At the very first frames and the very last there are fewer than five to look at. */
static void at_the_ends(void) {
  for (int r = 0; r < RATES; r++) {
    check_case("rate %lu", (unsigned long)RATE[r]);
    const size_t frame = rec_level_frame(RATE[r]);
    signal_t signal = signal_new(RATE[r], 3 * frame);
    signal_tone(&signal, 0, signal.n, 1000.0, 8000.0, 0.0);
    signal_round(&signal);
    check_stretch(RATE[r], 40.0, &signal, 0, 3);
    signal.n = 3 * frame - 1; /* the last frame is not whole, so it is not judged */
    check_stretch(RATE[r], 40.0, &signal, 0, 0);
    signal_free(&signal);
  }
}

/* ---- independent of the cutting ------------------------------------------------ */

static void cutting_changes_nothing(void) {
  static const double sensitivities[] = {25.0, 44.0, 100.0};
  for (int r = 0; r < RATES; r++)
    for (int s = 0; s < 3; s++) {
      signal_t signal = signal_of_all(RATE[r], 5.0, 1013904223u + RATE[r]);
      detected whole = detect(RATE[r], sensitivities[s], signal.pcm, signal.n, signal.n);
      check_well_formed(&whole, RATE[r], signal.n);
      CHECK(whole.log.count >= 8); /* or the signal tests nothing */
      for (int c = 0; c < CUTS; c++) {
        check_case("rate %lu, S %g, pieces of %lu", (unsigned long)RATE[r], sensitivities[s],
                   (unsigned long)CUT[c]);
        detected cut = detect(RATE[r], sensitivities[s], signal.pcm, signal.n, CUT[c]);
        CHECK(edge_logs_equal(&whole.log, &cut.log));
        CHECK(memcmp(whole.levels, cut.levels, whole.frames * sizeof(float)) == 0);
        detected_free(&cut);
      }
      detected_free(&whole);
      signal_free(&signal);
    }
}

/* Frames loud at random: every pattern of the window, with the settled positions
 * checked after every piece. */
static void random_frames(void) {
  random_source source = {19650218u};
  for (int repeat = 0; repeat < 20; repeat++) {
    check_case("random frames, run %d", repeat);
    const uint32_t rate = RATE[repeat % RATES];
    const size_t frame = rec_level_frame(rate);
    signal_t signal = signal_new(rate, 400 * frame);
    for (size_t i = 0; i < 400; i++)
      if (random_below(&source, 100) < 15 + 3 * (uint32_t)repeat)
        signal_tone(&signal, i * frame, frame, 1000.0, 8000.0, 0.0);
    signal_round(&signal);
    detected h = detect(rate, 40.0, signal.pcm, signal.n, AT_RANDOM);
    check_well_formed(&h, rate, signal.n);
    detected_free(&h);
    signal_free(&signal);
  }
}

/* ---- refusals and edges of the contract ------------------------------------------ */

static void refusals(void) {
  static const double sensitivities[] = {-1.0, -1e-9, 100.5, 100.0000001, 1e300};
  static const uint32_t rates[] = {0, 7999, 11025, 22050, 96000, UINT32_MAX};
  rec_voice voice;
  check_case("refusals");
  for (int i = 0; i < 5; i++)
    CHECK(gate_init(&voice, 8000, sensitivities[i]) == -1);
  CHECK(gate_init(&voice, 8000, (double)NAN) == -1);
  CHECK(gate_init(&voice, 8000, (double)INFINITY) == -1);
  CHECK(gate_init(&voice, 8000, -(double)INFINITY) == -1);
  for (int i = 0; i < 6; i++)
    CHECK(gate_init(&voice, rates[i], 44.0) == -1);
  for (int r = 0; r < RATES; r++) {
    CHECK(gate_init(&voice, RATE[r], 0.0) == 0);
    CHECK(gate_init(&voice, RATE[r], 100.0) == 0);
    CHECK(gate_init(&voice, RATE[r], 44.5) == 0);
  }
}

static void total(void) {
  static const double sensitivities[] = {0.0, 1e-9, 44.0, 99.9, 100.0};
  for (int r = 0; r < RATES; r++)
    for (int which = 0; which < EXTREMES; which++)
      for (int s = 0; s < 5; s++) {
        check_case("rate %lu, S %g, extreme %d", (unsigned long)RATE[r], sensitivities[s], which);
        signal_t signal = signal_of_extremes(RATE[r], 20000, which);
        detected h = detect(RATE[r], sensitivities[s], signal.pcm, signal.n, AT_RANDOM);
        check_well_formed(&h, RATE[r], signal.n);
        for (size_t i = 0; i < h.frames; i++)
          CHECK(!isnan(h.levels[i]) && h.levels[i] < 7.0f);
        detected_free(&h);
        signal_free(&signal);
      }
}

/* No samples report nothing and change nothing; levels may be left out. */
static void nothing_and_no_levels(void) {
  for (int r = 0; r < RATES; r++) {
    check_case("rate %lu", (unsigned long)RATE[r]);
    signal_t signal = signal_of_extremes(RATE[r], 20000, 5);
    rec_voice voice, before;
    rec_edge *edges = allocate(rec_edges_bound(RATE[r], signal.n), sizeof *edges);
    CHECK(gate_init(&voice, RATE[r], 40.0) == 0);
    CHECK(rec_voice_process(&voice, signal.pcm, 0, edges, NULL) == 0);
    CHECK(rec_voice_finish(&voice, edges) == 0);
    CHECK(rec_voice_process(&voice, signal.pcm, signal.n, edges, NULL) == 1);
    memcpy(&before, &voice, sizeof voice);
    CHECK(rec_voice_process(&voice, signal.pcm, 0, edges, NULL) == 0);
    CHECK(memcmp(&before, &voice, sizeof voice) == 0);
    free(edges);
    signal_free(&signal);
  }
}

/* A noisy line that changes: noise, bursts of a tone and of louder noise, a pause. */
static signal_t noisy_line(uint32_t rate) {
  random_source source = {20261122u};
  signal_t signal = {.n = (size_t)rate * 16};
  signal.pcm = allocate(signal.n, sizeof *signal.pcm);
  for (size_t i = 0; i < signal.n; i++) {
    const size_t tenth = i / (rate / 10);
    double level = tenth > 110 && tenth < 125 ? 20.0 : 500.0;
    if (tenth > 30 && tenth < 80 && tenth % 7 < 4)
      level = 4000.0;
    double value = level * random_between(&source, -1.0, 1.0);
    if (tenth > 128 && tenth < 140)
      value += 1500.0 * sin(2.0 * 3.14159265358979 * 700.0 * (double)i / rate);
    signal.pcm[i] = (int16_t)value;
  }
  return signal;
}

/* Revisions and all that they replace are the same however the line is cut. */
static void learning_is_the_same_however_cut(void) {
  static const size_t cuts[] = {1, 159, 1000, 16001, AT_RANDOM};
  for (int r = 0; r < RATES; r++)
    for (int voice_only = 0; voice_only < 2; voice_only++) {
      const rec_voice_options options = {44.0, 1, voice_only, 4};
      const uint32_t rate = RATE[r];
      signal_t signal = noisy_line(rate);
      edge_log first = {NULL, 0, 0};
      for (int c = 0; c < 5; c++) {
        check_case("rate %lu, voice_only %d, cut %d", (unsigned long)rate, voice_only, c);
        random_source source = {7u};
        edge_log log = {NULL, 0, 0};
        rec_voice voice;
        CHECK(rec_voice_init(&voice, rate, &options) == 0);
        int64_t settled = 0;
        size_t piece;
        for (size_t done = 0; done < signal.n; done += piece) {
          piece = next_piece(cuts[c], signal.n - done, &source);
          rec_edge *edges = allocate(rec_edges_bound(rate, piece), sizeof *edges);
          size_t count = rec_voice_process(&voice, signal.pcm + done, piece, edges, NULL);
          CHECK(count <= rec_edges_bound(rate, piece));
          size_t replaced = 0;
          for (size_t i = 0; i < count; i++) {
            if (edges[i].kind == REC_VOICE_REVISED) {
              CHECK(edges[i].settled >= settled && edges[i].settled <= (int64_t)(done + piece));
              CHECK(i + (size_t)edges[i].detail < count);
              replaced = (size_t)edges[i].detail + 1;
            }
            CHECK(replaced > 0 || edges[i].position >= settled);
            replaced -= replaced > 0;
          }
          CHECK(rec_voice_settled_until(&voice) >= settled);
          settled = rec_voice_settled_until(&voice);
          edge_log_add(&log, edges, count);
          free(edges);
        }
        size_t revisions = 0;
        for (size_t i = 0; i < log.count; i++)
          revisions += log.edges[i].kind == REC_VOICE_REVISED;
        CHECK(revisions > 0);
        if (c == 0)
          first = log;
        else {
          CHECK(edge_logs_equal(&first, &log));
          edge_log_free(&log);
        }
      }
      edge_log_free(&first);
      signal_free(&signal);
    }
}

int main(void) {
  gate_at_its_level();
  nothing_passes_zero();
  hundred_takes_all_but_silence();
  offset_is_silence();
  three_of_five();
  at_the_ends();
  cutting_changes_nothing();
  random_frames();
  refusals();
  total();
  nothing_and_no_levels();
  learning_is_the_same_however_cut();
  return check_report("test_voice");
}
