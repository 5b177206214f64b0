/* SPDX-License-Identifier: MIT */
/*
 * DC and hum off: a second-order Butterworth high-pass at 120 Hz by the bilinear
 * transform (A. V. Oppenheim and R. W. Schafer, Discrete-Time Signal Processing,
 * ch. 7), so arranged that four samples need not wait for each other (scattered
 * look-ahead: K. K. Parhi, VLSI Digital Signal Processing Systems, ch. 10):
 *
 *     b0 (1 - z^-1)^2     b0 (1 - z^-1)^2 L(z)
 *     --------------- = ------------------------,   D(z) = 1 + a1 z^-1 + a2 z^-2
 *          D(z)          1 + c4 z^-4 + c8 z^-8
 *
 * where L(z) is what takes the denominator to powers of z^-4. The response is the
 * same; the recursion runs in four lanes.
 */
#include "internal.h"

#include <math.h>
#include <string.h>

#define CUTOFF_HZ 120.0
#define TINY 1e-15f /* below any int16 signal, far above denormals */
#define TAPS REC_HIGHPASS_TAPS
#define HISTORY (TAPS - 1)
#define LANES 4

static const double PI = 3.14159265358979323846;

/* out = a * b, polynomials with n_a and n_b coefficients. */
static void multiply(const double *a, int n_a, const double *b, int n_b, double *out) {
  for (int i = 0; i < n_a + n_b - 1; i++)
    out[i] = 0.0;
  for (int i = 0; i < n_a; i++)
    for (int j = 0; j < n_b; j++)
      out[i + j] += a[i] * b[j];
}

void rec_highpass_init(rec_highpass *self, uint32_t rate) {
  double k = tan(PI * CUTOFF_HZ / rate);
  double norm = 1.0 / (1.0 + sqrt(2.0) * k + k * k);
  double a1 = 2.0 * (k * k - 1.0) * norm;
  double a2 = (1.0 - sqrt(2.0) * k + k * k) * norm;

  /* D(z) D(-z) = 1 + e2 z^-2 + e4 z^-4, and the same trick once more. */
  double e2 = 2.0 * a2 - a1 * a1, e4 = a2 * a2;
  memset(self, 0, sizeof *self);
  self->c4 = (float)(2.0 * e4 - e2 * e2);
  self->c8 = (float)(e4 * e4);

  const double zeros[3] = {norm, -2.0 * norm, norm};
  const double first[3] = {1.0, -a1, a2}; /* D(-z) */
  const double second[5] = {1.0, 0.0, -e2, 0.0, e4};
  double ahead[7], taps[TAPS];
  multiply(first, 3, second, 5, ahead);
  multiply(zeros, 3, ahead, 7, taps);
  for (int i = 0; i < TAPS; i++)
    self->taps[i] = (float)taps[i];
}

/* One output of the taps; x is the oldest of the inputs it takes. */
static inline float filtered(const float t[TAPS], const float *x) {
  return ((t[0] * x[8] + t[1] * x[7]) + (t[2] * x[6] + t[3] * x[5])) +
         ((t[4] * x[4] + t[5] * x[3]) + (t[6] * x[2] + t[7] * x[1])) + t[8] * x[0];
}

double rec_highpass_process(rec_highpass *self, const int16_t *pcm, size_t n, float *y) {
  float x[HISTORY + REC_LEVEL_FRAME_MAX];
  if (n == 0)
    return 0.0;
  if (!self->primed) {
    /* As if the first sample had been there for ever: a DC offset is no step. Taken off as an
     * integer, it costs no precision either. */
    self->offset = pcm[0];
    self->primed = 1;
  }
  memcpy(x, self->x, sizeof self->x);
  for (size_t i = 0; i < n; i++)
    x[HISTORY + i] = (float)(pcm[i] - self->offset);
  memcpy(self->x, x + n, sizeof self->x);

  float taps[TAPS];
  memcpy(taps, self->taps, sizeof taps);
  /* The last eight outputs, oldest first in each. */
  float newer[LANES], older[LANES], squares[LANES] = {0};
  memcpy(newer, self->newer, sizeof newer);
  memcpy(older, self->older, sizeof older);
  const float c4 = self->c4, c8 = self->c8;
  size_t whole = n - n % LANES;
  for (size_t i = 0; i < whole; i += LANES)
    for (size_t lane = 0; lane < LANES; lane++) {
      const float out = (filtered(taps, x + i + lane) - c8 * older[lane]) - c4 * newer[lane];
      older[lane] = newer[lane];
      newer[lane] = out;
      y[i + lane] = out;
      squares[lane] += out * out;
    }
  double sum = ((double)squares[0] + squares[1]) + ((double)squares[2] + squares[3]);
  for (size_t i = whole; i < n; i++) {
    /* Fewer than a round: move all along by one, oldest first. */
    const float out = (filtered(taps, x + i) - c8 * older[0]) - c4 * newer[0];
    memmove(older, older + 1, (LANES - 1) * sizeof *older);
    older[LANES - 1] = newer[0];
    memmove(newer, newer + 1, (LANES - 1) * sizeof *newer);
    newer[LANES - 1] = out;
    y[i] = out;
    sum += (double)out * out;
  }
  for (int lane = 0; lane < LANES; lane++) {
    self->newer[lane] = fabsf(newer[lane]) < TINY ? 0.0f : newer[lane];
    self->older[lane] = fabsf(older[lane]) < TINY ? 0.0f : older[lane];
  }
  return sum / (double)n;
}
