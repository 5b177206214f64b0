/* SPDX-License-Identifier: MIT */
/*
 * What the fuzzers share. Their input is a short program, not samples: bytes changed at
 * random would never make a digit, nor four seconds of noise.
 *
 *   what the fuzzer takes for itself | segment | segment | ...
 *
 * A segment is three bytes, what / length / level, and what else its kind takes. Bytes
 * that are missing are 0. Any input is a program.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "signals.h" /* of tests/c */

/* Stops the fuzzer, which keeps the input. */
#define REQUIRE(cond)                                                                              \
  do {                                                                                             \
    if (!(cond)) {                                                                                 \
      fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #cond);                           \
      abort();                                                                                     \
    }                                                                                              \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- reading ---------------------------------------------------------------- */

typedef struct {
  const uint8_t *at, *end;
} program;

static inline uint32_t take(program *p) { return p->at < p->end ? *p->at++ : 0; }

static inline int32_t take_signed(program *p) { return (int8_t)take(p); }

static inline uint32_t take_16(program *p) {
  const uint32_t high = take(p);
  return high << 8 | take(p);
}

static inline uint32_t take_rate(program *p) { return RATE[take(p) % RATES]; }

/* Any double there is: infinities and what is no number, too. */
static inline double take_double(program *p) {
  uint64_t bits = 0;
  double value;
  for (int i = 0; i < 4; i++)
    bits = bits << 16 | take_16(p);
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* ---- segments ----------------------------------------------------------------- */

enum { CONSTANT, DIGIT, SINE, NOISE, PULSES, RAW, REPEAT, SPEECHLIKE };
enum { KINDS = 8, TOGETHER = 8 }; /* TOGETHER: the next segment begins where this one does */

/* Single milliseconds up to 127, then 24 at a time, up to 3.2 s. */
static inline size_t segment_length(uint32_t rate, uint32_t code) {
  return samples_of(rate, code < 128 ? code : 128 + (code - 128) * 24);
}

/* From 6 dB over full scale down to less than one step of 16 bits. */
static inline double segment_amplitude(uint32_t code) {
  return 32768.0 * amplitude_ratio(6.0 - 0.4 * code);
}

/* Renders one segment at `at`; returns its length. */
static inline size_t render(program *p, signal_t *signal, size_t at, uint32_t what) {
  size_t length = segment_length(signal->rate, take(p));
  const double amplitude = segment_amplitude(take(p));
  if (length > signal->n - at)
    length = signal->n - at;
  switch (what % KINDS) {
  case CONSTANT:
    signal_constant(signal, at, length, take_signed(p) * 256.0);
    break;
  case DIGIT: {
    const char digit = DIGITS[what >> 4];
    const double twist = amplitude_ratio(take_signed(p) / 8.0); /* up to 16 dB */
    const double factor = 1.0 + take_signed(p) / 32.0 / 100.0;  /* up to 4 % */
    signal_tone(signal, at, length, low_tone_hz(digit) * factor, amplitude, 0.0);
    signal_tone(signal, at, length, high_tone_hz(digit) * factor, amplitude * twist, 1.0);
    break;
  }
  case SINE:
    signal_tone(signal, at, length, take_16(p) / 16.0, amplitude, 0.0);
    break;
  case NOISE: {
    random_source source = {1 + take(p)};
    signal_noise(signal, at, length, amplitude, &source);
    break;
  }
  case PULSES: {
    const size_t period = 1 + take_16(p);
    for (size_t i = 0; i < length; i += period)
      signal->mix[at + i] += amplitude;
    break;
  }
  case RAW: /* as few as there are bytes; they set what follows off by single samples */
    for (size_t i = 0; i < length; i++) {
      if (p->at == p->end || i == 100)
        return i;
      signal->mix[at + i] += (int16_t)take_16(p);
    }
    break;
  case REPEAT: /* what was last, once more */
    if (length > at)
      length = at;
    memcpy(signal->mix + at, signal->mix + at - length,
           (length < signal->n - at ? length : signal->n - at) * sizeof *signal->mix);
    break;
  case SPEECHLIKE: { /* harmonics of a pitch of 80 to 335 Hz that rises by a fifth */
    const double pitch = 80.0 + take(p);
    double phase = 0.0;
    for (size_t i = 0; i < length; i++) {
      phase += pitch * (1.0 + 0.2 * (double)i / (double)length) / signal->rate;
      phase -= floor(phase);
      signal->mix[at + i] += amplitude * (2.0 * phase * phase * phase - 0.5);
    }
    break;
  }
  }
  return length;
}

/* The signal that the rest of the program says, this long at most. */
static inline signal_t expand(program *p, uint32_t rate, double seconds) {
  signal_t signal = signal_new(rate, samples_of(rate, seconds * 1000.0));
  size_t at = 0, end = 0;
  while (p->at < p->end && at < signal.n) {
    const uint32_t what = take(p);
    const size_t length = render(p, &signal, at, what);
    end = at + length > end ? at + length : end;
    at += what & TOGETHER ? 0 : length;
  }
  signal.n = end;
  signal_round(&signal);
  return signal;
}

/* ---- cutting -------------------------------------------------------------------- */

typedef struct {
  size_t size; /* or AT_RANDOM */
  random_source source;
} cutting;

static inline cutting take_cutting(program *p) {
  const size_t size = take_16(p);
  return (cutting){size, {1 + (uint32_t)size + take(p)}};
}

/* Not more than some thousand pieces, or long signals would take all the time. */
static inline size_t cut_next(cutting *how, size_t n, size_t done) {
  const size_t least = n / 4096 + 1;
  const size_t size = how->size && how->size < least ? least : how->size;
  return next_piece(size, n - done, &how->source);
}

/* A copy in memory of exactly its size, for the sanitizer to see a read past it. */
static inline int16_t *exactly(const int16_t *pcm, size_t n) {
  int16_t *copy = malloc(n * sizeof *copy + !n);
  REQUIRE(copy);
  memcpy(copy, pcm, n * sizeof *copy);
  return copy;
}

static inline rec_edge *room_for_edges(uint32_t rate, size_t n) {
  rec_edge *edges = malloc(rec_edges_bound(rate, n) * sizeof *edges);
  REQUIRE(edges);
  return edges;
}

#endif
