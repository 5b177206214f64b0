/* SPDX-License-Identifier: MIT */
/* The decimator: exactly the convolution with its taps, whatever the blocks. */
#include "fuzz.h"

/* The loudest there is for these taps: each sample at the limit, of its tap's sign. */
static void make_worst(signal_t *signal, const rec_decimator_table *table) {
  for (size_t i = 0; i < signal->n; i++)
    signal->pcm[i] = table->coefficients[i % table->taps] < 0 ? 32767 : -32768;
}

static void check_taps(const rec_decimator_table *table) {
  int32_t sum = 0;
  for (uint32_t i = 0; i < table->taps; i++) {
    sum += table->coefficients[i];
    REQUIRE(table->coefficients[i] == table->coefficients[table->taps - 1 - i]);
  }
  REQUIRE(sum == 32768);
}

/* The sum of the newest samples up to `end`, in more bits than it needs. */
static double convolved(const rec_decimator_table *table, const signal_t *signal, size_t end) {
  int64_t sum = 0;
  for (size_t age = 0; age < table->taps && age < end; age++)
    sum += (int64_t)table->coefficients[table->taps - 1 - age] * signal->pcm[end - 1 - age];
  return (double)((float)sum / 32768.0f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  program p = {data, data + size};
  const uint32_t what = take(&p), factor = 1 + what % REC_DECIMATE_MAX;
  cutting how = take_cutting(&p);
  signal_t signal = expand(&p, RATE[RATES - 1], 0.5);
  rec_decimator_table *table = malloc(sizeof *table);
  rec_decimator *decimator = malloc(sizeof *decimator);
  REQUIRE(table && decimator);
  rec_decimator_table_init(table, factor);
  rec_decimator_init(decimator);
  check_taps(table);
  if (what & 0x80)
    make_worst(&signal, table);

  size_t most = REC_DECIMATE_IN_MAX / factor;
  if (most > REC_DECIMATE_OUT_MAX)
    most = REC_DECIMATE_OUT_MAX;
  how.size %= most + 1;
  const size_t n_out = signal.n / factor;
  size_t piece;
  for (size_t done = 0; done < n_out; done += piece) {
    const size_t left = n_out - done;
    piece = next_piece(how.size, left < most ? left : most, &how.source);
    int16_t *pcm = exactly(signal.pcm + done * factor, piece * factor);
    float *out = allocate(piece, sizeof *out);
    rec_decimator_process(decimator, table, pcm, piece, out);
    for (size_t i = 0; i < piece; i++)
      REQUIRE((double)out[i] == convolved(table, &signal, (done + i + 1) * factor));
    free(pcm);
    free(out);
  }
  free(decimator);
  free(table);
  signal_free(&signal);
  return 0;
}
