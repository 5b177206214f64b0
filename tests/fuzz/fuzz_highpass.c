/* SPDX-License-Identifier: MIT */
/* The high-pass: blocks of any length leave no seam, and it is the textbook's filter. */
#include "fuzz.h"

#define LONGEST REC_LEVEL_FRAME_MAX

#define SEAM 1e-3 /* all that flushing to zero at a block's end may do */
/* In steps of 16 bits: what float32 costs the recursion. At 48 kHz it is about 1. */
#define TEXTBOOK 4.0

static float *filter(const signal_t *signal, cutting how) {
  rec_highpass highpass;
  rec_highpass_init(&highpass, signal->rate);
  float *y = allocate(signal->n, sizeof *y);
  size_t piece;
  for (size_t done = 0; done < signal->n; done += piece) {
    const size_t left = signal->n - done;
    piece = next_piece(how.size, left < LONGEST ? left : LONGEST, &how.source);
    int16_t *pcm = exactly(signal->pcm + done, piece);
    float *part = allocate(piece, sizeof *part);
    const double mean_square = rec_highpass_process(&highpass, pcm, piece, part);
    double sum = 0.0;
    for (size_t i = 0; i < piece; i++) {
      REQUIRE(isfinite(part[i]));
      sum += (double)part[i] * part[i];
    }
    const double expected = piece ? sum / (double)piece : 0.0;
    REQUIRE(fabs(mean_square - expected) <= 1e-5 * expected);
    memcpy(y + done, part, piece * sizeof *y);
    free(pcm);
    free(part);
  }
  return y;
}

/* Second-order Butterworth at 120 Hz, direct form, in double. */
static void check_textbook(const signal_t *signal, const float *y) {
  const double k = tan(PI * 120.0 / signal->rate), norm = 1.0 / (1.0 + sqrt(2.0) * k + k * k);
  const double a1 = 2.0 * (k * k - 1.0) * norm, a2 = (1.0 - sqrt(2.0) * k + k * k) * norm;
  double x1 = signal->n ? signal->pcm[0] : 0.0, x2 = x1, y1 = 0.0, y2 = 0.0;
  for (size_t i = 0; i < signal->n; i++) {
    const double x = signal->pcm[i];
    const double out = norm * (x - 2.0 * x1 + x2) - a1 * y1 - a2 * y2;
    REQUIRE(fabs(out - y[i]) <= TEXTBOOK);
    x2 = x1;
    x1 = x;
    y2 = y1;
    y1 = out;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  program p = {data, data + size};
  const uint32_t rate = take_rate(&p);
  cutting how = take_cutting(&p);
  how.size %= LONGEST + 1;
  signal_t signal = expand(&p, rate, 1.0);
  float *whole = filter(&signal, (cutting){LONGEST, {1}});
  float *cut = filter(&signal, how);
  for (size_t i = 0; i < signal.n; i++)
    REQUIRE(fabsf(whole[i] - cut[i]) <= (float)SEAM);
  check_textbook(&signal, whole);
  free(whole);
  free(cut);
  signal_free(&signal);
  return 0;
}
