/* SPDX-License-Identifier: MIT */
/*
 * DC and hum off: a second-order Butterworth high-pass at 120 Hz by the bilinear
 * transform (A. V. Oppenheim and R. W. Schafer, Discrete-Time Signal Processing,
 * ch. 7), in transposed direct form II.
 */
#include "recorder_core.h"

#include <math.h>

#define CUTOFF_HZ 120.0
#define TINY 1e-20 /* below any int16 signal, far above denormals */

static const double PI = 3.14159265358979323846;

void rec_highpass_init(rec_highpass *self, uint32_t rate) {
  double k = tan(PI * CUTOFF_HZ / rate);
  double norm = 1.0 / (1.0 + sqrt(2.0) * k + k * k);
  self->b0 = norm;
  self->b1 = -2.0 * norm;
  self->b2 = norm;
  self->a1 = 2.0 * (k * k - 1.0) * norm;
  self->a2 = (1.0 - sqrt(2.0) * k + k * k) * norm;
  self->z1 = self->z2 = 0.0;
  self->primed = 0;
}

double rec_highpass_power(rec_highpass *self, const int16_t *pcm, size_t n) {
  if (n == 0)
    return 0.0;
  if (!self->primed) {
    /* As if the first sample had been there for ever: a DC offset is no step. */
    self->z1 = -self->b0 * pcm[0];
    self->z2 = self->b2 * pcm[0];
    self->primed = 1;
  }
  const double b0 = self->b0, b1 = self->b1, b2 = self->b2;
  const double a1 = self->a1, a2 = self->a2;
  double z1 = self->z1, z2 = self->z2, sum = 0.0;
  for (size_t i = 0; i < n; i++) {
    double x = pcm[i];
    double y = b0 * x + z1;
    z1 = b1 * x - a1 * y + z2;
    z2 = b2 * x - a2 * y;
    sum += y * y;
  }
  self->z1 = fabs(z1) < TINY ? 0.0 : z1;
  self->z2 = fabs(z2) < TINY ? 0.0 : z2;
  return sum / (double)n;
}
