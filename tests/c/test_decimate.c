/* SPDX-License-Identifier: MIT */
/* Decimation: what passes, what does not, and that blocks leave no seams. */
#include "check.h"
#include "signals.h"

#define INNER_RATE 8000u

/* A whole signal through the decimator, `block` outputs at a time, 0 for at random. */
static float *decimated(const signal_t *signal, uint32_t factor, size_t block, size_t *n_out) {
  random_source source = {362436069u};
  const size_t most = REC_DECIMATE_IN_MAX / factor < REC_DECIMATE_OUT_MAX
                          ? REC_DECIMATE_IN_MAX / factor
                          : REC_DECIMATE_OUT_MAX;
  *n_out = signal->n / factor;
  float *out = allocate(*n_out, sizeof *out);
  rec_decimator_table table;
  rec_decimator decimator;
  rec_decimator_table_init(&table, factor);
  rec_decimator_init(&decimator);
  for (size_t done = 0; done < *n_out;) {
    size_t n = block ? block : random_below(&source, (uint32_t)most + 1);
    n = n < *n_out - done ? n : *n_out - done;
    rec_decimator_process(&decimator, &table, signal->pcm + done * factor, n, out + done);
    done += n;
  }
  return out;
}

/* The mean square of a second of outputs, after what the filter needs to fill. */
static double tone_gain(uint32_t factor, double hz) {
  const double amplitude = 20000.0;
  const uint32_t rate = INNER_RATE * factor;
  signal_t signal = signal_new(rate, rate + rate / 4);
  signal_tone(&signal, 0, signal.n, hz, amplitude, 0.3);
  signal_round(&signal);
  size_t n;
  float *out = decimated(&signal, factor, 160, &n);
  double sum = 0.0;
  for (size_t i = n - INNER_RATE; i < n; i++)
    sum += (double)out[i] * out[i];
  free(out);
  signal_free(&signal);
  return decibels(sum / INNER_RATE / (amplitude * amplitude / 2.0));
}

static void constant_passes(void) {
  static const int16_t constants[] = {10000, -32768, 32767, 1};
  for (uint32_t factor = 1; factor <= REC_DECIMATE_MAX; factor++)
    for (int c = 0; c < 4; c++) {
      check_case("factor %lu, constant %d", (unsigned long)factor, constants[c]);
      signal_t signal = signal_new(INNER_RATE * factor, 400 * factor);
      signal_constant(&signal, 0, signal.n, constants[c]);
      signal_round(&signal);
      size_t n;
      float *out = decimated(&signal, factor, 100, &n);
      for (size_t i = 8; i < n; i++) /* eight outputs: the filter is full */
        CHECK_NEAR(out[i], constants[c], 1e-5 * abs(constants[c]));
      free(out);
      signal_free(&signal);
    }
}

/* The tones of DTMF pass unchanged; what would fold onto them, 8000 Hz away, does not. */
static void tones(void) {
  static const double hz[] = {697, 770, 852, 941, 1000, 1209, 1336, 1477, 1633};
  for (uint32_t factor = 2; factor <= REC_DECIMATE_MAX; factor++)
    for (int i = 0; i < 9; i++) {
      check_case("factor %lu, %g Hz", (unsigned long)factor, hz[i]);
      CHECK_NEAR(tone_gain(factor, hz[i]), 0.0, 0.1);
      CHECK(tone_gain(factor, INNER_RATE - hz[i]) < -40.0);
      if (factor > 2)
        CHECK(tone_gain(factor, INNER_RATE + hz[i]) < -40.0);
    }
  check_case("factor 6, 7 kHz");
  CHECK(tone_gain(6, 7000.0) < -40.0);
}

static void blocks_leave_no_seams(void) {
  static const size_t blocks[] = {1, 2, 7, 8, 9, 100, 159, 0};
  random_source source = {521288629u};
  for (uint32_t factor = 1; factor <= REC_DECIMATE_MAX; factor++) {
    signal_t signal = signal_new(INNER_RATE * factor, 3000 * factor);
    signal_noise(&signal, 0, signal.n, 20000.0, &source);
    signal_round(&signal);
    size_t n;
    float *whole = decimated(&signal, factor, 160, &n);
    for (int b = 0; b < 8; b++) {
      check_case("factor %lu, blocks of %lu", (unsigned long)factor, (unsigned long)blocks[b]);
      float *cut = decimated(&signal, factor, blocks[b], &n);
      CHECK(memcmp(whole, cut, n * sizeof *whole) == 0);
      free(cut);
    }
    free(whole);
    signal_free(&signal);
  }
}

/* The largest blocks the header allows, of the largest samples, in exactly the memory
 * they need; and no output at all. */
static void total(void) {
  for (uint32_t factor = 1; factor <= REC_DECIMATE_MAX; factor++)
    for (int which = 0; which < EXTREMES; which++) {
      check_case("factor %lu, extreme %d", (unsigned long)factor, which);
      const size_t n_out = REC_DECIMATE_IN_MAX / factor < REC_DECIMATE_OUT_MAX
                               ? REC_DECIMATE_IN_MAX / factor
                               : REC_DECIMATE_OUT_MAX;
      signal_t signal = signal_of_extremes(INNER_RATE * factor, n_out * factor, which);
      rec_decimator_table table;
      rec_decimator decimator;
      rec_decimator_table_init(&table, factor);
      rec_decimator_init(&decimator);
      float *out = allocate(n_out, sizeof *out);
      for (int repeat = 0; repeat < 3; repeat++) {
        rec_decimator_process(&decimator, &table, signal.pcm, n_out, out);
        for (size_t i = 0; i < n_out; i++) /* the taps' magnitudes add up to less than 2 */
          CHECK(fabsf(out[i]) < 2.0f * 32768.0f);
        out[0] = 5.0f;
        rec_decimator_process(&decimator, &table, signal.pcm, 0, out);
        CHECK(out[0] == 5.0f);
      }
      free(out);
      signal_free(&signal);
    }
}

int main(void) {
  constant_passes();
  tones();
  blocks_leave_no_seams();
  total();
  return check_report("test_decimate");
}
