/* SPDX-License-Identifier: MIT */
/* The high-pass: its response, and that the four-lane form is still that filter. */
#include "check.h"
#include "signals.h"

static double power_of(rec_highpass *filter, const int16_t *pcm, size_t n) {
  float y[REC_LEVEL_FRAME_MAX];
  return rec_highpass_process(filter, pcm, n, y);
}

#define CUTOFF_HZ 120.0

/* |H|^2 of the second-order Butterworth high-pass. */
static double butterworth(double hz) { return 1.0 / (1.0 + pow(CUTOFF_HZ / hz, 4.0)); }

/* The mean power of `pcm` after the filter, leaving out the first `settle` frames. */
static double settled_power(uint32_t rate, const signal_t *signal, size_t settle) {
  const size_t frame = rec_level_frame(rate), frames = signal->n / frame;
  rec_highpass filter;
  rec_highpass_init(&filter, rate);
  double sum = 0.0;
  for (size_t i = 0; i < frames; i++) {
    double power = power_of(&filter, signal->pcm + i * frame, frame);
    sum += i < settle ? 0.0 : power;
  }
  return sum / (double)(frames - settle);
}

static void gain_of_sines(void) {
  static const double hz[] = {60.0, 120.0, 300.0, 1000.0};
  const double amplitude = 20000.0;
  for (int r = 0; r < RATES; r++)
    for (int i = 0; i < 4; i++) {
      check_case("rate %lu, %g Hz", (unsigned long)RATE[r], hz[i]);
      /* 1 s after 0.5 s: whole periods of all four. */
      signal_t signal = signal_new(RATE[r], 75 * rec_level_frame(RATE[r]));
      signal_tone(&signal, 0, signal.n, hz[i], amplitude, 0.4);
      signal_round(&signal);
      double gain = settled_power(RATE[r], &signal, 25) / (amplitude * amplitude / 2.0);
      CHECK_NEAR(decibels(gain), decibels(butterworth(hz[i])), 0.1);
      if (hz[i] == CUTOFF_HZ)
        CHECK_NEAR(decibels(gain), -3.01, 0.1);
      signal_free(&signal);
    }
}

/* Primed with the first sample, so that an offset is no step: nothing comes out, from
 * the first frame on. Nothing is 70 dB less than went in: single precision leaves up to
 * -81 dB at 48 kHz, where the poles are nearest to 1. */
static void offset_is_nothing(void) {
  static const double offsets[] = {10000.0, -10000.0, 32767.0, -32768.0, 1.0};
  for (int r = 0; r < RATES; r++)
    for (int i = 0; i < 5; i++) {
      check_case("rate %lu, offset %g", (unsigned long)RATE[r], offsets[i]);
      const size_t frame = rec_level_frame(RATE[r]);
      const double allowed = offsets[i] * offsets[i] * 1e-7;
      signal_t signal = signal_new(RATE[r], 100 * frame);
      signal_constant(&signal, 0, signal.n, offsets[i]);
      signal_round(&signal);
      rec_highpass filter;
      rec_highpass_init(&filter, RATE[r]);
      for (size_t k = 0; k < 100; k++)
        CHECK_NEAR(power_of(&filter, signal.pcm + k * frame, frame), 0.0, allowed);
      signal_free(&signal);
    }
}

/* ---- against the plain filter --------------------------------------------- */

typedef struct {
  double b0, a1, a2, x1, x2, y1, y2;
} plain_filter;

static plain_filter plain_init(uint32_t rate, int16_t first) {
  const double k = tan(PI * CUTOFF_HZ / rate), norm = 1.0 / (1.0 + sqrt(2.0) * k + k * k);
  return (plain_filter){.b0 = norm,
                        .a1 = 2.0 * (k * k - 1.0) * norm,
                        .a2 = (1.0 - sqrt(2.0) * k + k * k) * norm,
                        .x1 = first,
                        .x2 = first};
}

static double plain_power(plain_filter *filter, const int16_t *pcm, size_t n) {
  double sum = 0.0;
  for (size_t i = 0; i < n; i++) {
    double y = filter->b0 * (pcm[i] - 2.0 * filter->x1 + filter->x2) - filter->a1 * filter->y1 -
               filter->a2 * filter->y2;
    filter->x2 = filter->x1;
    filter->x1 = pcm[i];
    filter->y2 = filter->y1;
    filter->y1 = y;
    sum += y * y;
  }
  return sum / (double)n;
}

/* `cut`: 0 for whole frames, else pieces of at most so many samples, so that all
 * remainders of the lanes occur. */
static void same_as_plain(uint32_t rate, double deviation, double offset, uint32_t cut) {
  random_source source = {88172645u + rate};
  const size_t frame = rec_level_frame(rate), frames = 100;
  signal_t signal = signal_new(rate, frames * frame);
  signal_noise(&signal, 0, signal.n, deviation, &source);
  signal_constant(&signal, 0, signal.n, offset);
  signal_round(&signal);
  plain_filter plain = plain_init(rate, signal.pcm[0]);
  rec_highpass filter;
  rec_highpass_init(&filter, rate);
  for (size_t k = 0; k < frames; k++) {
    const int16_t *pcm = signal.pcm + k * frame;
    double sum = 0.0;
    for (size_t at = 0, n; at < frame; at += n) {
      n = cut ? 1 + random_below(&source, cut) : frame;
      n = n < frame - at ? n : frame - at;
      sum += power_of(&filter, pcm + at, n) * (double)n;
    }
    double expected = plain_power(&plain, pcm, frame);
    CHECK_NEAR(sum / (double)frame, expected, 1e-3 * expected);
  }
  signal_free(&signal);
}

static void all_same_as_plain(void) {
  static const uint32_t cuts[] = {0, 1, 3, 4, 13};
  for (int r = 0; r < RATES; r++)
    for (int c = 0; c < 5; c++) {
      check_case("rate %lu, pieces to %lu", (unsigned long)RATE[r], (unsigned long)cuts[c]);
      same_as_plain(RATE[r], 30000.0, 0.0, cuts[c]); /* clipped noise: full scale */
      same_as_plain(RATE[r], 5000.0, 0.0, cuts[c]);
      same_as_plain(RATE[r], 100.0, 0.0, cuts[c]);
      same_as_plain(RATE[r], 1000.0, 10000.0, cuts[c]);
    }
}

/* ---- anything at all ------------------------------------------------------- */

static void total(void) {
  for (int r = 0; r < RATES; r++)
    for (int which = 0; which < EXTREMES; which++) {
      check_case("rate %lu, extreme %d", (unsigned long)RATE[r], which);
      const size_t frame = rec_level_frame(RATE[r]);
      signal_t signal = signal_of_extremes(RATE[r], 100 * frame, which);
      rec_highpass filter;
      rec_highpass_init(&filter, RATE[r]);
      for (size_t k = 0; k < 100; k++) {
        double power = power_of(&filter, signal.pcm + k * frame, frame);
        CHECK(isfinite(power) && power >= 0.0);
        /* A step of full scale is the most: peaks of twice full scale, little more. */
        CHECK(power < 5.0 * 32768.0 * 32768.0);
      }
      signal_free(&signal);
    }
}

/* No samples have no power, and must not prime the filter either. */
static void nothing(void) {
  rec_highpass filter;
  int16_t pcm[160];
  for (int i = 0; i < 160; i++)
    pcm[i] = 10000;
  check_case("no samples");
  rec_highpass_init(&filter, 8000);
  CHECK(power_of(&filter, pcm, 0) == 0.0);
  CHECK_NEAR(power_of(&filter, pcm, 160), 0.0, 1.0);
  CHECK(power_of(&filter, pcm, 0) == 0.0);
}

/* After a loud sound the filter must come to rest, not to denormals. */
static void comes_to_rest(void) {
  for (int r = 0; r < RATES; r++) {
    check_case("rate %lu", (unsigned long)RATE[r]);
    const size_t frame = rec_level_frame(RATE[r]);
    int16_t pcm[REC_LEVEL_FRAME_MAX] = {0};
    rec_highpass filter;
    rec_highpass_init(&filter, RATE[r]);
    pcm[1] = 32767;
    CHECK(power_of(&filter, pcm, frame) > 0.0);
    pcm[1] = 0;
    double power = 1.0;
    for (int k = 0; k < 50; k++)
      power = power_of(&filter, pcm, frame);
    CHECK(power == 0.0);
  }
}

int main(void) {
  gain_of_sines();
  offset_is_nothing();
  all_same_as_plain();
  total();
  nothing();
  comes_to_rest();
  return check_report("test_highpass");
}
