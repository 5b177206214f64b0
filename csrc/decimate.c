/* SPDX-License-Identifier: MIT */
/*
 * Integer decimation through a linear-phase low-pass: windowed sinc with a Kaiser
 * window, beta 5 (J. F. Kaiser, "Nonrecursive digital filter design using the
 * I0-sinh window function", 1974), 8 taps per factor, cut off at 0.475 of the
 * inner rate. Aliases that matter to DTMF (images of 697..1633 Hz) are 59 dB down.
 *
 * In whole numbers, since a processor adds eight products of 16 bits at once: with 15
 * fractional bits the taps' magnitudes add up to less than 2, so that 32 bits hold the
 * largest sum.
 */
#include "internal.h"

#include <math.h>
#include <string.h>

#define TAPS_PER_FACTOR 8
#define KAISER_BETA 5.0
#define CUTOFF 0.475 /* of the inner rate */
#define ONE 32768.0  /* a coefficient of 1 */

static const double PI = 3.14159265358979323846;

/* The modified Bessel function of order zero, by its power series. */
static double bessel_i0(double x) {
  double sum = 1.0, term = 1.0;
  for (int k = 1; k < 40; k++) {
    term *= (x / (2.0 * k)) * (x / (2.0 * k));
    sum += term;
  }
  return sum;
}

void rec_decimator_table_init(rec_decimator_table *self, uint32_t factor) {
  memset(self, 0, sizeof *self);
  self->factor = factor;
  self->taps = TAPS_PER_FACTOR * factor;
  double cutoff = CUTOFF / factor, centre = (self->taps - 1) / 2.0, sum = 0.0;
  double raw[REC_DECIMATE_TAPS_MAX];
  for (uint32_t i = 0; i < self->taps; i++) {
    double t = i - centre, r = t / centre; /* taps is even: t is never 0 */
    double window = bessel_i0(KAISER_BETA * sqrt(1.0 - r * r)) / bessel_i0(KAISER_BETA);
    raw[i] = sin(2.0 * PI * cutoff * t) / (PI * t) * window;
    sum += raw[i];
  }
  int left = (int)ONE; /* of the sum, for a gain of exactly 1 at 0 Hz */
  for (uint32_t i = 0; i < self->taps; i++) {
    self->coefficients[i] = (int16_t)lround(ONE * raw[i] / sum);
    left -= self->coefficients[i];
  }
  self->coefficients[self->taps / 2 - 1] += (int16_t)(left / 2);
  self->coefficients[self->taps / 2] += (int16_t)(left / 2);
}

void rec_decimator_init(rec_decimator *self) { memset(self, 0, sizeof *self); }

void rec_decimator_process(rec_decimator *self, const rec_decimator_table *table,
                           const int16_t *pcm, size_t n_out, float *out) {
  const size_t taps = table->taps, factor = table->factor, n_in = n_out * factor;
  const size_t old = taps - factor;
  int16_t all[REC_DECIMATE_OLD_MAX + REC_DECIMATE_IN_MAX]; /* the old inputs, then the new ones */
  memcpy(all, self->old, old * sizeof *all);
  memcpy(all + old, pcm, n_in * sizeof *pcm);
  for (size_t k = 0; k < n_out; k++) {
    const int16_t *x = all + k * factor;
    int32_t sum = 0;
    for (size_t i = 0; i < taps; i++)
      sum += (int32_t)table->coefficients[i] * x[i];
    out[k] = (float)sum / (float)ONE;
  }
  memcpy(self->old, all + n_in, old * sizeof *all);
}
