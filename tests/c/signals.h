/* SPDX-License-Identifier: MIT */
/*
 * Test signals: mixed in double precision, rounded to samples once, so that what a
 * test calls -20 dB is -20 dB. All randomness is seeded here; a failure repeats.
 */
#ifndef SIGNALS_H
#define SIGNALS_H

#include "check.h"
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define RATES 6

static const double PI = 3.14159265358979323846;
static const uint32_t RATE[RATES] = {8000, 16000, 24000, 32000, 44100, 48000};

/* ---- random numbers ------------------------------------------------------ */

typedef struct {
  uint32_t state; /* never 0 */
} random_source;

/* xorshift32 (G. Marsaglia, 2003). */
static inline uint32_t random_bits(random_source *source) {
  uint32_t x = source->state;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return source->state = x;
}

static inline uint32_t random_below(random_source *source, uint32_t limit) {
  return (uint32_t)((uint64_t)random_bits(source) * limit >> 32);
}

static inline double random_between(random_source *source, double low, double high) {
  return low + (high - low) * (random_bits(source) / 4294967296.0);
}

/* Near enough to a Gaussian of deviation 1, and bounded. */
static inline double random_normal(random_source *source) {
  double sum = 0.0;
  for (int i = 0; i < 12; i++)
    sum += random_between(source, -0.5, 0.5);
  return sum;
}

/* ---- memory -------------------------------------------------------------- */

/* Exactly n elements, so that the sanitizer sees one step too far; n may be 0. */
static inline void *allocate(size_t n, size_t size) {
  void *memory = calloc(n ? n : 1, size);
  if (!memory) {
    fputs("out of memory\n", stderr);
    abort();
  }
  return memory;
}

/* ---- levels and lengths -------------------------------------------------- */

static inline double decibels(double power_ratio) { return 10.0 * log10(power_ratio); }

static inline double amplitude_ratio(double db) { return pow(10.0, db / 20.0); }

/* Full scale is A-law's overload point, 3.14 dBm0 (G.711). */
static inline double dbm0_amplitude(double dbm0) { return 32768.0 * amplitude_ratio(dbm0 - 3.14); }

/* dBFS counts from a full-scale square wave: a sine's peak is 3.01 dB above it. */
static inline double dbfs_sine_amplitude(double dbfs) {
  return 32768.0 * sqrt(2.0) * amplitude_ratio(dbfs);
}

static inline size_t samples_of(uint32_t rate, double ms) {
  return (size_t)llround(ms * rate / 1000.0);
}

/* ---- mixing -------------------------------------------------------------- */

typedef struct {
  uint32_t rate;
  size_t n;
  double *mix;
  int16_t *pcm; /* after signal_round() */
} signal_t;

static inline signal_t signal_new(uint32_t rate, size_t n) {
  return (signal_t){rate, n, allocate(n, sizeof(double)), allocate(n, sizeof(int16_t))};
}

static inline void signal_free(signal_t *signal) {
  free(signal->mix);
  free(signal->pcm);
}

static inline int16_t clip(double x) {
  return (int16_t)(x < -32768.0 ? -32768 : x > 32767.0 ? 32767 : lround(x));
}

static inline void signal_round(signal_t *signal) {
  for (size_t i = 0; i < signal->n; i++)
    signal->pcm[i] = clip(signal->mix[i]);
}

static inline void signal_tone(signal_t *signal, size_t from, size_t length, double hz,
                               double amplitude, double phase) {
  for (size_t i = 0; i < length && from + i < signal->n; i++)
    signal->mix[from + i] += amplitude * sin(phase + 2.0 * PI * hz * (double)i / signal->rate);
}

static inline void signal_noise(signal_t *signal, size_t from, size_t length, double deviation,
                                random_source *source) {
  for (size_t i = 0; i < length && from + i < signal->n; i++)
    signal->mix[from + i] += deviation * random_normal(source);
}

static inline void signal_constant(signal_t *signal, size_t from, size_t length, double value) {
  for (size_t i = 0; i < length && from + i < signal->n; i++)
    signal->mix[from + i] += value;
}

/* ---- digits -------------------------------------------------------------- */

static const char DIGITS[] = "123A456B789C*0#D";

static inline double low_tone_hz(int digit) {
  static const double hz[4] = {697, 770, 852, 941};
  return hz[(strchr(DIGITS, digit) - DIGITS) / 4];
}

static inline double high_tone_hz(int digit) {
  static const double hz[4] = {1209, 1336, 1477, 1633};
  return hz[(strchr(DIGITS, digit) - DIGITS) % 4];
}

/* One set of tables per rate, made when it is first asked for. */
static inline const rec_dtmf_tables *tables_for(uint32_t rate) {
  static rec_dtmf_tables tables[RATES];
  int r = 0;
  while (r < RATES - 1 && RATE[r] != rate)
    r++;
  if (tables[r].rate == 0 && rec_dtmf_tables_init(&tables[r], rate) != 0) {
    fprintf(stderr, "rate %lu refused\n", (unsigned long)rate);
    exit(1);
  }
  return &tables[r];
}

/* ---- signals for everything ----------------------------------------------- */

/* A line on which all happens: digits clean and in noise, two at once, noise of every
 * level, constants, clipped noise, and silence, in random order and lengths. */
static inline signal_t signal_of_all(uint32_t rate, double seconds, uint32_t seed) {
  random_source source = {seed};
  signal_t signal = signal_new(rate, samples_of(rate, seconds * 1000.0));
  for (size_t at = 0; at < signal.n;) {
    size_t length = samples_of(rate, random_between(&source, 5.0, 150.0));
    double level = amplitude_ratio(random_between(&source, -60.0, -5.0)) * 32768.0;
    uint32_t kind = random_below(&source, 8);
    if (kind == 0)
      signal_constant(&signal, at, length, random_between(&source, -9000.0, 9000.0));
    if (kind == 1 || kind == 2)
      signal_noise(&signal, at, length, level, &source);
    if (kind == 2)
      signal_noise(&signal, at, length, 30000.0, &source);
    for (uint32_t digits = kind < 4 ? 0 : kind == 7 ? 2 : 1; digits > 0; digits--) {
      char digit = DIGITS[random_below(&source, 16)];
      double phase = random_between(&source, 0.0, 6.0);
      signal_tone(&signal, at, length, low_tone_hz(digit), level, phase);
      signal_tone(&signal, at, length, high_tone_hz(digit), level, 2.0 * phase);
    }
    if (kind == 6)
      signal_noise(&signal, at, length, level * 0.3, &source);
    at += length;
  }
  signal_round(&signal);
  return signal;
}

enum { EXTREMES = 8 };

/* Samples no telephone sends, and no function may stumble over. */
static inline signal_t signal_of_extremes(uint32_t rate, size_t n, int which) {
  random_source source = {2463534242u};
  signal_t signal = signal_new(rate, n);
  for (size_t i = 0; i < n; i++) {
    const int up = which == 2 ? i % 2 == 0 : which == 3 ? i / 11 % 2 == 0 : i % 5000 > 2500;
    switch (which) {
    case 0:
      signal.pcm[i] = -32768;
      break;
    case 1:
      signal.pcm[i] = 32767;
      break;
    case 2: /* half the sampling rate */
    case 3: /* a square wave among the tones */
    case 4: /* steps of full scale */
      signal.pcm[i] = up ? 32767 : -32768;
      break;
    case 5:
      signal.pcm[i] = (int16_t)((int32_t)(random_bits(&source) >> 16) - 32768);
      break;
    case 6: /* a digit driven far into clipping */
      signal.pcm[i] = clip(2e5 * (sin(2.0 * PI * 770.0 * (double)i / rate) +
                                  sin(2.0 * PI * 1336.0 * (double)i / rate)));
      break;
    default:
      signal.pcm[i] = (int16_t)(i == n / 2);
      break;
    }
  }
  return signal;
}

/* ---- cutting -------------------------------------------------------------- */

enum { AT_RANDOM = 0, CUTS = 7 };

static const size_t CUT[CUTS] = {1, 7, 159, 160, 161, 1000, AT_RANDOM};

/* How many samples the next call gets: `cut`, or any number with some zeros. */
static inline size_t next_piece(size_t cut, size_t left, random_source *source) {
  size_t piece = cut;
  if (cut == AT_RANDOM) {
    static const uint32_t limits[4] = {1, 50, 500, 5000};
    piece = random_below(source, limits[random_below(source, 4)]);
  }
  return piece < left ? piece : left;
}

/* Everything a run reported. */
typedef struct {
  rec_edge *edges;
  size_t count, room;
} edge_log;

static inline void edge_log_add(edge_log *log, const rec_edge *edges, size_t count) {
  if (log->count + count > log->room) {
    log->room = 2 * (log->count + count);
    log->edges = realloc(log->edges, log->room * sizeof *log->edges);
    if (!log->edges)
      abort();
  }
  for (size_t i = 0; i < count; i++)
    log->edges[log->count++] = edges[i];
}

static inline void edge_log_free(edge_log *log) {
  free(log->edges);
  *log = (edge_log){NULL, 0, 0};
}

static inline int edge_logs_equal(const edge_log *a, const edge_log *b) {
  if (a->count != b->count)
    return 0;
  for (size_t i = 0; i < a->count; i++)
    if (a->edges[i].position != b->edges[i].position || a->edges[i].kind != b->edges[i].kind ||
        a->edges[i].detail != b->edges[i].detail || a->edges[i].settled != b->edges[i].settled)
      return 0;
  return 1;
}

#endif
