/* SPDX-License-Identifier: MIT */
/*
 * What is on the line besides two tones: fit both, take them away, and measure the
 * rest by band. A digit leaves little, speech that resembles one leaves the rest
 * of its harmonics.
 */
#include "internal.h"

#include <math.h>
#include <string.h>

#define FFT_SIZE 512
#define FIT_PASSES 3 /* the tones are nearly orthogonal: each pass gains some 30 dB */
#define BAND_LIMIT_1_HZ 550.0
#define BAND_LIMIT_2_HZ 1050.0
#define BAND_LIMIT_3_HZ 1800.0

static const double PI = 3.14159265358979323846;

/* In place, decimation in time (J. W. Cooley and J. W. Tukey, 1965). */
static void fft(float re[FFT_SIZE], float im[FFT_SIZE]) {
  for (int i = 1, j = 0; i < FFT_SIZE; i++) {
    int bit = FFT_SIZE >> 1;
    for (; j & bit; bit >>= 1)
      j ^= bit;
    j ^= bit;
    if (i < j) {
      float swap = re[i];
      re[i] = re[j];
      re[j] = swap;
      swap = im[i];
      im[i] = im[j];
      im[j] = swap;
    }
  }
  for (int size = 2; size <= FFT_SIZE; size *= 2) {
    const double turn = -2.0 * PI / size, turn_re = cos(turn), turn_im = sin(turn);
    double w_re = 1.0, w_im = 0.0;
    for (int k = 0; k < size / 2; k++) {
      const float c = (float)w_re, s = (float)w_im;
      for (int a = k; a < FFT_SIZE; a += size) {
        const int b = a + size / 2;
        const float x = re[b] * c - im[b] * s, y = re[b] * s + im[b] * c;
        re[b] = re[a] - x;
        im[b] = im[a] - y;
        re[a] += x;
        im[a] += y;
      }
      const double next = w_re * turn_re - w_im * turn_im;
      w_im = w_re * turn_im + w_im * turn_re;
      w_re = next;
    }
  }
}

/* Takes the tone that best fits `rest` under the window out of it; adds its complex
 * amplitude to `re` and `im`. */
static void take_tone(float *rest, const float *window, float window_sum, int n, double omega,
                      double *re, double *im) {
  const double turn_re = cos(omega), turn_im = sin(omega);
  float c[FFT_SIZE], s[FFT_SIZE];
  double w_re = 1.0, w_im = 0.0, sum_re = 0.0, sum_im = 0.0;
  for (int i = 0; i < n; i++) {
    c[i] = (float)w_re;
    s[i] = (float)w_im;
    sum_re += window[i] * rest[i] * c[i];
    sum_im -= window[i] * rest[i] * s[i];
    const double next = w_re * turn_re - w_im * turn_im;
    w_im = w_re * turn_im + w_im * turn_re;
    w_re = next;
  }
  const float a = (float)(2.0 * sum_re / window_sum), b = (float)(2.0 * sum_im / window_sum);
  for (int i = 0; i < n; i++)
    rest[i] -= a * c[i] - b * s[i];
  *re += a;
  *im += b;
}

void rec_residual_measure(const float *x, int n, double rate, double low_omega, double high_omega,
                          rec_residual *out) {
  float rest[FFT_SIZE], window[FFT_SIZE], re[FFT_SIZE] = {0}, im[FFT_SIZE] = {0};
  float window_sum = 0.0f, window_power = 0.0f, mean = 0.0f;
  memset(out, 0, sizeof *out);
  if (n > FFT_SIZE)
    n = FFT_SIZE;
  if (n <= 0)
    return;
  for (int i = 0; i < n; i++) {
    window[i] = (float)(0.5 - 0.5 * cos(2.0 * PI * (i + 0.5) / n));
    window_sum += window[i];
    window_power += window[i] * window[i];
    mean += window[i] * x[i];
  }
  for (int i = 0; i < n; i++)
    rest[i] = x[i] - mean / window_sum;
  double low[2] = {0.0, 0.0}, high[2] = {0.0, 0.0};
  for (int pass = 0; pass < FIT_PASSES; pass++) {
    take_tone(rest, window, window_sum, n, low_omega, &low[0], &low[1]);
    take_tone(rest, window, window_sum, n, high_omega, &high[0], &high[1]);
  }
  out->low_tone = (low[0] * low[0] + low[1] * low[1]) / 2.0 * window_power;
  out->high_tone = (high[0] * high[0] + high[1] * high[1]) / 2.0 * window_power;

  for (int i = 0; i < n; i++)
    re[i] = window[i] * rest[i];
  fft(re, im);
  for (int k = 1; k < FFT_SIZE / 2; k++) {
    const double hz = k * rate / FFT_SIZE;
    const int band = (hz >= BAND_LIMIT_1_HZ) + (hz >= BAND_LIMIT_2_HZ) + (hz >= BAND_LIMIT_3_HZ);
    out->bands[band] += 2.0 / FFT_SIZE * ((double)re[k] * re[k] + (double)im[k] * im[k]);
  }
}
