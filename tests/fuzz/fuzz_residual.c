/* SPDX-License-Identifier: MIT */
/* What two tones leave: finite energies, in proportion to the sound. */
#include "fuzz.h"

enum { VALUES = 6 };

static void values_of(const rec_residual *r, double values[VALUES]) {
  values[0] = r->low_tone;
  values[1] = r->high_tone;
  for (int band = 0; band < 4; band++)
    values[2 + band] = r->bands[band];
}

static double omega_of(program *p, double hz, double rate, int any) {
  if (any)
    return PI * take_16(p) / 65535.0;
  return 2.0 * PI * hz * (1.0 + take_signed(p) / 3200.0) / rate;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  program p = {data, data + size};
  const uint32_t flags = take(&p);
  const double rate = flags & 1 ? 8820.0 : 8000.0;
  const int n = (int)(take_16(&p) % 700) - 50; /* too few and too many are allowed */
  const char digit = DIGITS[flags >> 4];
  const double low = omega_of(&p, low_tone_hz(digit), rate, flags & 2);
  const double high = omega_of(&p, high_tone_hz(digit), rate, flags & 2);
  signal_t signal = expand(&p, 8000, 0.1);

  const size_t used = n < 0 ? 0 : n > 512 ? 512 : (size_t)n;
  float *x = allocate(used, sizeof *x), *louder = allocate(used, sizeof *louder);
  for (size_t i = 0; i < used && i < signal.n; i++) {
    x[i] = signal.pcm[i];
    louder[i] = 16.0f * x[i];
  }
  rec_residual r;
  double values[VALUES], scaled[VALUES], all = 0.0;
  memset(&r, 0xff, sizeof r); /* all NaN */
  rec_residual_measure(x, n, rate, low, high, &r);
  values_of(&r, values);
  for (int i = 0; i < VALUES; i++) {
    REQUIRE(isfinite(values[i]) && values[i] >= 0.0);
    REQUIRE(n > 0 || values[i] == 0.0);
    all += values[i];
  }
  /* A power of two costs no precision. */
  rec_residual_measure(louder, n, rate, low, high, &r);
  values_of(&r, scaled);
  for (int i = 0; i < VALUES; i++)
    REQUIRE(fabs(scaled[i] / 256.0 - values[i]) <= 1e-9 * all);
  free(x);
  free(louder);
  signal_free(&signal);
  return 0;
}
