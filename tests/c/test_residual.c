/* SPDX-License-Identifier: MIT */
/* What two tones leave over: nothing of their own, and all of anything else. */
#include "check.h"
#include "signals.h"

enum { LONGEST = 512 };

static const double INNER[2] = {8000.0, 8820.0}; /* the digit decoder's two rates */

static void add_tone(float *x, int n, double rate, double hz, double amplitude, double phase) {
  for (int i = 0; i < n; i++)
    x[i] += (float)(amplitude * sin(phase + 2.0 * PI * hz * i / rate));
}

static rec_residual measure(const float *x, int n, double rate, int digit) {
  rec_residual result;
  rec_residual_measure(x, n, rate, 2.0 * PI * low_tone_hz(digit) / rate,
                       2.0 * PI * high_tone_hz(digit) / rate, &result);
  return result;
}

/* The energy, under the window, of a tone of amplitude 1. */
static double unit_energy(int n) {
  double sum = 0.0;
  for (int i = 0; i < n; i++) {
    double window = 0.5 - 0.5 * cos(2.0 * PI * (i + 0.5) / n);
    sum += window * window / 2.0;
  }
  return sum;
}

/* Down to 10 ms, where the tones are hardly orthogonal and fitting once is not enough. */
static void two_tones_leave_nothing(void) {
  static const int lengths[] = {88, 100, 150, 200, 250, 320, 400, 493, 512};
  for (int r = 0; r < 2; r++)
    for (int d = 0; d < 16; d++)
      for (int l = 0; l < 9; l++) {
        const int n = lengths[l], digit = DIGITS[d];
        check_case("rate %g, digit %c, %d samples", INNER[r], digit, n);
        float x[LONGEST] = {0};
        add_tone(x, n, INNER[r], low_tone_hz(digit), 3000.0, 0.5 + d);
        add_tone(x, n, INNER[r], high_tone_hz(digit), 2000.0, 1.5 + l);
        rec_residual result = measure(x, n, INNER[r], digit);
        CHECK_NEAR(decibels(result.low_tone / (unit_energy(n) * 9e6)), 0.0, 0.1);
        CHECK_NEAR(decibels(result.high_tone / (unit_energy(n) * 4e6)), 0.0, 0.1);
        for (int band = 0; band < 4; band++)
          CHECK(result.bands[band] < 1e-6 * (result.low_tone + result.high_tone));
      }
}

/* A third tone 20 dB below each of the two, in the middle of each band in turn. Only
 * digits whose tones are clear of it: two tones in one bin are not separable. */
static void third_tone_shows(void) {
  static const double third[4] = {300.0, 800.0, 1400.0, 2500.0};
  for (int r = 0; r < 2; r++)
    for (int d = 0; d < 16; d++)
      for (int t = 0; t < 4; t++) {
        const int n = 448, digit = DIGITS[d];
        if (fabs(third[t] - low_tone_hz(digit)) < 60.0 ||
            fabs(third[t] - high_tone_hz(digit)) < 60.0)
          continue;
        check_case("rate %g, digit %c, third tone %g Hz", INNER[r], digit, third[t]);
        float x[LONGEST] = {0};
        add_tone(x, n, INNER[r], low_tone_hz(digit), 3000.0, 0.1 + d);
        add_tone(x, n, INNER[r], high_tone_hz(digit), 3000.0, 0.9 * d);
        add_tone(x, n, INNER[r], third[t], 300.0, 2.0 + t);
        rec_residual result = measure(x, n, INNER[r], digit);
        for (int band = 0; band < 4; band++)
          if (band == t)
            CHECK_NEAR(decibels(result.bands[band] / result.low_tone), -20.0, 1.0);
          else
            CHECK(decibels(result.bands[band] / result.low_tone) < -35.0);
      }
}

/* DC is no sound, and must not leak into the lowest band. */
static void offset_is_taken_out(void) {
  check_case("offset");
  float x[LONGEST];
  for (int i = 0; i < LONGEST; i++)
    x[i] = 10000.0f;
  add_tone(x, LONGEST, 8000.0, 770.0, 1000.0, 0.0);
  add_tone(x, LONGEST, 8000.0, 1336.0, 1000.0, 0.0);
  rec_residual result = measure(x, LONGEST, 8000.0, '5');
  for (int band = 0; band < 4; band++)
    CHECK(result.bands[band] < 1e-6 * result.low_tone);
}

/* More than 512 samples: the first 512 of them, in memory that holds no more. Of no
 * samples at all only the bands have a meaning. */
static void total(void) {
  static const int lengths[] = {0, 1, 2, 3, 7, 88, 511, 512, 513, 1 << 30};
  for (int which = 0; which < EXTREMES; which++)
    for (int l = 0; l < 10; l++) {
      const int n = lengths[l], held = n < LONGEST ? n : LONGEST;
      check_case("extreme %d, %d samples", which, n);
      signal_t signal = signal_of_extremes(8000, (size_t)held, which);
      float *x = allocate((size_t)held, sizeof *x);
      for (int i = 0; i < held; i++)
        x[i] = signal.pcm[i];
      rec_residual result = measure(x, n, 8000.0, '5');
      if (n > 0) {
        CHECK(isfinite(result.low_tone) && isfinite(result.high_tone));
        CHECK(result.low_tone >= 0.0 && result.high_tone >= 0.0);
      }
      for (int band = 0; band < 4; band++)
        CHECK(isfinite(result.bands[band]) && result.bands[band] >= 0.0);
      if (n > LONGEST) {
        rec_residual whole = measure(x, LONGEST, 8000.0, '5');
        CHECK(memcmp(&whole, &result, sizeof whole) == 0);
      }
      free(x);
      signal_free(&signal);
    }
}

int main(void) {
  two_tones_leave_nothing();
  third_tone_shows();
  offset_is_taken_out();
  total();
  return check_report("test_residual");
}
